"""The truth of a synthetic specimen as a volume shows it that was reconstructed from its tiles and sections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.alignment import Alignment
from igneous_ng.cuts import Cuts
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import swc
from igneous_ng.formats.info import SEGMENTATION, Info, new_info, round_to_chunks
from igneous_ng.geometry import Box, Grid, Vec3
from igneous_ng.io import IO
from igneous_ng.specimens import Shown
from igneous_ng.stage import Layer, LayerUrl, Stage, arg, opt
from igneous_ng.truths import Truth

Array = npt.NDArray[Any]
_CHUNK = (64, 64, 64)
_LAYERS = {"segmentation": "uint64", "clefts": "uint64", "sides": "uint8"}
_SMALL, _PIXEL_BYTES, _NODE_BYTES = 200_000_000, 120, 4000
_DENDRITE = 3  # the type of a node in SWC files


@dataclass(frozen=True, kw_only=True)
class SynthTruth(Stage, name="synth truth"):
    """Bring the truth of a synthetic specimen into the frame of the volume that was reconstructed from it.

    Each voxel gets the labels of the place of the specimen that it really shows, followed through the maps of the
    alignment, of the tiles, and of the sections. Writes the layers segmentation, clefts and sides, synapses.json and,
    in the folder skeletons, SWC files. Labels are 0 where no tissue is shown.
    """

    example = "./specimen ./sections ./alignment ./truth"

    specimen: LayerUrl = arg("Folder that `synth volume` wrote.")
    sections: LayerUrl = arg("Folder that `synth sections` wrote.")
    alignment: LayerUrl = arg("Folder of the alignment.")
    out: LayerUrl = arg("Folder to create the layers in.")
    tiles: Layer | None = opt(None, "Folder that `synth tiles` wrote, where the sections were cut into tiles.")
    montage: Layer | None = opt(None, "The montage of these tiles, solved.")
    round: int = opt(0, "The round whose maps the volume was rendered by; 0: rough maps alone.")
    cell: Vec3 = opt((256, 256, 64), "Voxels per task, rounded up to whole chunks.")

    def check(self) -> None:
        """There is a round, cells hold something, and tiles have their montage."""
        if self.round < 0 or min(self.cell) < 1:
            raise SpecError(f"synth truth: round {self.round}, cells of {self.cell}; give a round from 0, and voxels")
        if bool(self.tiles) != bool(self.montage):
            raise SpecError("synth truth: give both --tiles and --montage, or neither")

    def home(self) -> str:
        """Records lie with the labels."""
        return f"{self.out}/segmentation"

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of all layers."""
        return (self.out,)

    def prepare(self, io: IO) -> None:
        """Write the infos; other layers in their place are refused, and so are sections of another specimen."""
        stack = io.get_json(f"{self.sections}/truth.json") or {}
        if stack.get("stack") != f"{self.specimen}/image":
            raise SpecError(f"{self.sections}: shows {stack.get('stack')}, not {self.specimen}/image")
        for layer, info in self._infos(io).items():
            io.create_layer(f"{self.out}/{layer}", info)

    def units(self, io: IO) -> Grid:
        """Cells of whole chunks."""
        scale = self._infos(io)["segmentation"].scales[0]
        return Grid(scale.bounds, round_to_chunks(scale, self.cell))

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """All labels of the cell, the maps of one section, and what of a slice it shows; in the end the skeletons."""
        x, y, z = unit.shape
        return _SMALL + unit.voxels * 17 * 2 + x * y * _PIXEL_BYTES + z * _NODE_BYTES

    def execute(self, unit: Box, io: IO) -> None:
        """Look up the labels of one cell."""
        shown, infos = self._shown(io), self._infos(io)
        made = {name: np.zeros((*unit.shape, 1), info.dtype, order="F") for name, info in infos.items()}
        for z in range(unit.lo[2], unit.hi[2]):
            if (slice_ := shown.slice(z)) is not None:
                self._look(io, shown, unit, (z, slice_), made)
        for name, info in infos.items():
            io.write(io.volume(f"{self.out}/{name}", 0, info=info), unit, made[name])

    def finish(self, io: IO) -> None:
        """Write where synapses and skeletons are shown."""
        moved = _Moved(io, self._shown(io), self.specimen)
        io.put_json(f"{self.out}/synapses.json", moved.synapses())
        for label, data in moved.skeletons():
            io.put(f"{self.out}/skeletons/{label}.swc", data)

    def said(self, io: IO) -> str:
        """How much of the truth the volume shows."""
        raw: Any = io.get_json(f"{self.out}/synapses.json")
        skeletons = sum(1 for name in io.list(f"{self.out}/skeletons") if name.endswith(".swc"))
        return f"{len(raw['synapses'])} synapses and {skeletons} skeletons are in the volume"

    def _look(self, io: IO, shown: Shown, unit: Box, at: tuple[int, int], made: dict[str, Array]) -> None:
        """The labels of one place of the volume along z."""
        z, slice_ = at
        places, there = shown.window(z, unit.lo[:2], unit.hi[:2])
        if not there.any():
            return
        which = np.rint(places[there]).astype(np.int64)
        low, high = which.min(axis=0).tolist(), (which.max(axis=0) + 1).tolist()
        for name, voxels in made.items():
            volume = io.volume(f"{self.specimen}/{name}", 0)
            box = Box((*low, slice_), (*high, slice_ + 1)).shift(volume.bounds.lo)
            found = io.read(volume, box)[:, :, 0, 0]
            voxels[:, :, z - unit.lo[2], 0][there] = found[tuple((which - low).T)]

    def _shown(self, io: IO) -> Shown:
        cuts = Cuts.open(io, self.montage, self.tiles)
        return Shown(io, Alignment.open(io, self.alignment), self.round, Truth(io, self.sections), cuts)

    def _infos(self, io: IO) -> dict[str, Info]:
        found = Alignment.open(io, self.alignment)
        common: dict[str, Any] = {"channels": 1, "bounds": found.extent(io), "resolution": found.resolution}
        coded = {"uint64": "compressed_segmentation", "uint8": "raw"}
        return {
            name: new_info(kind=SEGMENTATION, dtype=dtype, encoding=coded[dtype], chunk=_CHUNK, **common)
            for name, dtype in _LAYERS.items()
        }


