"""Objects by flooding: subvolumes are filled from seeds, their objects joined by a tree, and written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import words
from igneous_ng.climbing import SMALL, Joining, Spreading, over, settled
from igneous_ng.flooded import Flooding
from igneous_ng.flooding import Desk, Plan
from igneous_ng.formats.info import SEGMENTATION, Info, new_info, round_to_chunks
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import flooding
from igneous_ng.kernels.flooding import Rules
from igneous_ng.models import greys, level, opening
from igneous_ng.models.base import Machine
from igneous_ng.models.folder import Card
from igneous_ng.models.greys import Greys
from igneous_ng.stage import Chain, LayerUrl, Stage, arg, opt, sampled
from igneous_ng.store import Compression, digest
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_LIBRARY = 300_000_000  # bytes of a library of networks once it computes
_DEVICE = 2_000_000_000  # bytes of a graphics processor that such a library takes for itself
_FILLED = 72  # bytes held per voxel of a subvolume: seeds, distances, labels
_AGREED = 24  # more where two labellings are compared
_SHOWN = 16  # bytes held per voxel that the model sees: grey values and logits
_WRITTEN = 40  # bytes held per voxel of a cell that is written


@dataclass(frozen=True, kw_only=True)
class Fill(Flooding, name="segment flood fill"):
    """Fill each cell, and an overlap around it, with objects that grow from seeds: the first phase of flooding.

    Seeds are the voxels that are farther from edges than their neighbours, the farthest first; an object grows from
    one by a model that says, one field of view after the other, what else is of it; and what it holds in the end, no
    other can. The phases are fill, join (each level), spread (each level, downwards) and relabel;
    `segment flood auto` runs them all.
    """

    example = "./em ./seg --model ./flood-model"

    def prepare(self, io: IO) -> None:
        """Find how bright the image is, and write the plan that all phases follow."""
        volume, card = self.volume(io), self.card(io)
        self.affinities(io, volume)
        desk = Desk(io, self.layer)
        levels = None
        if card.levels is not None:
            found = greys.measured(io, volume, partial(self.excluded, io, resolution=volume.resolution))
            levels = found.to_json()
        asked = {
            **{key: getattr(self, key) for key in ("mip", "model", "edges_mip", "move", "claim", "consensus")},
            "image": str(self.image),
            "edges": None if self.edges is None else str(self.edges),
            "mask": self.mask_parameters(),
            "fill_missing": self.fill_missing,
            "chunk": list(self.chunk),
            "card": card.to_json(),
            "learnt": digest(opening.learnt(io, self.model, card)),
            "levels": levels,
        }
        grid = self._plan(volume)
        desk.begin(Plan(grid.bounds, grid.cell, grid.overlap, self.min_size, asked))

    def units(self, io: IO) -> Sequence[Box]:
        """The cells."""
        return self._plan(self.volume(io)).grid

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The image around a subvolume, what is known of an object, and what tells seeds and objects apart."""
        volume, card = self.volume(io), self.card(io)
        around = self._plan(volume).around(unit)
        shown = prod(n + 2 * (f // 2) for n, f in zip(around.shape, card.shape.patch, strict=True))
        library = 0 if self.model == level.NAME else _LIBRARY
        filled = around.voxels * (_FILLED + _AGREED * self.consensus)
        beside = 0 if self.edges is None else self.affinities(io, volume).peak_bytes(io, around)
        seen = shown * (_SHOWN + 2 * volume.voxel_bytes) + prod(card.shape.patch) * card.bytes_per_voxel
        return SMALL + library + filled + max(seen, beside) + self.mask_bytes(io, around, volume.resolution)

    def device_bytes(self, unit: Box, io: IO) -> int:
        """What a network takes for a field of view, where cuda is asked for by name."""
        card = self.card(io)
        if self.device != "cuda" or self.model == level.NAME:
            return 0
        return _DEVICE + prod(card.shape.patch) * card.bytes_per_voxel

    def execute(self, unit: Box, io: IO) -> None:
        """Flood one subvolume, and keep its labels."""
        desk = Desk(io, self.layer)
        labels = self._labels(io, desk.plan, unit)
        io.note(objects=desk.keep(unit, labels))

    def finish(self, io: IO) -> None:
        """Allow joining."""
        Desk(io, self.layer).done("fill")

    def _labels(self, io: IO, plan: Plan, unit: Box) -> Array:
        """The objects of the subvolume of a cell."""
        volume, card, around = self.volume(io), self.card(io), plan.around(unit)
        free, starts = self.starts(io, volume, around)
        io.note(seeds=len(starts), model_steps=0)
        if not len(starts):
            return np.zeros(around.shape, np.uint32, order="F")
        radius = vec(n // 2 for n in card.shape.patch)
        own = None if plan.asked["levels"] is None else Greys.parse(plan.asked["levels"], self.layer)
        shades = self.shades(io, volume, around.grow(radius, radius), own, card.levels)
        data = opening.learnt(io, self.model, card)
        opening.check_same(data, plan.asked["learnt"], self.model)
        model = opening.load_flooding(data, card, Machine(self.device))
        begun = time.perf_counter()
        rules = self._rules(card, plan.cut(unit))
        labels, steps = flooding.flood(shades, free, starts, model.step, rules)
        if self.consensus:
            other, more = flooding.flood(shades, free, starts[::-1], model.step, rules)
            labels, steps = flooding.consensus(labels, other, rules), steps + more
        io.note(model_steps=steps, seconds=round(time.perf_counter() - begun, 3), backend=model.backend)
        io.note(filled=float(f"{np.count_nonzero(labels) / labels.size:.6g}"))
        return labels

    def _rules(self, card: Card, cut: tuple[bool, ...]) -> Rules:
        assert card.deltas is not None
        move, claim = flooding.logit(self.move), flooding.logit(self.claim)
        return Rules(card.shape.patch, card.deltas, move, claim, self.min_size, cut)

    def _plan(self, volume: Volume) -> Plan:
        scale = _made(volume.bounds, volume, self.chunk).scales[0]
        return Plan(volume.bounds, round_to_chunks(scale, self.cell), self.overlap, self.min_size, {})


@dataclass(frozen=True, kw_only=True)
class Phase(Stage):
    """What the later phases have in common: they follow the plan of `segment flood fill`."""

    layer: LayerUrl = arg("Layer that `segment flood fill` was given to create.")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The image whose objects they are."""
        return (self.desk(io).plan.asked["image"],)

    def desk(self, io: IO) -> Desk:
        """Where the phases leave what they know."""
        return Desk(io, self.layer)


@dataclass(frozen=True, kw_only=True)
class Join(Phase, Joining, name="segment flood join"):
    """Join what is one object in neighbouring subvolumes, one level of the tree at a time, upwards from 1.

    Where two subvolumes overlap, a connected part of an object of one is that of another if each has more than half
    of its voxels there in common with the other.
    """

    example = "./seg --level 1"
    first = "fill"


@dataclass(frozen=True, kw_only=True)
class Spread(Phase, Spreading, name="segment flood spread"):
    """Tell the nodes of the tree what became of their objects, one level at a time, downwards to 1.

    It begins below the top; a tree of one level needs none.
    """

    example = "./seg --level 1"


@dataclass(frozen=True, kw_only=True)
class Writing(Stage):
    """The fields that say how the layer of objects is stored."""

    encoding: str = opt("compressed_segmentation", "Encoding of the layer; compresso is smaller and takes longer.")
    compress: Compression = opt("gzip", "How chunks are stored; none for readers that cannot undo it.")


@dataclass(frozen=True, kw_only=True)
class Relabel(Writing, Phase, name="segment flood relabel"):
    """Write the layer of objects: the last phase.

    An object's label is the place in the volume of its first voxel, x fastest, counted from 1, as uint64: so labels
    tell nothing of cells. Objects that have too few voxels, all cells together, are left out.
    """

    example = "./seg"

    def prepare(self, io: IO) -> None:
        """Write the info of the layer, once the tree is done."""
        settled(self.desk(io), "segment flood", self.layer)
        io.create_layer(self.layer, self._info(io))

    def units(self, io: IO) -> Sequence[Box]:
        """The cells."""
        return self.desk(io).plan.grid

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The runs of the subvolume, and the labels of the cell."""
        desk = self.desk(io)
        at = desk.plan.at(unit)
        return SMALL + 3 * desk.size("runs", at) + 4 * desk.size("objects", at) + _WRITTEN * unit.voxels

    def execute(self, unit: Box, io: IO) -> None:
        """Write the objects of one cell."""
        desk = self.desk(io)
        at = desk.plan.at(unit)
        own, roots, sizes = desk.wholes(at, desk.tree.answer(io, desk.tree.parent(at)))
        kept = sizes >= desk.plan.min_size
        names = np.zeros(int(own["label"].max(initial=0)) + 1, np.uint64)
        names[own["label"][kept]] = roots[kept] + np.uint64(1)
        io.note(objects=int(kept.sum()), begun=int((kept & (roots == own["key"])).sum()))
        labels = names[desk.labels(at, unit)]
        io.write(io.volume(self.layer, 0, info=self._info(io)), unit, labels[..., None], self.compress)

    def said(self, io: IO) -> str:
        """How many objects there are and how much is filled, of all cells or, where these are many, of some."""
        desk = Desk(IO(io.store), self.layer)
        plan, some = desk.plan, sampled(desk.plan.grid)
        begun = filled = 0
        for at in map(plan.at, some):
            own, roots, sizes = desk.wholes(at, desk.tree.answer(desk.io, desk.tree.parent(at)))
            kept = sizes >= plan.min_size
            begun += int((kept & (roots == own["key"])).sum())
            filled += int(own["size"][kept].sum())
        scope = "" if len(some) == len(plan.grid) else f" begin in {len(some)} of {len(plan.grid):,} cells"
        return (
            f"{words.count(begun, 'object')}{scope}; {filled / sum(cell.voxels for cell in some):.1%} of it is filled"
        )

    def spent(self, io: IO) -> tuple[str, ...]:
        """All that the phases told each other."""
        return (self.desk(io).url,)

    def _info(self, io: IO) -> Info:
        plan = self.desk(io).plan
        volume = io.volume(plan.asked["image"], plan.asked["mip"])
        return _made(plan.bounds, volume, vec(plan.asked["chunk"]), self.encoding)


@dataclass(frozen=True, kw_only=True)
class Auto(Writing, Flooding, Chain, name="segment flood auto"):
    """Find the objects of an image by a flood-filling network (Januszewski et al. 2018): all phases, one after another.

    Each task fills a cell and an overlap around it; what is one object in the overlap is one object, wherever it goes.
    The result does not depend on the order of tasks; it may, a little, on the cells, as the model sees no farther.
    """

    example = "./em ./seg --model ./flood-model --device auto"

    layer: LayerUrl = arg("Layer to create.")

    def steps(self, io: IO) -> Iterator[Stage]:
        """Fill, join upwards, spread downwards, relabel."""
        yield self.step(Fill)
        yield from over(self, Desk(io, self.layer).tree, Join, Spread)
        yield self.step(Relabel)


def _made(bounds: Box, volume: Volume, chunk: Vec3, encoding: str = "raw") -> Info:
    """The layer of objects."""
    resolution = volume.resolution
    return new_info(kind=SEGMENTATION, dtype="uint64", channels=1, bounds=bounds, resolution=resolution, chunk=chunk,
                    encoding=encoding)  # fmt: skip
