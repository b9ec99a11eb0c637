"""Synthetic electron microscopy: image, bodies, mitochondria and synapses, all known exactly."""

import functools
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from igneous_ng import figures
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import IMAGE, SEGMENTATION, Info, new_info, round_to_chunks
from igneous_ng.geometry import Box, Grid, Vec3, Vec3f, vec
from igneous_ng.io import IO
from igneous_ng.kernels import quality, synth
from igneous_ng.stage import Layer, Stage, arg, opt

_CHUNK = (64, 64, 64)
# The scene and what planning it needs: measured, with a margin, per µm³ of the volume and its surroundings.
_BASE_BYTES, _TISSUE_BYTES = 250_000_000, 5_000_000
_SURROUNDINGS = 0.8  # µm added to each side of the volume


@dataclass(frozen=True, kw_only=True)
class Synth(Stage, name="synth volume"):
    """Make a synthetic EM volume with its full truth: bodies, mitochondria, synapses and skeletons.

    Writes the layers image, segmentation, mitochondria, clefts (where plaques of synapses are, by their ids) and sides
    (there 1: presynaptic, 2: postsynaptic), and truth.json and synapses.json, into one folder.
    """

    example = "./specimen --shape 256,256,128 --seed 1"
    quality = figures.IMAGE

    out: Layer = arg("Folder to create the layers in.")
    shape: Vec3 = opt((256, 256, 128), "Voxels along x,y,z.")
    resolution: Vec3f = opt((10.0, 10.0, 10.0), "Size of a voxel in nm, x,y,z; 1 to 200.")
    offset: Vec3 = opt((0, 0, 0), "Position of the first voxel, in voxels; may be negative.")
    seed: int = opt(0, "Which tissue to grow; the same seed, shape and resolution give the same bytes.")
    cell: Vec3 = opt((128, 128, 128), "Voxels per task, rounded up to whole chunks.")
    pale: Box | None = opt(None, "Box in which membranes and densities are pale, as where stain was not taken up ...")
    paleness: float = opt(0.5, "... by so much of their contrast, 0 to 1; beyond the box that fades over 400 nm.")

    def check(self) -> None:
        """The tissue can be grown and the cells hold something."""
        synth.check(self.shape, self.resolution, self.seed)
        if min(self.cell) < 1:
            raise SpecError(f"synth volume: a cell of {self.cell} holds nothing; each side must be at least 1")
        if not 0 <= self.paleness <= 1:
            raise SpecError(f"synth volume.paleness: {self.paleness:g}; give a part of the contrast, from 0 to 1")

    def home(self) -> str:
        """Records lie with the image."""
        return f"{self.out}/image"

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of all layers."""
        return (self.out,)

    def prepare(self, io: IO) -> None:
        """Write the infos; other layers in their place are refused."""
        for name, info in self._infos().items():
            io.create_layer(f"{self.out}/{name}", info)

    def units(self, io: IO) -> Grid:
        """Cells of whole chunks."""
        scale = self._infos()["image"].scales[0]
        return Grid(scale.bounds, round_to_chunks(scale, self.cell))

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The scene, and the drawing of one cell with its halo."""
        reach = synth.halo(self.resolution)
        tissue = prod(n * r / 1000 + _SURROUNDINGS for n, r in zip(self.shape, self.resolution, strict=True))
        return unit.grow(reach, reach).voxels * synth.VOXEL_BYTES + _BASE_BYTES + int(tissue * _TISSUE_BYTES)

    def execute(self, unit: Box, io: IO) -> None:
        """Draw one cell of all layers."""
        drawn = synth.render(self._scene(), self._within(unit), self._pale())
        arrays: dict[str, Any] = {"image": drawn.em, "segmentation": drawn.labels, "mitochondria": drawn.mitochondria}
        arrays |= {"clefts": drawn.clefts, "sides": drawn.sides}
        for name, info in self._infos().items():
            layer = f"{self.out}/{name}"
            io.write(io.volume(layer, 0, info=info), unit, arrays[name][..., np.newaxis])
        io.note(**quality.figures(drawn.em[..., np.newaxis]))

    def finish(self, io: IO) -> None:
        """Write the tables of synapses and skeletons."""
        scene = self._scene()
        io.put_json(f"{self.out}/synapses.json", self._synapses(scene))
        io.put_json(f"{self.out}/truth.json", self._truth(scene))
        io.note(synapses=len(scene.synapses), mitochondria=len(scene.hosts))

    def _within(self, box: Box) -> Box:
        """A box of the layer in voxels of the scene."""
        return box.shift(vec(-o for o in self.offset))

    def _pale(self) -> synth.Pale | None:
        return None if self.pale is None else synth.Pale(self._within(self.pale), self.paleness)

    def _scene(self) -> synth.Scene:
        return _plan(self.shape, self.resolution, self.seed)

    def _infos(self) -> dict[str, Info]:
        labels: dict[str, Any] = {"kind": SEGMENTATION, "dtype": "uint64", "encoding": "compressed_segmentation"}
        common: dict[str, Any] = {
            "channels": 1,
            "bounds": Box.sized(self.offset, self.shape),
            "resolution": self.resolution,
            "chunk": _CHUNK,
        }
        return {
            "image": new_info(kind=IMAGE, dtype="uint8", encoding="raw", **common),
            "segmentation": new_info(**labels, **common),
            "mitochondria": new_info(**labels, **common),
            "clefts": new_info(**labels, **common),
            "sides": new_info(kind=SEGMENTATION, dtype="uint8", encoding="raw", **common),
        }

    def _synapses(self, scene: synth.Scene) -> dict[str, Any]:
        """Positions are voxels of the layer, offset included; each lies in ``pre`` and touches ``post``."""
        return {
            "resolution": list(self.resolution),
            "synapses": [
                {
                    "id": str(s.id),
                    "pre": str(s.pre),
                    "post": str(s.post),
                    "position": [p + o for p, o in zip(s.position, self.offset, strict=True)],
                }
                for s in scene.synapses
            ],
        }

    def _truth(self, scene: synth.Scene) -> dict[str, Any]:
        """Nodes are nm in the layer's frame; an edge is two indices into the nodes."""
        axes = scene.skeleton
        shift = np.array(self.offset) * np.array(self.resolution)
        return {
            "seed": self.seed,
            "nodes": np.round(axes.nodes + shift, 1).tolist(),
            "radius": np.round(axes.radius, 1).tolist(),
            "labels": [str(v) for v in axes.label],
            "edges": axes.edges.tolist(),
            "mitochondria": {str(i + 1): str(scene.labels[row]) for i, row in enumerate(scene.hosts)},
        }


@functools.lru_cache(maxsize=1)
def _plan(shape: Vec3, resolution: Vec3f, seed: int) -> synth.Scene:
    """The scene, made once a process and not once a task."""
    return synth.plan(shape, resolution, seed)