@dataclass(frozen=True)
class _Moved:
    """Synapses and skeletons of a specimen, where the volume shows them."""

    io: IO
    shown: Shown
    specimen: str

    def synapses(self) -> dict[str, Any]:
        """As `synth volume` writes them; those that are not shown are left out."""
        told = self._told("synapses.json")
        rows = told["synapses"]
        at, there = self._moved(np.array([row["position"] for row in rows], np.float64).reshape(-1, 3) - self._first)
        kept = [
            {**row, "position": np.rint(place).astype(int).tolist()}
            for row, place, seen in zip(rows, at, there, strict=True)
            if seen
        ]
        return {"resolution": list(self.shown.alignment.resolution), "synapses": kept}

    def skeletons(self) -> Iterator[tuple[str, bytes]]:
        """Each body's axis as an SWC file: the edges of which both ends are shown."""
        told = self._told("truth.json")
        size = np.array(self.io.info(f"{self.specimen}/image").scales[0].resolution)
        nodes, edges = np.array(told["nodes"]).reshape(-1, 3), np.array(told["edges"], np.int64).reshape(-1, 2)
        at, there = self._moved(nodes / size - 0.5 - self._first)
        points = (at + 0.5) * np.array(self.shown.alignment.resolution)
        edges, labels = edges[there[edges].all(axis=1)], np.array(told["labels"])
        for label in np.unique(labels[edges[:, 0]]).tolist() if len(edges) else ():
            own = edges[labels[edges[:, 0]] == label]
            used, ends = np.unique(own, return_inverse=True)
            radii = np.array(told["radius"])[used]
            yield label, swc.encode(points[used], ends.reshape(-1, 2), radii, np.full(len(used), _DENDRITE))

    @cached_property
    def _first(self) -> Array:
        return np.array(self.io.info(f"{self.specimen}/image").scales[0].bounds.lo)

    def _told(self, name: str) -> Any:
        found = self.io.get_json(f"{self.specimen}/{name}")
        if found is None:
            raise DataError(f"{self.specimen}/{name}: is not there; give the folder that `synth volume` wrote")
        return found

    def _moved(self, points: Array) -> tuple[Array, Array]:
        """Places ``[n, 3]`` of the specimen, in voxels from the middle of its first, as places of the volume."""
        found, there = np.zeros(points.shape), np.zeros(len(points), bool)
        slices = np.rint(points[:, 2]).astype(np.int64)
        for z, which in self.shown.shown():
            rows = np.flatnonzero(slices == which)
            at, seen = self.shown.volume(z, points[rows, :2])
            found[rows, :2], there[rows] = at, seen
            found[rows, 2] = z + points[rows, 2] - which
        return found, there
