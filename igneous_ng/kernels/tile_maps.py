"""Maps from a tile to its section: ``m(p) = A (p + lens(p) + elastic(p)) + t``, and back.

Points are ``[..., 2]``, x and y in pixels, float64; the centre of a pixel is an integer. What becomes of a point does
not depend, to the last bit, on which others are asked for with it: hence sums term by term, and no matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels import bilinear
from igneous_ng.kernels.affine import linear

Array = npt.NDArray[Any]
ORDER = 5
"""The highest power of x and y together in a lens."""
POWERS = tuple((i, n - i) for n in range(2, ORDER + 1) for i in range(n, -1, -1))
"""Powers of x and y of each term of a lens: degrees 2 to 5, for those below are the tile's own affine part."""
STEPS = 10
"""Steps of an inverse that are enough for all that bends tiles."""


@dataclass(frozen=True)
class Lens:
    """How a camera bends its tiles: a polynomial in ``(p - centre) / radius``, giving pixels.

    ``terms``: ``[len(POWERS), 2]``.
    """

    centre: tuple[float, float]
    radius: float
    terms: Array

    def __call__(self, points: Array) -> Array:
        """The displacement at ``points`` in pixels, ``[..., 2]``."""
        powers: Array = monomials(self.normal(points))
        found: Array = np.zeros(points.shape)
        for n, (dx, dy) in enumerate(self.terms.tolist()):
            found[..., 0] += powers[..., n] * dx
            found[..., 1] += powers[..., n] * dy
        return found

    def normal(self, points: Array) -> Array:
        """``points`` about the centre, in radii."""
        about: Array = (points - np.array(self.centre)) / self.radius
        return about


def monomials(points: Array) -> Array:
    """``[..., len(POWERS)]``: x**i * y**j for each of :data:`POWERS`, of normalised points ``[..., 2]``."""
    x, y = points[..., 0], points[..., 1]
    xs, ys = [np.ones_like(x)], [np.ones_like(y)]
    for _ in range(ORDER):
        xs.append(xs[-1] * x)
        ys.append(ys[-1] * y)
    return np.stack([xs[i] * ys[j] for i, j in POWERS], axis=-1)


@dataclass(frozen=True)
class TileMap:
    """The map of one tile of ``size`` (width, height) pixels.

    ``matrix`` is ``[2, 2]`` and ``shift`` ``[2]``; ``nodes`` ``[nx, ny, 2]`` are displacements in tile pixels at
    points evenly spread from the first to the last pixel, at least 2 by 2, bilinear between them and as at the border
    beyond; none: ``[0, 0, 2]``.
    """

    size: tuple[int, int]
    matrix: Array
    shift: Array
    lens: Lens | None = None
    nodes: Array = field(default_factory=lambda: np.zeros((0, 0, 2), np.float64))

    def __call__(self, points: Array) -> Array:
        """Where ``points`` of the tile lie in the section."""
        return linear(self.matrix, self.bent(np.asarray(points, np.float64))) + self.shift

    def bent(self, points: Array) -> Array:
        """``points`` after lens and elastic part, in tile pixels; beyond the border both are as there."""
        moved = points
        if self.lens is not None:
            moved = moved + self.lens(np.clip(points, -0.5, np.array(self.size) - 0.5))
        return moved + self.elastic(points) if self.nodes.size else moved

    def elastic(self, points: Array) -> Array:
        """The elastic displacement at ``points``."""
        return bilinear.between(self.nodes, *self.cells(points))

    def cells(self, points: Array) -> tuple[Array, Array]:
        """For each point, the index of its cell's first node ``[..., 2]`` and how far it is to the next, 0 to 1."""
        return cells(points, self.size, self.nodes.shape[:2])

    def inverse(self, points: Array, steps: int = STEPS) -> Array:
        """Which points of the tile lie at ``points`` of the section, by a fixed number of steps.

        Each makes the error smaller by the slope of the bending, which is far below one for all that bends tiles.
        """
        aim = linear(self._back, np.asarray(points, np.float64) - self.shift)
        found = aim
        for _ in range(steps if self.lens is not None or self.nodes.size else 0):
            found = found + (aim - self.bent(found))
        return found

    @cached_property
    def _back(self) -> Array:
        return np.linalg.inv(self.matrix)

    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of the section that the tile covers, from points along its edges."""
        w, h = self.size[0] - 0.5, self.size[1] - 0.5
        along = np.linspace(0.0, 1.0, 17)
        xs, ys = -0.5 + along * (w + 0.5), -0.5 + along * (h + 0.5)
        sides = [(xs, np.full(17, y)) for y in (-0.5, h)] + [(np.full(17, x), ys) for x in (-0.5, w)]
        edge = [np.stack(side, axis=-1) for side in sides]
        found = self(np.concatenate(edge))
        (x0, y0), (x1, y1) = found.min(axis=0), found.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)


def cells(points: Array, size: tuple[int, int], nodes: tuple[int, ...]) -> tuple[Array, Array]:
    """The cell of each point in a net of ``nodes`` over a tile of ``size``, and its place in it: see `TileMap`."""
    count = np.array(nodes) - 1
    scaled = np.clip(points / np.maximum(np.array(size) - 1, 1), 0.0, 1.0) * count
    at = np.minimum(scaled.astype(np.int64), count - 1)
    return at, scaled - at
