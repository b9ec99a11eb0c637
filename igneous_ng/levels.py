"""Several levels of one layer as one sequence of units, and boxes of one level at another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import ceil, floor
from typing import overload

from igneous_ng.errors import SpecError
from igneous_ng.formats.info import Info, Scale
from igneous_ng.geometry import Box, Grid, ceil_div, exactly, vec

Unit = tuple[int, Box]
"""A level and a box of its voxels."""


class Levels(Sequence[Unit]):
    """The cells of several levels, one level after the other; each unit tells its level. Memory is constant."""

    def __init__(self, grids: dict[int, Grid]) -> None:
        self._grids = grids
        self._ends = list(accumulate(map(len, grids.values())))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Unit: ...
    @overload
    def __getitem__(self, index: slice) -> list[Unit]: ...
    def __getitem__(self, index: int | slice) -> Unit | list[Unit]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        which = bisect_right(self._ends, index)
        mip, grid = list(self._grids.items())[which]
        return mip, grid[index - (self._ends[which] - len(grid))]


def checked(stage: str, mips: tuple[int, ...], count: int | None = None) -> tuple[int, ...]:
    """``mips`` in order, once each; SpecError unless each is one of the ``count`` there are."""
    if not mips or min(mips) < 0:
        raise SpecError(f"{stage}: mips {','.join(map(str, mips)) or '(none)'}; name one or more, counted from 0")
    if count is not None and max(mips) >= count:
        raise SpecError(f"{stage}: there is no mip {max(mips)}; there are mips 0 to {count - 1}")
    return tuple(sorted(set(mips)))


def touched(box: Box, fine: Scale, coarse: Scale) -> Box:
    """The voxels of ``coarse`` that ``box``, of ``fine``, touches; exact in nm from the common origin."""
    ratios = [exactly(f) / exactly(c) for f, c in zip(fine.resolution, coarse.resolution, strict=True)]
    lo = vec(floor(a * r) for a, r in zip(box.lo, ratios, strict=True))
    return Box(lo, vec(ceil(b * r) for b, r in zip(box.hi, ratios, strict=True)))


def inner(box: Box, fine: Scale, coarse: Scale) -> Box:
    """The chunks of ``coarse`` of which ``box``, of ``fine``, holds all voxels that ``fine`` has."""
    sides = []
    for axis, (f, c) in enumerate(zip(fine.resolution, coarse.resolution, strict=True)):
        lo, hi, chunk, ratio = (
            coarse.bounds.lo[axis],
            coarse.bounds.hi[axis],
            coarse.chunk[axis],
            exactly(f) / exactly(c),
        )
        begin, end = ceil(box.lo[axis] * ratio), floor(box.hi[axis] * ratio)
        if box.lo[axis] <= fine.bounds.lo[axis]:
            begin = min(begin, lo)
        if box.hi[axis] >= fine.bounds.hi[axis]:
            end = max(end, hi)
        first = lo + max(0, ceil_div(begin - lo, chunk)) * chunk
        last = hi if end >= hi else lo + (end - lo) // chunk * chunk
        sides.append((first, max(first, last)))
    return Box(vec(a for a, _ in sides), vec(b for _, b in sides)) & coarse.bounds


def refuse_shards(stage: str, layer: str, info: Info, mips: tuple[int, ...]) -> None:
    """SpecError where a level is sharded: a shard cannot be changed in part."""
    for mip in mips:
        if info.scales[mip].sharded:
            raise SpecError(f"{stage}: {layer} mip {mip} is sharded, and shards are not changed; write another layer")
