"""Levels of annotations: which of them are seen from afar, and which cells of a grid each lies in.

Each annotation has a *rank*, a number that looks random and depends on its id alone. A level takes the ranks from one
threshold to the next, in all cells alike, so that a level shows the true density; what is drawn of a cell is ordered by
rank, so that the first of them are a sample, too.

Grids are exact in float32: the origin is of integers, cells are an integer times a power of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3, Vec3f, ceil_div, vec

Array = npt.NDArray[Any]
ALL = 1 << 64
"""Above every rank."""
_CELLS = 21  # bits: of the finest grid, whose counts one task holds
_FINEST = 8  # units: a cell is not made smaller, for its extent is rounded up by as much
_EVEN = 1.5  # cells are halved along axes where they are at most so many times shorter than the longest
_SLACK = 20  # a level may have 1/20 more than is wanted rather than be followed by one that is nearly empty
_PIECE = 8  # cells along each axis of a part of a line
_CANDIDATES = 1 << 17  # pairs of a shape and a cell that are looked at together


def ranks(ids: Array) -> Array:
    """The rank, uint64, of each id: splitmix64 (Steele, Lea & Flood 2014)."""
    x = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    found: Array = x ^ x >> np.uint64(31)
    return found


@dataclass(frozen=True)
class Cells:
    """The grids over ``extent`` units from ``origin`` on; ``scale``: nm of a unit, by which cells are made cubes."""

    origin: Vec3
    extent: Vec3
    scale: Vec3f

    @property
    def halvings(self) -> list[Vec3]:
        """How often the whole is halved along each axis, from the coarsest grid, which is one cell, to the finest."""
        found = [(0, 0, 0)]
        while True:
            now = found[-1]
            sides = [n * s / 2**h for n, s, h in zip(self.extent, self.scale, now, strict=True)]
            open_ = [_FINEST << h + 1 <= n for n, h in zip(self.extent, now, strict=True)]
            most = max((side for side, free in zip(sides, open_, strict=True) if free), default=0.0)
            take = [free and side * _EVEN >= most for side, free in zip(sides, open_, strict=True)]
            after = vec(h + t for h, t in zip(now, take, strict=True))
            if not any(take) or sum(after) > _CELLS:
                return found
            found.append(after)

    def chunk(self, halved: Vec3) -> Vec3:
        """Units of a cell, along each axis, of a grid."""
        finest = self.halvings[-1]
        return vec(ceil_div(n, 1 << f) << f - h for n, f, h in zip(self.extent, finest, halved, strict=True))

    def shape(self, halved: Vec3) -> Vec3:
        """Cells of a grid along each axis."""
        return vec(ceil_div(n, c) for n, c in zip(self.extent, self.chunk(halved), strict=True))

    def of(self, points: Array, halved: Vec3) -> Array:
        """The cells, int64 [n, 3], of ``points`` [n, 3]; those at the very end are in the last ones."""
        found = np.floor((points.astype(np.float64) - self.origin) / self.chunk(halved)).astype(np.int64)
        return np.clip(found, 0, np.array(self.shape(halved)) - 1)

    def number(self, cells: Array, halved: Vec3) -> Array:
        """One number of each cell, x fastest, int64."""
        nx, ny, _ = self.shape(halved)
        found: Array = cells[:, 0] + nx * (cells[:, 1] + ny * cells[:, 2])
        return found


def most_cells(grid: Cells) -> int:
    """Cells of the finest grid."""
    return prod(grid.shape(grid.halvings[-1]))


def thresholds(grid: Cells, counts: Array, limit: int) -> list[int]:
    """Below which rank each level ends, coarsest first; the last is :data:`ALL`.

    ``counts`` are annotations in each cell of the finest grid, by number. A cell of a level then has about ``limit`` at
    most.
    """
    found, done = list[int](), 0
    for most in _fullest(grid, counts)[:-1]:
        if most * (ALL - done) * _SLACK <= limit * ALL * (_SLACK + 1):
            break
        done += limit * ALL // most
        found.append(done)
    return [*found, ALL]


def _fullest(grid: Cells, counts: Array) -> list[int]:
    """The most annotations in a cell of each grid, from the coarsest to the finest."""
    finest_first = grid.halvings[::-1]
    cells = counts.reshape(grid.shape(finest_first[0]), order="F")
    found = [int(cells.max())]
    for fine, coarse in pairwise(finest_first):
        for axis in range(3):
            if fine[axis] > coarse[axis]:
                cells = np.add.reduceat(cells, np.arange(0, cells.shape[axis], 2), axis=axis)
        found.append(int(cells.max()))
    return found[::-1]


def level_of(ids: Array, ends: list[int]) -> Array:
    """The level of each id, int64."""
    return np.searchsorted(np.array(ends[:-1], np.uint64), ranks(ids), side="right")


def crossed(kind: str, points: Array, ends: Array, grid: Cells, halved: Vec3) -> tuple[Array, Array]:
    """Which annotation, ascending, lies in which cell, int64 [m] and [m, 3]; each pair once.

    ``points`` [n, 3] of annotation i go from ``ends[i]`` to ``ends[i + 1]``.
    """
    points = points.astype(np.float64)
    first = points[ends[:-1]]
    if kind == "point":
        return np.arange(len(first)), grid.of(first, halved)
    if kind in ("line", "polyline"):
        return _of_lines(points, ends, grid, halved)
    second = points[ends[:-1] + 1]
    low, high = (
        (np.minimum(first, second), np.maximum(first, second)) if kind == "box" else (first - second, first + second)
    )
    rows, cells = [np.zeros(0, np.int64)], [np.zeros((0, 3), np.int64)]
    for row, cell in _candidates(grid.of(low, halved), grid.of(high, halved)):
        if kind == "ellipsoid":
            meets = _in_ellipsoid(first[row], second[row], *_corners(cell, grid, halved))
            row, cell = row[meets], cell[meets]
        rows.append(row)
        cells.append(cell)
    return np.concatenate(rows), np.concatenate(cells)


def _of_lines(points: Array, ends: Array, grid: Cells, halved: Vec3) -> tuple[Array, Array]:
    """The cells of lines through several points. Long ones are cut, for the box around a part has fewer cells."""
    counts = np.diff(ends)
    owner = np.repeat(np.arange(len(counts)), np.maximum(counts - 1, counts == 1))
    start = ends[:-1][owner] + np.arange(len(owner)) - np.searchsorted(owner, owner)
    stop = np.minimum(start + 1, ends[1:][owner] - 1)  # one point alone is a line of no length
    a, b = points[start], points[stop]
    spans = np.abs(grid.of(a, halved) - grid.of(b, halved)).max(axis=1, initial=0)
    parts = spans // _PIECE + 1
    which = np.repeat(np.arange(len(owner)), parts)
    turn = (np.arange(len(which)) - np.searchsorted(which, which))[:, None]
    of = parts[which][:, None]
    one, other = a[which] + (b - a)[which] * (turn / of), a[which] + (b - a)[which] * ((turn + 1) / of)
    cut, low, high = owner[which], grid.of(np.minimum(one, other), halved), grid.of(np.maximum(one, other), halved)
    found = [np.zeros((0, 2), np.int64)]
    for row, cell in _candidates(low, high):
        meets = _on_line(one[row], other[row], *_corners(cell, grid, halved))
        found.append(np.column_stack([cut[row], grid.number(cell, halved)])[meets])
    pairs = np.concatenate(found)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    pairs = pairs[np.append(True, (pairs[1:] != pairs[:-1]).any(axis=1))[: len(pairs)]]
    return pairs[:, 0], np.stack(np.unravel_index(pairs[:, 1], grid.shape(halved), order="F"), axis=1)


def _candidates(low: Array, high: Array) -> Any:
    """Pairs of a row and a cell from ``low`` to ``high`` of it, both [n, 3], x fastest, in parts of bounded size."""
    shape = high - low + 1
    totals = shape.prod(axis=1)
    part = np.cumsum(totals) // _CANDIDATES
    for begin, end in zip(*_runs(part), strict=True):
        count = totals[begin:end]
        rows = np.repeat(np.arange(begin, end), count)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        nx, ny = shape[rows, 0], shape[rows, 1]
        yield rows, low[rows] + np.stack([place % nx, place // nx % ny, place // (nx * ny)], axis=1)


def _runs(values: Array) -> tuple[list[int], list[int]]:
    """Where runs of equal values begin and end."""
    begins = np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])
    return begins.tolist(), [*begins[1:].tolist(), len(values)][: len(begins)]


def _corners(cells: Array, grid: Cells, halved: Vec3) -> tuple[Array, Array]:
    chunk = np.array(grid.chunk(halved), np.float64)
    low = np.array(grid.origin) + cells * chunk
    return low, low + chunk


def _on_line(a: Array, b: Array, low: Array, high: Array) -> Array:
    """Whether lines from ``a`` to ``b`` meet boxes: no axis parts them (Ericson, Real-Time Collision Detection, 5.3.3).

    No quotient is taken: exact where points are integers below 2**24. All [n, 3], boxes with their borders.
    """
    e, d, m = high - low, b - a, a + b - low - high  # twice the half sizes
    reach = np.abs(d)
    apart = (np.abs(m) > e + reach).any(axis=1)
    for j, k in ((1, 2), (2, 0), (0, 1)):
        across = np.abs(m[:, j] * d[:, k] - m[:, k] * d[:, j])
        apart |= across > e[:, j] * reach[:, k] + e[:, k] * reach[:, j]
    found: Array = ~apart
    return found


def _in_ellipsoid(centre: Array, radii: Array, low: Array, high: Array) -> Array:
    """Whether ellipsoids meet boxes: whether their nearest point, where the ellipsoid is a ball of radius 1, does."""
    away = np.clip(centre, low, high) - centre
    flat = radii == 0
    scaled = np.where(flat, np.where(away == 0, 0.0, np.inf), away / np.where(flat, 1.0, radii))
    found: Array = (scaled**2).sum(axis=1) <= 1
    return found
