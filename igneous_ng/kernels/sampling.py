"""A volume as it is seen through a map that is known at a lattice of points: one interpolation.

The lattice is that of the window's own volume: its points are the voxels at multiples of :data:`STEP`, so that a voxel
is the same in whatever window it is asked for.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.native import resample as native

Array = npt.NDArray[Any]
Method = Literal["nearest", "linear", "cubic"]
STEP = native.STEP
"""Voxels between points of the lattice."""
REACH = {"nearest": 1, "linear": 1, "cubic": 2}
"""Voxels beyond a place that a method reads."""


def points(window: Box) -> Array:
    """The points of the lattice around ``window``, in voxels, float64 ``[nx, ny, nz, 3]``."""
    sides = zip(window.lo, window.hi, strict=True)
    axes = [np.arange(a // STEP, (b - 1) // STEP + 2) * float(STEP) for a, b in sides]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def around(places: Array, bounds: Box, method: Method) -> Box:
    """The voxels of a volume of ``bounds`` that are read for ``places`` ``[..., 3]``; empty where there are none."""
    flat = places.reshape(-1, 3)
    low, high = np.floor(flat.min(axis=0)), np.floor(flat.max(axis=0))
    far = REACH[method]
    wide = Box(vec(low - far), vec(high + far + 2))
    return wide & bounds


def sampled(volume: Array, low: Vec3, bounds: Box, places: Array, window: Box, method: Method) -> tuple[Array, Array]:
    """``volume`` ``[x, y, z]``, whose first voxel is ``low`` of ``bounds``, as it is seen in ``window``.

    ``places``: where the :func:`points` of the window lie, in voxels of the volume. Returns values ``[x, y, z]``
    (float32, or of the volume's type by the nearest voxel) and whether each is inside the bounds.
    """
    offset = vec(a % STEP for a in window.lo)
    held = np.asfortranarray(volume)
    values, inside = native.resample(
        held.T, (low, bounds.lo, bounds.hi), places.transpose(2, 1, 0, 3), offset, window.shape, method
    )
    return values.T, inside.T
