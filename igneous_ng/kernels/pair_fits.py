"""How a pair of tiles lies to each other, from shifts at points of which some may be wrong.

The model is a polynomial of the third degree of which all but the shift is held small: neighbours differ by few per
cent, lenses and drift bend their common border by few pixels, and points in one row say nothing of what is across it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))
_SLOPE = 0.03  # spread of slopes that is expected
_BEND = 6.0  # spread of what each higher term makes at the farthest point, in pixels
_ROUNDS = 8


@dataclass(frozen=True)
class Fit:
    """Shifts over an overlap: ``terms`` ``[10, 2]`` of a polynomial in ``(p - centre) / radius``.

    ``trust``: how far each point that it rests on is believed, 0 to 1.
    """

    centre: Array
    radius: float
    terms: Array
    trust: Array

    @classmethod
    def still(cls, shift: Array) -> Fit:
        """The same shift everywhere."""
        terms: Array = np.zeros((len(_POWERS), 2))
        terms[0] = shift
        return cls(np.zeros(2), 1.0, terms, np.ones(1))

    def __call__(self, points: Array) -> Array:
        """The shifts ``[n, 2]`` at ``points`` ``[n, 2]``."""
        return np.asarray(_design(points, self.centre, self.radius) @ self.terms)

    def slopes(self, points: Array) -> Array:
        """How shifts change at ``points``: ``[n, 2, 2]``, of x and y along x and y."""
        x, y = ((points - self.centre) / self.radius).T
        found: Array = np.zeros((len(points), 2, 2))
        for (i, j), term in zip(_POWERS, self.terms, strict=True):
            if i:
                found[:, :, 0] += (i * x ** (i - 1) * y**j)[:, None] * term / self.radius
            if j:
                found[:, :, 1] += (j * x**i * y ** (j - 1))[:, None] * term / self.radius
        return found


def fitted(points: Array, shifts: Array, variance: Array, limit: float) -> Fit:
    """The fit to ``shifts`` ``[n, 2]`` at ``points`` ``[n, 2]``; none counts that is more than ``limit`` pixels off.

    Reweighted least squares (Tukey's biweight) that begin with the point with which most others agree. ``variance``
    [n] is that of a shift per axis; points where it is infinite are beyond those that say something, of which there
    must be one: what terms make there is held small too.
    """
    known = np.isfinite(variance)
    trust = np.zeros(len(points))
    trust[known] = _first(points[known], shifts[known], limit)
    centre = points.mean(axis=0)
    radius = max(float(np.abs(points - centre).max()), 1.0)
    design = _design(points, centre, radius)
    held = np.diag([0.0] + [(_BEND if sum(power) > 1 else _SLOPE * radius) ** -2 for power in _POWERS[1:]])
    for _ in range(_ROUNDS):
        weighted = design.T * (trust / variance)
        terms = np.linalg.solve(weighted @ design + held, weighted @ shifts)
        off = np.hypot(*(shifts - design @ terms).T) / limit
        believed = np.where(known & (off < 1), (1 - off**2) ** 2, 0.0)
        if not believed.any():
            break
        trust = believed
    return Fit(centre, radius, terms, trust)


def _first(points: Array, shifts: Array, limit: float) -> Array:
    """Which points agree with the one with which most others do, slopes unknown: 0 or 1."""
    far = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    off = np.hypot(*(shifts[:, None] - shifts[None]).transpose(2, 0, 1))
    near = off < limit + _SLOPE * far
    best = int(np.argmax(near.sum(axis=1)))
    return np.asarray(near[best], np.float64)


def _design(points: Array, centre: Array, radius: float) -> Array:
    """The terms' values at each point, ``[n, 10]``."""
    x, y = ((points - centre) / radius).T
    one = np.ones_like(x)
    xx, xy, yy = x * x, x * y, y * y
    return np.stack([one, x, y, xx, xy, yy, xx * x, xx * y, x * yy, yy * y], axis=1)
