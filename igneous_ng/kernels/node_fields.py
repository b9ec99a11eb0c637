"""Values that are known at the nodes of a lattice in space, trilinear between them.

Node ``(i, j, k)`` of a lattice of steps ``(Sx, Sy, Sz)`` lies at ``((i + 1/2) Sx - 1/2, ...)``: the centre of a block
of such sides, so that a field is a volume of large voxels. Points are ``[..., 3]``. What becomes of a point does not
depend on which others are asked for with it.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Box, Vec3, vec

Array = npt.NDArray[Any]


def points(box: Box, step: Vec3) -> Array:
    """The nodes of ``box`` as points ``[nx, ny, nz, 3]``."""
    sides = zip(box.lo, box.hi, step, strict=True)
    axes = [(np.arange(a, b) + 0.5) * s - 0.5 for a, b, s in sides]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def places(at: Array, step: Vec3) -> Array:
    """Points as places in the lattice: node ``(i, j, k)`` is at ``(i, j, k)``."""
    found: Array = (np.asarray(at, np.float64) + 0.5) / np.array(step, np.float64) - 0.5
    return found


def around(at: Array, bounds: Box) -> Box:
    """The nodes that :func:`trilinear` reads for places ``at``, inside ``bounds``."""
    inside = np.clip(at, bounds.lo, np.array(bounds.hi) - 1).reshape(-1, 3)
    low, high = np.floor(inside.min(axis=0)), np.floor(inside.max(axis=0)) + 2
    return Box(vec(low), vec(np.minimum(high, bounds.hi)))


def trilinear(values: Array, low: Vec3, at: Array) -> Array:
    """``values`` ``[nx, ny, nz, channel]`` at places of the lattice, ``[..., channel]``; beyond the border as at it.

    ``values[0, 0, 0]`` belongs to node ``low``.
    """
    shape = np.array(values.shape[:3])
    inside = np.clip(at, low, low + shape - 1)
    whole = np.minimum(np.floor(inside), low + np.maximum(shape - 2, 0))
    part = inside - whole  # of the place itself: no origin may show in the last bit
    first = whole.astype(np.int64) - low
    second = np.minimum(first + 1, shape - 1)
    found = np.zeros((*at.shape[:-1], values.shape[3]))
    for corner in product((0, 1), repeat=3):
        index = tuple((second if side else first)[..., axis] for axis, side in enumerate(corner))
        each = [part[..., axis] if side else 1 - part[..., axis] for axis, side in enumerate(corner)]
        found += (each[0] * each[1] * each[2])[..., np.newaxis] * values[index]
    return found
