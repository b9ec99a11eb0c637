"""Affinities, boundaries or classes of an image by a model, patch by patch, without seams."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.affinities import FULL, joined
from igneous_ng.errors import DataError, SpecError
from igneous_ng.figures import Figure
from igneous_ng.formats.info import IMAGE, Info, new_info, round_to_chunks
from igneous_ng.geometry import Box, Grid, Vec3, Vec3f, vec
from igneous_ng.io import IO
from igneous_ng.kernels import augmenting
from igneous_ng.kernels.augmenting import Augment, Turn
from igneous_ng.kernels.patches import Lattice, canvas
from igneous_ng.masks import Masked
from igneous_ng.models import greys, images, opening
from igneous_ng.models.asking import Asked
from igneous_ng.models.base import Machine
from igneous_ng.models.folder import Card
from igneous_ng.models.greys import Greys
from igneous_ng.stage import Layer, LayerUrl, arg, opt
from igneous_ng.store import Compression, digest
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
Output = Literal["affinities", "boundary", "classes"]
_ONE = (1, 1, 1)
_BASE = 300_000_000  # bytes of a library of networks once it computes
_PATCH = 16  # of a voxel of a patch, before it is asked about
_TURNED = 4  # answers that are held at once where several are averaged
_SUM, _SAID = 6, 1  # of a voxel and a channel: sums, and what becomes of them; or bytes, where patches share nothing
_OUT = 14  # of a voxel: affinities, their parts, and their chunks
_DEVICE = 2_000_000_000  # bytes of a graphics processor that such a library takes for itself


@dataclass(frozen=True, kw_only=True)
class Infer(Masked, name="segment infer"):
    """Say how surely neighbouring voxels of an image are of one cell, or voxels of a class, by a filter or a network.

    Patches lie on a lattice that is fixed to the layer and are blended in its order, so the cells of tasks leave no
    trace. Patches of a single grey value are not asked about and count as 0, as does all that a mask leaves out; where
    the image is 0 there, too, the model is shown the middle grey of the layer, for black has an edge. The filter
    `sheet` needs no training; others are folders that `segment train` writes. What a model of classes, such as `cleft`,
    says of the sides of synapses, is for `synapse detect` and `synapse assign`.
    """

    example = "./em ./affinities --model net -p 2"
    quality = MappingProxyType(
        {
            "mean": Figure("mean of what the model says, of 1"),
            "confidence": Figure("how far from doubt the model is: 0 all 0.5, 1 all 0 or 1"),
        }
    )

    image: LayerUrl = arg("Layer of the image, of one channel.")
    layer: LayerUrl = arg(
        "Layer to create: uint8, three channels of affinities, one of boundaries, or one of each class."
    )
    mip: int = opt(0, "Level of the image to read; it becomes level 0 of the new layer.")
    model: str = opt("sheet", "sheet, net or cleft (networks of this package), or the URL of a model's folder.")
    output: Output | None = opt(
        None,
        "What to write: affinities or boundary, either made of the other; of a model of classes these, as they are.",
    )
    patch: Vec3 | None = opt(None, "Voxels of a patch, its margins too; by default the model's own.")
    overlap: float | None = opt(None, "Part that the trusted parts of patches share; by default as the model says.")
    augment: Augment = opt("none", "Ask 8 times, mirrored (flips), or turned, too, 16 or 48 times (all); average.")
    device: Literal["auto", "cpu", "cuda"] = opt(
        "cpu", "What computes networks: cpu, the same bytes everywhere; cuda; auto: cuda where there is one."
    )
    precision: Literal["full", "half"] = opt("full", "half: 16 bits, for TorchScript networks on cuda.")
    fill_missing: bool = opt(False, "Read missing chunks as zeros instead of failing.")
    cell: Vec3 = opt((512, 512, 128), "Voxels of one task, rounded up to whole chunks.")
    chunk: Vec3 = opt((64, 64, 64), "Shape of a chunk of the new layer in voxels.")
    compress: Compression = opt("gzip", "How chunks are stored; none for readers that cannot undo it.")

    def check(self) -> None:
        """Sizes are real, and what is asked for can be had."""
        super().check()
        if self.model not in opening.NAMES:  # in its one spelling, whoever reads it, wherever
            object.__setattr__(self, "model", str(Layer.parse(self.model)))
        sides = {"cell": self.cell, "chunk": self.chunk, "patch": self.patch or _ONE}
        if empty := [key for key, value in sides.items() if min(value) < 1]:
            raise SpecError(f"{self.name}.{empty[0]}: {sides[empty[0]]}; each side must be at least 1 voxel")
        if self.overlap is not None and not 0 <= self.overlap < 1:
            raise SpecError(f"{self.name}.overlap: {self.overlap:g}; give a part of 1, from 0 to less than 1")
        if self.precision == "half" and self.device != "cuda":
            raise SpecError(f"{self.name}: half precision is for --device cuda, here it is {self.device}")
        if self.image == self.layer:
            raise SpecError(f"{self.name}: {self.layer} is the image; give another layer for what the model says")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The image, its mask, and the model's folder."""
        model = () if self.model in opening.NAMES else (self.model,)
        return tuple(sorted({self.image, *(() if self.mask is None else (self.mask,)), *model}))

    def prepare(self, io: IO) -> None:
        """Find how bright the image is, and write that and the info of the layer; what does not fit is refused."""
        plan = self._plan(io)
        volume, card = plan.volume, plan.card
        known = {"image": str(self.image), "mip": self.mip, "mask": self.mask_parameters()}
        url = f"{self.layer}/infer.json"
        before = io.get_json(url) or {}
        levels = before.get("levels") if before.get("of") == known else None
        if levels is None and card.levels is not None:
            levels = greys.measured(io, volume, partial(self.excluded, io, resolution=volume.resolution)).to_json()
        model = digest(opening.learnt(io, self.model, card))
        io.create_layer(self.layer, self._info(volume, plan.channels))
        io.put_json(url, {"of": known, "levels": levels, "model": self.model, "learnt": model, "card": card.to_json()})

    def units(self, io: IO) -> Grid:
        """Cells of whole chunks."""
        scale = self._info(self._volume(io), 1).scales[0]
        return Grid(scale.bounds, round_to_chunks(scale, self.cell))

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The image around a cell, sums and bytes of the cell, and what the model takes for a patch."""
        plan = self._plan(io)
        shape, wide = plan.card.shape, self._wide(plan, unit)
        at = plan.lattice.needed(plan.lattice.touching(wide))
        read = at.voxels * plan.volume.voxel_bytes
        answers = shape.channels * (_TURNED if self.augment != "none" else 1)
        asked = prod(shape.patch) * (plan.card.bytes_per_voxel + _PATCH + 4 * answers)
        sums = wide.voxels * ((_SUM if any(plan.lattice.overlap) else _SAID) * shape.channels + _OUT)
        library = 0 if plan.card.kind == "sheet" else _BASE
        masked = 0 if self.mask is None else at.voxels + self.mask_bytes(io, at, plan.volume.resolution)
        return library + 2 * read + asked + sums + masked

    def device_bytes(self, unit: Box, io: IO) -> int:
        """What a network takes for a patch, where cuda is asked for by name."""
        card = self._plan(io).card
        if self.device != "cuda" or card.kind not in ("onnx", "torch"):
            return 0
        return _DEVICE + prod(card.shape.patch) * card.bytes_per_voxel

    def execute(self, unit: Box, io: IO) -> None:
        """Ask the model about the patches around one cell, and write what it says."""
        plan = self._plan(io)
        around, wide = plan.around(unit), self._wide(plan, unit)
        left_out = self.excluded(io, around, plan.volume.resolution)
        said = self._asked_about(io, plan, wide, left_out if left_out is None else left_out[wide.slices(around.lo)])
        out = _as(plan.output, said, wide, unit, plan.volume.bounds)
        if left_out is not None:
            _leave_out(plan.output, out, left_out, around, unit)
        io.note(**_figures(out))
        io.write(io.volume(self.layer, 0, info=self._info(plan.volume, plan.channels)), unit, out, self.compress)

    def said(self, io: IO) -> str:
        """How bright the image was found to be, and what the model is used to."""
        known = io.get_json(f"{self.layer}/infer.json") or {}
        if known.get("levels") is None:
            return f"by {self.model}, grey values as they are"
        own, like = (Greys.parse(one["levels"], self.layer) for one in (known, known["card"]))
        return (
            f"by {self.model}; grey values of the image: median {own.median:.3f}, spread {own.spread:.3f}; "
            f"shown to the model: {like.median:.3f}, {like.spread:.3f}"
        )

    def _asked_about(self, io: IO, plan: _Plan, box: Box, left_out: Array | None) -> Array:
        """What the model says of ``box``, uint8 [x, y, z, channel], in the channels of the model."""
        lattice = plan.lattice
        parts = lattice.touching(box)
        shown = [part for part in parts if left_out is None or not left_out[(part & box).slices(box.lo)].all()]
        whole, seconds, same = canvas(lattice, box, plan.card.shape.channels), 0.0, 0
        if shown:
            asked, at = self._asked(io, plan), lattice.needed(shown)
            image = io.read(plan.volume, at)[..., 0]
            self._fill(io, plan, image, at, asked.own)
            for part in shown:
                patch = lattice.cut(image, at, part)
                if patch.min() == patch.max():
                    same += 1
                    continue
                begun = time.perf_counter()
                values = asked.of(patch)
                seconds += time.perf_counter() - begun
                whole.add(part, values)
            io.note(backend=asked.model.backend)
        skipped = {"patches": len(parts), "masked_patches": len(parts) - len(shown), "empty_patches": same}
        io.note(**skipped, model_seconds=round(seconds, 3))
        return whole.bytes()

    def _fill(self, io: IO, plan: _Plan, image: Array, at: Box, own: Greys | None) -> None:
        """Where no tissue is, the middle grey of the layer is shown: the edge to black would look like a membrane."""
        if own is None or self.mask is None:
            return
        nothing = image == 0
        if nothing.any():
            nothing &= self.excluded(io, at, plan.volume.resolution)
        full = 1 if image.dtype.kind == "f" else np.iinfo(image.dtype).max
        image[nothing] = image.dtype.type(own.median * full)

    def _asked(self, io: IO, plan: _Plan) -> Asked:
        """The model, ready for this layer."""
        url = f"{self.layer}/infer.json"
        known = io.get_json(url)
        if known is None:
            raise DataError(f"{url} is missing; run `segment infer` anew")
        card = plan.card
        data = opening.learnt(io, self.model, card)
        opening.check_same(data, known["learnt"], self.model)
        own = None if known["levels"] is None else Greys.parse(known["levels"], url)
        model = opening.load(data, card, Machine(self.device, self.precision == "half"))
        return Asked(model, plan.ways, own, card.levels, bool(card.classes))

    def _ways(self, patch: Vec3, resolution: Vec3f) -> list[Turn]:
        if self.augment == "all" and patch[0] != patch[1]:
            raise SpecError(
                f"{self.name}: patches of {patch} cannot be turned; give --augment flips, or a square --patch"
            )
        isotropic = len(set(resolution)) == 1 and len(set(patch)) == 1
        return augmenting.turns(self.augment, isotropic)

    def _plan(self, io: IO) -> _Plan:
        volume = self._volume(io)
        card = opening.card(io, self.model, volume.resolution, volume.bounds.shape)
        shape = card.shape if self.patch is None else replace(card.shape, patch=self.patch)
        if any(n <= 2 * m for n, m in zip(shape.patch, shape.margin, strict=True)):
            raise SpecError(
                f"{self.name}.patch: of {self.patch} nothing is left inside the model's margins of {shape.margin}; "
                "give a larger one"
            )
        trusted = vec(n - 2 * m for n, m in zip(shape.patch, shape.margin, strict=True))
        images.check_scale(self.name, volume, card)
        part = card.overlap if self.overlap is None else self.overlap
        lattice = Lattice(volume.bounds, trusted, shape.margin, vec(int(t * part) for t in trusted))
        ways = self._ways(shape.patch, card.resolution)
        return _Plan(volume, replace(card, shape=shape), lattice, ways, self._output(card))

    def _output(self, card: Card) -> Output:
        """What is written; SpecError where the model does not say that."""
        found: Output = self.output or ("classes" if card.classes else "affinities")
        if (found == "classes") != bool(card.classes):
            told = f"the classes {', '.join(card.classes)}" if card.classes else "affinities or boundaries, no classes"
            raise SpecError(f"{self.name}.output: {found}, and {self.model} tells {told}; leave --output out")
        return found

    def _volume(self, io: IO) -> Volume:
        return images.opened(io, self.image, self.mip, self.fill_missing)

    def _wide(self, plan: _Plan, unit: Box) -> Box:
        """The voxels that the model has to tell of: affinities are made of boundaries on both sides."""
        return plan.around(unit) if plan.output == "affinities" and plan.card.shape.channels == 1 else unit

    def _info(self, volume: Volume, channels: int) -> Info:
        return new_info(
            kind=IMAGE,
            dtype="uint8",
            channels=channels,
            bounds=volume.bounds,
            resolution=volume.resolution,
            chunk=self.chunk,
            encoding="raw",
        )


@dataclass(frozen=True)
class _Plan:
    """What is read, the model as it is used, where its patches lie, how it is asked about them, and what is written."""

    volume: Volume
    card: Card
    lattice: Lattice
    ways: list[Turn]
    output: Output

    @property
    def channels(self) -> int:
        """Of the layer that is written."""
        return {"affinities": 3, "boundary": 1, "classes": len(self.card.classes)}[self.output]

    def around(self, unit: Box) -> Box:
        """``unit`` and the voxels before it."""
        return unit.grow(_ONE, (0, 0, 0)) & self.volume.bounds


def _as(output: Output, said: Array, wide: Box, unit: Box, bounds: Box) -> Array:
    """What was said of ``wide`` as what is written of ``unit``; no affinity leads out of ``bounds``."""
    if output == "classes":
        return np.asfortranarray(said)
    if output == "boundary":
        return said if said.shape[3] == 1 else _boundary(said, unit, bounds)
    found = said if said.shape[3] == 3 else joined(said[..., 0], wide, unit)
    for first in _first_planes(unit, bounds):
        found[first] = 0
    return np.asfortranarray(found)


def _boundary(affinities: Array, unit: Box, bounds: Box) -> Array:
    """A voxel is as surely boundary as its worst affinity to a voxel before it is low."""
    for first in _first_planes(unit, bounds):
        affinities[first] = FULL
    return np.asfortranarray(FULL - affinities.min(axis=3, keepdims=True))


def _first_planes(unit: Box, bounds: Box) -> Iterator[tuple[slice | int, ...]]:
    """Indices of the affinities in ``unit`` that lead out of ``bounds``."""
    for axis in range(3):
        if unit.lo[axis] == bounds.lo[axis]:
            yield (*(0 if k == axis else slice(None) for k in range(3)), axis)


def _leave_out(output: Output, out: Array, left_out: Array, around: Box, unit: Box) -> None:
    """Nothing is said of voxels that are left out, nor of faces to them: affinities and classes 0, boundaries 255."""
    own = left_out[unit.slices(around.lo)]
    if output != "affinities":
        out[own] = FULL if output == "boundary" else 0
        return
    for axis in range(3):
        before = np.zeros(unit.shape, bool, order="F")
        step = vec(-int(k == axis) for k in range(3))
        known = unit.shift(step) & around
        before[known.shift(vec(-s for s in step)).slices(unit.lo)] = left_out[known.slices(around.lo)]
        out[..., axis][own | before] = 0


def _figures(out: Array) -> dict[str, float]:
    """The mean of what is written, of 1, and how far it is from doubt: 0 where all is 0.5, 1 where all is 0 or 1."""
    counts = np.bincount(out.ravel(order="K"), minlength=FULL + 1)
    values = np.arange(FULL + 1) / FULL
    mean, sure = counts @ values / out.size, counts @ np.abs(2 * values - 1) / out.size
    return {"mean": float(f"{mean:.6g}"), "confidence": float(f"{sure:.6g}")}
