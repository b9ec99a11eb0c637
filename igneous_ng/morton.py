"""Compressed Morton codes, as Neuroglancer's "Precomputed volume" specification has them of the chunks of a grid.

The bits of a place's coordinates take turns, x, y, z; an axis takes part as long as the grid has places for a bit more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3

Array = npt.NDArray[Any]


def axes(grid: Vec3) -> tuple[int, ...]:
    """The axis that each bit of a code comes from, lowest bit first."""
    most = max(grid).bit_length()
    return tuple(axis for bit in range(most) for axis in range(3) if 1 << bit < grid[axis])


def codes(points: Array, order: tuple[int, ...]) -> Array:
    """The codes, uint64 [n], of places, integers [n, 3] from 0 on; ``order`` is that of :func:`axes`."""
    found, taken = np.zeros(len(points), np.uint64), [0, 0, 0]
    columns = [points[:, axis].astype(np.uint64) for axis in range(3)]
    for bit, axis in enumerate(order):
        found |= (columns[axis] >> np.uint64(taken[axis]) & np.uint64(1)) << np.uint64(bit)
        taken[axis] += 1
    return found


def points(codes: Array, order: tuple[int, ...]) -> Array:
    """The places, int64 [n, 3], of codes."""
    found, taken = np.zeros((len(codes), 3), np.uint64), [0, 0, 0]
    for bit, axis in enumerate(order):
        found[:, axis] |= (codes >> np.uint64(bit) & np.uint64(1)) << np.uint64(taken[axis])
        taken[axis] += 1
    return found.astype(np.int64)
