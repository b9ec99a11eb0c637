"""Noise that depends on nothing but a key and a place, so that a volume cut anyhow comes out the same.

Everything here is elementwise (integer hashes, additions and products in one order), hence a voxel's value
does not depend on the array it was computed in. Places are global, in nm; arrays are ``[x, y, z]``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Box, Vec3f

F32 = npt.NDArray[np.float32]
U64 = npt.NDArray[np.uint64]

_STRIDES = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
_MIX = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)


def hashed(key: int, *places: npt.NDArray[Any]) -> U64:
    """64 well mixed bits for each tuple of up to three integers (any sign), broadcast; ``key`` picks the stream."""
    # One element, not none: numpy warns of wrapping scalars, never of wrapping arrays.
    state = np.array([(key * 0xD1342543DE82EF95 + 0x632BE59BD9B4E019) % 2**64], np.uint64)
    for place, stride in zip(places, _STRIDES, strict=False):
        state = state + place.astype(np.int64).view(np.uint64) * stride
    state = (state ^ (state >> np.uint64(30))) * _MIX[0]
    state = (state ^ (state >> np.uint64(27))) * _MIX[1]
    return np.asarray(state ^ (state >> np.uint64(31)))


def normal(bits: U64) -> F32:
    """Nearly normal deviates, mean 0 and variance 1: the sum of the four quarters of ``bits``."""
    total = np.zeros(bits.shape, np.int32)
    for shift in (0, 16, 32, 48):
        total += ((bits >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int32)
    # A quarter is uniform on 0..65535; four of them have a standard deviation of 65536 / sqrt(3).
    return (total - np.int32(131070)).astype(np.float32) * np.float32(3**0.5 / 65536)


def grid(box: Box) -> tuple[npt.NDArray[np.int64], ...]:
    """The global voxel coordinates of ``box`` as three arrays that broadcast to its shape."""
    x, y, z = (np.arange(a, b, dtype=np.int64) for a, b in zip(box.lo, box.hi, strict=True))
    return x[:, None, None], y[None, :, None], z[None, None, :]


def speckle(key: int, box: Box) -> F32:
    """White noise of variance 1, one deviate a voxel of ``box``."""
    return normal(hashed(key, *grid(box)))


def cloud(key: int, box: Box, resolution: Vec3f, wavelength: float) -> F32:
    """Smooth noise over the voxels of ``box``: deviates on a lattice of ``wavelength`` nm, quadratic B-splines between.

    Mean 0; variance about 0.17 (that of the spline, averaged over a cell). The spline is separable, so the
    lattice is expanded along one axis after the other.
    """
    cells, weights = zip(
        *(
            _spline((np.arange(a, b, dtype=np.float64) + 0.5) * (res / wavelength))
            for a, b, res in zip(box.lo, box.hi, resolution, strict=True)
        ),
        strict=True,
    )
    first = [c[0] if len(c) else 0 for c in cells]
    last = [c[-1] + 3 if len(c) else 3 for c in cells]
    lattice = grid(Box((int(first[0]), int(first[1]), int(first[2])), (int(last[0]), int(last[1]), int(last[2]))))
    values = normal(hashed(key, *lattice))
    for axis, (cell, weight) in enumerate(zip(cells, weights, strict=True)):
        shape = [1, 1, 1]
        shape[axis] = -1
        start = cell - first[axis]
        parts = [np.take(values, start + k, axis) * weight[k].reshape(shape) for k in range(3)]
        values = (parts[0] + parts[1]) + parts[2]
    return values


def cloud_at(key: int, points: npt.NDArray[np.float64], wavelength: float) -> npt.NDArray[np.float64]:
    """The noise of :func:`cloud` at any ``points`` (n, 3) in nm (equal to it but for rounding)."""
    cells, weights = zip(*(_spline(points[:, a] / wavelength) for a in range(3)), strict=True)
    total = np.zeros(len(points))
    for i, j, k in np.ndindex(3, 3, 3):
        value = normal(hashed(key, cells[0] + i, cells[1] + j, cells[2] + k))
        total += value * weights[0][i] * weights[1][j] * weights[2][k]
    return total


def _spline(at: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], F32]:
    """The first of three lattice points that bear on each place, and their weights (3, n)."""
    nearest = np.floor(at + 0.5)
    t = at - nearest
    weights = np.stack([0.5 * (0.5 - t) ** 2, 0.75 - t * t, 0.5 * (0.5 + t) ** 2])
    return nearest.astype(np.int64) - 1, weights.astype(np.float32)
