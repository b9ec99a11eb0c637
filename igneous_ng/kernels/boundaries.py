"""What labels say of boundaries: what models learn to find."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter

from igneous_ng.geometry import Vec3f

Array = npt.NDArray[Any]
UNKNOWN, BOUNDARY, INSIDE = 0, 1, 2
"""What a voxel is, as people paint it."""
_THICK = 2.0  # along an axis whose voxels are so much larger than others nothing is known of what lies between


def classes(labels: Array, resolution: Vec3f) -> Array:
    """What each voxel of a segmentation is, uint8: boundary beside another label, else inside.

    Thin processes have no voxel that is far from all others, so that all of a cell is to be learnt. Voxels of label 0
    are unknown, and so are those around them, unless they touch another label, too.
    """
    found = np.zeros(labels.shape, np.uint8, order="F")
    size = [3 if _close(resolution, axis) else 1 for axis in range(3)]
    found[minimum_filter(labels != 0, size)] = INSIDE
    found[bordering(labels, resolution)] = BOUNDARY
    return found


def bordering(labels: Array, resolution: Vec3f) -> Array:
    """Which voxels touch one of another label; none of them is 0. Not along axes with much larger voxels."""
    found = np.zeros(labels.shape, bool, order="F")
    for axis in range(3):
        if _close(resolution, axis):
            before, after = _sides(labels, axis)
            differ = (before != after) & (before != 0) & (after != 0)
            for half in _sides(found, axis):
                half |= differ
    return found


def _close(resolution: Vec3f, axis: int) -> bool:
    """Whether neighbours along an axis are near enough to tell of each other."""
    return resolution[axis] < _THICK * min(resolution)


def affinities(labels: Array, resolution: Vec3f, distances: tuple[int, ...] = (1,)) -> tuple[Array, Array]:
    """For each distance along x, y and z: which voxels are of one cell with that so far before; where it is known.

    Both bool [x, y, z, 3 * distances]. Voxels at a border belong to no cell, so that borders are thick enough to be
    seen; and it is known nowhere where one of both is 0.
    """
    border, shape = bordering(labels, resolution), (*labels.shape, 3 * len(distances))
    joined, known = np.zeros(shape, bool, order="F"), np.zeros(shape, bool, order="F")
    channel = 0
    for distance in distances:
        for axis in range(3):
            if distance < labels.shape[axis]:
                (a, b), (c, d) = _sides(labels, axis, distance), _sides(border, axis, distance)
                _sides(known[..., channel], axis, distance)[1][...] = (a != 0) & (b != 0)
                _sides(joined[..., channel], axis, distance)[1][...] = (a == b) & (a != 0) & ~c & ~d
            channel += 1
    return joined, known


def _sides(array: Array, axis: int, distance: int = 1) -> tuple[Array, Array]:
    """Views: all voxels that have one so far after them, and those."""
    moved = np.moveaxis(array, axis, 0)
    return np.moveaxis(moved[:-distance], 0, axis), np.moveaxis(moved[distance:], 0, axis)
