"""Areas from counts of crossings (Cauchy-Crofton): what a crossing along each of 13 directions is worth, in integers.

The lines through all voxels along a direction cross a surface as often as its projection along that direction has room
for lines. A surface is twice as large as its mean projection over all directions, and of the mean each of the 13 has as
much as there are directions nearest to it (Ohser and Muecklich 2000; Legland, Kieu and Devaux 2007). Surfaces that face
all ways are right on average; a flat one is between the two shares that :attr:`Measure.flat` tells.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3, Vec3f
from igneous_ng.kernels.contacts import pitch

Array = npt.NDArray[Any]
DIRECTIONS = (
    (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (-1, 1, 0), (1, 0, 1), (-1, 0, 1), (0, 1, 1), (0, -1, 1),
    (1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1),
)  # fmt: skip
"""As ``native/faces.pyi`` counts them."""
_RAYS, _TURN = (
    28657,
    17711,
)  # of a lattice that meets no border along a row: two numbers of Fibonacci, the first a prime
_DIGITS = 6  # of shares: more would depend on the order in which rays are added up
_PARTS = 1000  # of the largest face, by which faces are weighed for centroids


@dataclass(frozen=True)
class Measure:
    """How areas are measured where voxels are ``resolution`` nm wide, which is taken as whole pm."""

    resolution: Vec3f

    @property
    def pitch(self) -> Vec3:
        """The size of a voxel in pm."""
        return pitch(self.resolution)

    @cached_property
    def face(self) -> Array:
        """The area of a face across each axis, int64 [3], pm^2."""
        x, y, z = self.pitch
        return np.array([y * z, x * z, x * y], np.int64)

    @cached_property
    def weight(self) -> Array:
        """The weight of a face across each axis in a mean place, int64 [3]: its area, in thousandths of the largest."""
        largest = int(self.face.max())
        return np.array(
            [max(1, (2 * _PARTS * side + largest) // (2 * largest)) for side in self.face.tolist()], np.int64
        )

    @cached_property
    def crossing(self) -> Array:
        """The area that a crossing along each of :data:`DIRECTIONS` stands for, int64 [13], pm^2."""
        volume = math.prod(self.pitch)
        lengths = [math.sqrt(sum(part * part for part in step)) for step in self._steps]
        worth = [2 * share * volume / length for share, length in zip(self.shares, lengths, strict=True)]
        return np.array([max(1, round(one)) for one in worth], np.int64)

    @cached_property
    def flat(self) -> tuple[float, float]:
        """The least and the greatest part of its area that a flat surface may be given, by the way that it faces."""
        rays, _ = _rays()
        seen = 2 * sum(share * _cosine(rays, step) for step, share in zip(self._steps, self.shares, strict=True))
        return round(float(np.min(seen)), 3), round(float(np.max(seen)), 3)

    @property
    def _steps(self) -> list[tuple[int, ...]]:
        """The directions in pm."""
        return [tuple(a * b for a, b in zip(step, self.pitch, strict=True)) for step in DIRECTIONS]

    @cached_property
    def shares(self) -> list[float]:
        """How much of all directions is nearest to each of the 13: found in one octant, for the others mirror it."""
        rays, solid = _rays()
        ahead = [number for number, step in enumerate(DIRECTIONS) if min(step) >= 0]
        nearest = np.argmax(np.stack([_cosine(rays, self._steps[number]) for number in ahead]), axis=0)
        sums = [math.fsum(solid[nearest == place].tolist()) for place in range(len(ahead))]
        kinds = [tuple(map(abs, step)) for step in DIRECTIONS]
        parts = dict(zip((kinds[number] for number in ahead), sums, strict=True))
        return [round(parts[kind] / kinds.count(kind) / math.fsum(sums), _DIGITS) for kind in kinds]


@functools.cache
def measure(resolution: Vec3f) -> Measure:
    """How areas are measured at a resolution: found once."""
    return Measure(resolution)


def _cosine(rays: Array, step: tuple[int, ...]) -> Array:
    """Of the angle between rays and a direction, or the opposite one."""
    (u, v, w), (x, y, z) = rays, step
    found: Array = np.abs(u * x + v * y + w * z) / (math.sqrt(x * x + y * y + z * z) * np.sqrt(u * u + v * v + w * w))
    return found


def _rays() -> tuple[Array, Array]:
    """Rays that fill an octant, alike whatever axis is the first, [3, n], and their solid angles, but for a factor.

    Sums, products, quotients and roots of whole numbers: they are the same on every machine.
    """
    row = np.arange(_RAYS, dtype=np.int64)
    u, v = 2.0 * row + 1, 2.0 * (row * _TURN % _RAYS) + 1
    w = np.full_like(u, 2.0 * _RAYS)
    rays = np.concatenate([np.stack(order) for order in itertools.permutations((u, v, w))], axis=1)
    square = rays[0] * rays[0] + rays[1] * rays[1] + rays[2] * rays[2]
    return rays, 1 / (square / square.max() * np.sqrt(square / square.max()))
