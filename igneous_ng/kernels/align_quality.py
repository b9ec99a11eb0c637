"""How well two pictures that should lie on each other do, and what a field of displacements does to what it moves.

Both are asked of what an alignment has made, by means that have no part in making it. Arrays are ``[x, y]``; a shift
``d`` says that the second picture shows at ``p + d`` what the first shows at ``p``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng.kernels.correlation import Masked, correlations

Array = npt.NDArray[Any]
REACH = 8
"""Pixels to each side in which the better place of a block is looked for."""
_SHADE = 49  # pixels: what changes more slowly is of the camera, not of the tissue
_ENOUGH = 0.5  # of a block that both must show


@dataclass(frozen=True)
class Likeness:
    """What one block shows of how two pictures lie on each other."""

    shift: tuple[float, float]
    """Where the second shows it best, to a fraction of a pixel."""
    best: float
    """The normalised correlation there."""
    here: float
    """The same as they lie."""

    @property
    def gap(self) -> float:
        """By how much another place would be better."""
        return self.best - self.here


def even(values: Array, tissue: Array) -> Masked:
    """A picture without slow changes of brightness; what is no tissue has no say, and is 0."""
    whole = np.where(tissue, values, 0).astype(np.float64)
    mean = ndimage.uniform_filter(whole, _SHADE)
    if not tissue.all():
        mean /= np.maximum(ndimage.uniform_filter(tissue.astype(np.float64), _SHADE), 1 / _SHADE**2)
    return Masked(np.where(tissue, whole - mean, 0), tissue)


def likeness(one: Masked, other: Masked) -> Likeness | None:
    """How the middle of ``one`` (all but :data:`REACH` pixels around) lies on ``other``, which is of the same size.

    Every shift of whole pixels within reach is compared by normalised correlation, the best refined by a parabola along
    each axis. None where one of the two shows too little.
    """
    inner = slice(REACH, -REACH)
    block = one.cut(inner, inner)
    span = (0, 2 * REACH)
    found, count = correlations(other, block, (span, span))
    least = _ENOUGH * block.mask.size
    if count[REACH, REACH] < least:
        return None
    found = np.where(count >= least, found, -1.0)
    x, y = np.unravel_index(int(np.argmax(found)), found.shape)
    shift = x - REACH + _vertex(found[:, y], int(x)), y - REACH + _vertex(found[x], int(y))
    return Likeness((float(shift[0]), float(shift[1])), float(found[x, y]), float(found[REACH, REACH]))


def _vertex(values: Array, at: int) -> float:
    """Where, from ``at``, the parabola through three values has its top; 0 at the end of what is known."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, top, after = values[at - 1 : at + 2].tolist()
    bend = before - 2 * top + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0


@dataclass(frozen=True)
class Cells:
    """The cells between four nodes each: ``strain`` and the least and largest ``area`` in it, ``[nx - 1, ny - 1]``.

    Strain is the largest stretch or compression of a length, where no turn counts (of the symmetric part of the mean
    gradient). Area is the determinant of the map; where the least is not positive the cell is folded: of a bilinear
    map the extremes are at the corners.
    """

    strain: Array
    least: Array
    most: Array


def cells(field: Array, step: float) -> Cells:
    """What becomes of the cells of a lattice of ``step`` when its nodes move by ``field`` ``[nx, ny, 2]``."""
    along = np.diff(field, axis=0) / step
    across = np.diff(field, axis=1) / step
    dx, dy = (along[:, :-1], along[:, 1:]), (across[:-1], across[1:])
    area = np.stack([(1 + u[..., 0]) * (1 + v[..., 1]) - u[..., 1] * v[..., 0] for u in dx for v in dy])
    u, v = (dx[0] + dx[1]) / 2, (dy[0] + dy[1]) / 2
    mean, half = (u[..., 0] + v[..., 1]) / 2, (u[..., 0] - v[..., 1]) / 2
    strain = np.abs(mean) + np.hypot(half, (u[..., 1] + v[..., 0]) / 2)
    return Cells(strain, area.min(axis=0), area.max(axis=0))


def rough(field: Array) -> Array:
    """What a field ``[nx, ny, 2]`` has at the shortest wavelengths: itself less the mean of 3 by 3 nodes.

    Of the nodes that have all neighbours, ``[nx - 2, ny - 2, 2]``.
    """
    if min(field.shape[:2]) < 3:
        return np.zeros((0, 0, 2))
    nx, ny = field.shape[0] - 2, field.shape[1] - 2
    around = np.zeros((nx, ny, 2))
    for i in range(3):
        for j in range(3):
            around += field[i : i + nx, j : j + ny]
    found: Array = field[1:-1, 1:-1] - around / 9
    return found


@dataclass
class Motion:
    """The mean displacement of points and how far they turn, from sums that are gathered part by part."""

    count: int = 0
    sums: Any = 0.0

    def add(self, points: Array, moved: Array) -> None:
        """Take points ``[n, 2]``, from somewhere in their middle, and their displacements."""
        (x, y), (u, v) = points.T, moved.T
        terms = (x, y, u, v, x * x + y * y, x * v - y * u)
        self.count += len(points)
        self.sums = self.sums + np.array([term.sum() for term in terms])

    def found(self) -> tuple[float, float, float] | None:
        """Mean displacement along x and y and the turn in radians, by least squares; None of no points."""
        if not self.count:
            return None
        x, y, u, v, square, cross = (self.sums / self.count).tolist()
        spread = square - x * x - y * y
        return u, v, (cross - (x * v - y * u)) / spread if spread > 0 else 0.0
