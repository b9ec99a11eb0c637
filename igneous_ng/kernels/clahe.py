"""Contrast limited adaptive histogram equalisation (Zuiderveld 1994, Graphics Gems IV) of sections, exactly.

A section is divided into tiles, whose borders depend on the section alone. Each tile has a table: the clipped counts
of its voxels, added up. A voxel takes the tables of the four tiles whose centres surround it, weighted bilinearly;
beyond the outermost centres it takes the two or the one nearest. All of it is integer arithmetic with one rounding
(halves up), so a part of a section, given the whole tiles around it, is equal to that part of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import floor
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Span = tuple[int, int]


@dataclass(frozen=True)
class Tiles:
    """The tiles along one axis: tile ``i`` covers the voxels from ``edges[i]`` to ``edges[i + 1]``."""

    edges: tuple[int, ...]

    @classmethod
    def over(cls, lo: int, hi: int, side: int) -> Tiles:
        """As many tiles as bring their sides, equal within a voxel, closest to ``side``."""
        count = max(1, (2 * (hi - lo) + side) // (2 * side))
        return cls(tuple(lo + i * (hi - lo) // count for i in range(count + 1)))

    @property
    def largest(self) -> int:
        """Voxels of the longest tile."""
        return max(b - a for a, b in pairwise(self.edges))

    @property
    def centres(self) -> list[int]:
        """The first voxel at or behind the centre of each tile."""
        return [(a + b) // 2 for a, b in pairwise(self.edges)]

    def around(self, span: Span) -> Span:
        """The tiles, from and to, whose tables the voxels of ``span`` take."""
        centres = self.centres
        first = int(np.searchsorted(centres, span[0], side="right")) - 1
        last = int(np.searchsorted(centres, span[1] - 1, side="right"))
        return max(first, 0), min(last, len(centres) - 1) + 1

    def voxels(self, tiles: Span) -> Span:
        """The voxels of the tiles from and to."""
        return self.edges[tiles[0]], self.edges[tiles[1]]

    def parts(self, span: Span) -> Iterator[tuple[Span, Span, Array, int]]:
        """``span`` cut at centres: voxels, the tiles before and after them, weights of the latter, their divisor."""
        last = len(self.edges) - 2
        cuts = [span[0], *(c for c in self.centres if span[0] < c < span[1]), span[1]]
        for lo, hi in pairwise(cuts):
            after = int(np.searchsorted(self.centres, lo, side="right"))
            if after in (0, last + 1):
                nearest = min(after, last)
                yield (lo, hi), (nearest, nearest), np.zeros(hi - lo, np.int64), 1
            else:
                begin, end = (self.edges[i] + self.edges[i + 1] - 1 for i in (after - 1, after))  # doubled centres
                yield (lo, hi), (after - 1, after), 2 * np.arange(lo, hi, dtype=np.int64) - begin, end - begin


def tile_table(found: Array, clip: float) -> Array:
    """The new value of each old one in a tile of these counts; unchanged where nothing was counted.

    Counts are cut at ``clip`` times their mean, at least 1, and the excess is spread: evenly, and what is left over
    one each at equal steps from the lowest value on.
    """
    bins, total = len(found), int(found.sum())
    if not total:
        return np.arange(bins, dtype=np.int64)
    limit = max(1, floor(clip * total / bins))
    excess = int((found - limit).clip(0).sum())
    cut = np.minimum(found, limit) + excess // bins
    if left := excess % bins:
        cut[: left * (bins // left) : bins // left] += 1
    mapped: Array = (2 * np.cumsum(cut) * (bins - 1) + total) // (2 * total)
    return mapped


def equalise(
    section: Array, window: tuple[Span, Span], tiles: tuple[Tiles, Tiles], clip: float, counted: Array
) -> Array:
    """The voxels of ``window`` of one section, equalised.

    section: [x, y], uint8 or uint16, exactly the tiles :meth:`Tiles.around` the window on both axes.
    counted: which of its voxels count, of the same shape.
    """
    around = tiles[0].around(window[0]), tiles[1].around(window[1])
    corner = tiles[0].edges[around[0][0]], tiles[1].edges[around[1][0]]
    tables = _tables(section, counted, tiles, around, clip)
    kind = next(iter(tables.values())).dtype
    out = np.empty([hi - lo for lo, hi in window], section.dtype, order="F")
    for xs, columns, right, width in tiles[0].parts(window[0]):
        for ys, rows, up, height in tiles[1].parts(window[1]):
            part = section[_slice(xs, corner[0]), _slice(ys, corner[1])]
            weights = right[:, None].astype(kind)
            low, high = (
                _between(tables[columns[0], row].take(part), tables[columns[1], row].take(part), weights, width)
                for row in rows
            )
            total = _between(low, high, up.astype(kind), height)
            total *= 2
            total += width * height
            total //= 2 * width * height
            out[_slice(xs, window[0][0]), _slice(ys, window[1][0])] = total
    return out


def _between(low: Array, high: Array, weight: Array, divisor: int) -> Array:
    """``divisor`` times the mean of both."""
    mixed: Array = (high - low) * weight
    mixed += low * divisor
    return mixed


def _slice(span: Span, origin: int) -> slice:
    return slice(span[0] - origin, span[1] - origin)


def _tables(
    section: Array, counted: Array, tiles: tuple[Tiles, Tiles], around: tuple[Span, Span], clip: float
) -> dict[Span, Array]:
    """The table of each tile around a window, in integers that hold the sums made of it."""
    bins = 1 << 8 * section.dtype.itemsize
    narrow = 8 * bins * tiles[0].largest * tiles[1].largest < 1 << 31  # and then twice as fast
    corner = tiles[0].edges[around[0][0]], tiles[1].edges[around[1][0]]
    found = {}
    for column in range(*around[0]):
        for row in range(*around[1]):
            xs, ys = tiles[0].voxels((column, column + 1)), tiles[1].voxels((row, row + 1))
            here = _slice(xs, corner[0]), _slice(ys, corner[1])
            counts = np.bincount(section[here][counted[here]], minlength=bins)
            found[column, row] = tile_table(counts, clip).astype(np.int32 if narrow else np.int64)
    return found
