"""Several levels of a layer made in one pass, cell by cell and piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from math import ceil, gcd, lcm, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import SpecError
from igneous_ng.formats.info import IMAGE, Info, Scale
from igneous_ng.formats.sharding import Packing, spec_for
from igneous_ng.geometry import Box, Grid, Vec3, ceil_div, exactly, vec
from igneous_ng.imaging import Read
from igneous_ng.io import IO
from igneous_ng.kernels import carrying, pyramid
from igneous_ng.kernels.averaging import Sums, held_bytes
from igneous_ng.kernels.pooling import Method
from igneous_ng.store import Compression
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]

TASK_VOXELS = 2**26  # of the finest level; larger tasks save little and are harder to balance
LARGEST_TASK = 2**33  # where more voxels would have to be read for one, levels are left to another pass
PIECE_VOXELS = 2**22  # of the finest level; smaller pieces cost calls, larger ones memory and the processor's cache
_COPIES = 4  # of the voxels of a piece held at once: chunks as stored, the array, pooling's own
_PACKED = 2  # of the chunks of a shard, which may be as large as their voxels: each, and all together
_SUM = 8  # bytes of a stored sum, or of a count
_SHARE = 3  # what a piece, or the chunks of a shard, may take of memory: a third


def sums_folder(layer: str) -> str:
    """Where passes over ``layer`` leave sums for those that follow."""
    return f"{layer}/sums"


@dataclass(frozen=True)
class Pass:
    """Level ``mip`` of a layer, and ``count`` levels pooled from it, cell by cell of the coarsest.

    ``base`` says whether level ``mip`` is written, too, or was there. Cells are anchored to the volume and made of
    whole chunks, or shards, of every level that is written, so tasks never share an object.

    A cell is made piece by piece, depth first: each piece of a level is pooled from what lies under it, which is
    read, or made so in turn; so memory holds a piece of each level and not the cell. Along an axis where chunks of
    the levels do not lie over each other, pieces are as long as the cell. ``piece`` is how many voxels of the finest
    level are read at once, as long as whole chunks and memory allow. Averages may begin from sums that an earlier pass
    left of level ``mip``, and leave those of the coarsest level, so that passes join exactly. ``cell`` is how far a
    cell is to go along each axis of the finest level, if whole chunks and memory allow; None: as far as they do.
    """

    layer: str
    info: Info
    mip: int
    count: int
    factor: Vec3
    method: Method
    sparse: bool
    base: bool
    memory: int
    from_sums: bool = False
    keep_sums: bool = False
    piece: int = field(default_factory=lambda: PIECE_VOXELS)
    cell: Vec3 | None = None

    @property
    def scales(self) -> tuple[Scale, ...]:
        """The levels, the finest first."""
        return self.info.scales[self.mip : self.mip + self.count + 1]

    def units(self, roi: Box | None = None) -> Grid:
        """Cells of the coarsest level; only those that touch ``roi``, in voxels of the finest."""
        return Grid(self.scales[-1].bounds, self._cell, roi // self._ratio(0) if roi else None)

    def peak_bytes(self, unit: Box) -> int:
        """The most that :meth:`make` holds, the read inside it included."""
        return self._needs(unit.shape)

    def make(
        self, io: IO, unit: Box, read: Read, compress: Compression = "gzip", delete_background: bool = False
    ) -> None:
        """Write this unit's part of each level, from what ``read`` gives of the finest."""
        with ExitStack() as outputs:
            puts = {}
            for level in range(0 if self.base else 1, self.count + 1):
                volume, own = io.volume(self.layer, self.mip + level, info=self.info), self.owned(unit, level)
                if own.voxels:
                    puts[level] = outputs.enter_context(io.writing(volume, own, compress, delete_background))
            keep = outputs.enter_context(io.writing(self.sums(io, self.count), unit)) if self.keep_sums else None
            for piece in self._pieces(self.count, unit):
                self._level(_Task(read, puts, keep), self.count, piece, piece)

    def sums(self, io: IO, level: int) -> Volume:
        """The sums of a level as voxels: beside the layer, in chunks like its own."""
        scale = self.scales[level]
        own = Scale(scale.key, scale.bounds, scale.resolution, scale.chunk, "raw")
        info = Info(IMAGE, np.dtype(np.uint64), self._sum_channels, (own,))
        return io.volume(f"{sums_folder(self.layer)}/{self.mip + level}", 0, info=info)

    def source(self, unit: Box) -> Box:
        """What must be known of the finest level, at most."""
        box = unit
        for level in range(self.count, 0, -1):
            box = ((box * self.factor) | self._below(box, level)) & self.scales[level - 1].bounds
        return box

    def first(self, unit: Box) -> Box:
        """A box of the finest level as large as any that is read at once."""
        *_, shape = self._shapes(unit.shape)
        return Box.sized(self.owned(unit, 0).lo, shape)

    def owned(self, unit: Box, level: int) -> Box:
        """The whole chunks of a level that the task of ``unit`` writes; they tile the level."""
        own = unit
        for above in range(self.count, level, -1):
            own = self._below(own, above)
        return own & self.scales[level].bounds

    def _level(self, task: _Task, level: int, box: Box, own: Box) -> pyramid.Level:
        """What is known of a level over ``box``; the part of it that is ``own`` is written."""
        if level == 0:
            made = self._begin(task.read(box), box)
        else:
            made = pyramid.joined(box, [self._piece(task, level, piece, own) for piece in self._pieces(level, box)])
        if level in task.puts and own.voxels:
            task.puts[level](own, made.crop(own).values())
        if level == self.count and task.keep is not None:
            assert isinstance(made, Sums)
            task.keep(own, carrying.packed(made.crop(own)))
        return made

    def _begin(self, array: Array, box: Box) -> pyramid.Level:
        if not self.from_sums:
            return pyramid.begin(array, box.lo, self.method, self.sparse)
        finest = self.info.scales[0].resolution
        ratios = (exactly(a) / exactly(b) for a, b in zip(self.scales[0].resolution, finest, strict=True))
        return carrying.unpacked(array, box, self.info.dtype, self.info.channels, ceil(prod(ratios)))

    def _piece(self, task: _Task, level: int, piece: Box, own: Box) -> pyramid.Level:
        """A part of a level, pooled from what lies under it."""
        under = (piece * self.factor) & self.scales[level - 1].bounds
        own = self._below(own & piece, level) & self.scales[level - 1].bounds
        box = under | own if own.voxels and level - 1 in task.puts else under
        return self._level(task, level - 1, box, own).crop(under).coarser(self.factor)

    def _below(self, own: Box, level: int) -> Box:
        """The chunks of the next finer level that go with those of ``own``: by number, not by place."""
        (from_, to), factor = (self.scales[n].bounds.lo for n in (level, level - 1)), self.factor
        lo = vec((a - o) * f + b for a, o, f, b in zip(own.lo, from_, factor, to, strict=True))
        return Box.sized(lo, vec(n * f for n, f in zip(own.shape, factor, strict=True)))

    def _pieces(self, level: int, box: Box) -> Grid:
        sides = zip(self._steps[level], box.shape, strict=True)
        return Grid(box, vec(step or side for step, side in sides))

    @cached_property
    def _steps(self) -> list[Vec3]:
        """Shapes of the pieces of each level, the finest first: of a handy size, and above it what covers one of those.

        A piece is whole chunks of all that is written in it; an axis that is not to be cut has a 0.
        """
        aligned = [
            all(
                b.lo[axis] * self.factor[axis] == a.lo[axis] for a, b in pairwise(scale.bounds for scale in self.scales)
            )
            for axis in range(3)
        ]
        least: Vec3 = self.scales[0].chunk if self.base else (1, 1, 1)
        steps = [self._handy(least, (1, 1, 1))]
        for level, scale in enumerate(self.scales[1:], 1):
            sides = zip(least, self.factor, scale.chunk, strict=True)
            least = vec(lcm(k // gcd(k, f), c) for k, f, c in sides)
            steps.append(self._handy(least, self.factor) if level == 1 else self._covering(least, steps[-1]))
        return [vec(step if one else 0 for step, one in zip(shape, aligned, strict=True)) for shape in steps]

    def _handy(self, least: Vec3, factor: Vec3) -> Vec3:
        """``least``, doubled along the shorter sides while the piece of the finest level under it is not too large."""
        most = min(self.piece, self.memory // (_COPIES * _SHARE * self._width(0)))
        sides, whole = list(least), self._extent(0)
        while True:
            under = [side * f for side, f in zip(sides, factor, strict=True)]
            wider = [axis for axis in range(3) if under[axis] < whole[axis]]
            if not wider or 2 * prod(under) > most:
                return vec(sides)
            sides[min(wider, key=under.__getitem__)] *= 2

    def _extent(self, level: int) -> Vec3:
        """Beyond what nothing need grow: the level's bounds, or a cell as it was asked for."""
        whole = self.scales[level].bounds.shape
        if self.cell is None:
            return whole
        ratio = (f**level for f in self.factor)
        return vec(min(n, ceil_div(side, r)) for n, side, r in zip(whole, self.cell, ratio, strict=True))

    def _covering(self, least: Vec3, below: Vec3) -> Vec3:
        """``least``, doubled until a piece ``below`` fits under it."""
        sides = zip(least, below, self.factor, strict=True)
        return vec(k << (ceil_div(max(b, 1), f * k) - 1).bit_length() for k, b, f in sides)

    def in_shards(self, have: int, packing: Packing) -> Pass:
        """This pass with the levels from ``have`` on in shards, as large as memory allows; they are packed so."""
        budget = self.memory // _SHARE
        while True:
            made = self._with_shards(have, packing, budget)
            chunk = self._voxel_bytes * prod(self.scales[0].chunk)
            if made._needs(vec(made._least(axis) for axis in range(3))) <= self.memory or budget < chunk:
                return made
            budget //= 2

    def _with_shards(self, have: int, packing: Packing, budget: int) -> Pass:
        """Shards of each level that come from about ``budget`` bytes of the finest; at least a chunk each."""
        scales = list(self.info.scales)
        for level in range(have, len(scales)):
            scale, below = scales[level], prod(self.factor) ** (level - self.mip)
            limit = max(budget // below, self._voxel_bytes * prod(scale.chunk))
            spec = spec_for(scale.bounds.shape, scale.chunk, self._voxel_bytes, limit, packing)
            scales[level] = scale.with_sharding(spec)
        return replace(self, info=replace(self.info, scales=tuple(scales)))

    def placed(self, old: Info) -> Pass:
        """This pass in the layer that ``old`` describes; SpecError where other levels are in the place of its own."""
        new, keys = self.scales, [scale.key for scale in old.scales]
        mip = keys.index(new[0].key) if new[0].key in keys else len(keys)
        there = old.scales[mip : mip + len(new)]
        same = (old.kind, old.dtype, old.channels) == (self.info.kind, self.info.dtype, self.info.channels)
        ends = len(there) == len(new) or mip + len(there) == len(keys)
        coarser_than_all = all(a <= b for a, b in zip(old.scales[-1].resolution, new[-1].resolution, strict=True))
        if same and there == new[: len(there)] and ends and (there or coarser_than_all):
            scales = (*old.scales[:mip], *new, *old.scales[mip + len(new) :])
            return replace(self, info=replace(old, scales=scales), mip=mip)
        raise SpecError(
            f"{self.layer}: another layer is already here, of another shape, type or encoding, or without room for "
            f"a level of {new[0].resolution} nm; choose another place or remove it"
        )

    def _ratio(self, level: int) -> Vec3:
        """The factor between a level and the coarsest."""
        return vec(f ** (self.count - level) for f in self.factor)

    @property
    def _voxel_bytes(self) -> int:
        return self.info.dtype.itemsize * self.info.channels

    def _needs(self, cell: Vec3) -> int:
        """The most that is held while a cell is made: a piece of each level, and shards until they are whole."""
        shapes = zip(range(self.count, -1, -1), self._shapes(cell), strict=True)
        total = sum(prod(shape) * self._width(level) * _COPIES for level, shape in shapes)
        if self.keep_sums:
            total += prod(next(self._shapes(cell))) * _SUM * self._sum_channels * _COPIES
        for level, scale in enumerate(self.scales):
            if scale.sharded and (level or self.base):
                own = (n * r for n, r in zip(cell, self._ratio(level), strict=True))
                packed = prod(min(n, whole) for n, whole in zip(own, scale.bounds.shape, strict=True))
                total += packed * self._voxel_bytes * _PACKED
        return total

    def _shapes(self, cell: Vec3) -> Iterator[Vec3]:
        """The largest piece of each level that is held while a cell is made, the coarsest first."""
        shape = vec(min(step or side, side) for step, side in zip(self._steps[-1], cell, strict=True))
        for level in range(self.count, -1, -1):
            yield shape
            whole = self.scales[max(level - 1, 0)].bounds.shape
            under = zip(shape, self._steps[level], self.factor, whole, strict=True)
            shape = vec(min(min(n, step or n) * f + (0 if step else f), end) for n, step, f, end in under)

    @property
    def _sum_channels(self) -> int:
        return carrying.channels(self.info.dtype, self.info.channels, self.sparse)

    def _width(self, level: int) -> int:
        """Bytes of a voxel of a level while it is made; of averages above the finest, sums are kept."""
        if self.from_sums:
            return _SUM * self._sum_channels
        if self.method != "average" or not level:
            return self._voxel_bytes
        return held_bytes(self.info.dtype, prod(self.factor) ** level, self.sparse) * self.info.channels

    @cached_property
    def _cell(self) -> Vec3:
        """The least that is whole chunks, or shards, of every level, doubled along the shorter sides while it may."""
        cell = [self._least(axis) for axis in range(3)]
        whole, total = self._extent(self.count), self._ratio(0)
        while True:
            wider = [axis for axis in range(3) if cell[axis] < whole[axis]]
            if not wider:
                return vec(cell)
            shortest = min(wider, key=lambda axis: cell[axis] * total[axis])
            grown = vec(2 * side if axis == shortest else side for axis, side in enumerate(cell))
            if self._fine_voxels(grown) > TASK_VOXELS or self._needs(grown) > self.memory:
                return vec(cell)
            cell = list(grown)

    def _least(self, axis: int) -> int:
        """The shortest side of a cell: whole chunks, or shards, of each level that is written."""
        sides = (
            scale.granularity[axis] // gcd(scale.granularity[axis], self._ratio(level)[axis])
            for level, scale in enumerate(self.scales)
            if level or self.base
        )
        return lcm(*sides)

    def _fine_voxels(self, cell: Vec3) -> int:
        """Voxels of the finest level under a cell of the coarsest, at most."""
        ratio, whole = self._ratio(0), self.scales[0].bounds.shape
        return prod(min(side * r, n + r) for side, r, n in zip(cell, ratio, whole, strict=True))


@dataclass(frozen=True)
class _Task:
    """How a cell is made: what reads the finest level, what writes each level that is written, and what keeps sums."""

    read: Read
    puts: dict[int, Callable[[Box, Array], None]]
    keep: Callable[[Box, Array], None] | None
