"""Voxels in another data type: exactly, or by a scaling that the user asked for; never by silent loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import DataError

Array = NDArray[Any]


def exactly(voxels: Array, dtype: np.dtype[Any]) -> Array:
    """``voxels`` as ``dtype``; DataError where a value would change."""
    if voxels.dtype == dtype:
        return voxels
    with np.errstate(invalid="ignore", over="ignore"):
        cast = voxels.astype(dtype)
        same = np.array_equal(cast.astype(voxels.dtype), voxels, equal_nan=dtype.kind == "f")
    if not same or not np.array_equal(cast < 0, voxels < 0):
        raise DataError(f"values of {voxels.dtype.name} do not fit {dtype.name}")
    return cast


def rescaled(voxels: Array, low: float, high: float, dtype: np.dtype[Any]) -> Array:
    """``low`` to ``high`` spread over all values of ``dtype`` (0 to 1 for floats), rounded to the nearest.

    What lies outside is set to the nearer end. DataError where a voxel is no number.
    """
    if voxels.dtype.kind == "f" and np.isnan(voxels).any():
        raise DataError("a voxel is not a number, and no scaling makes it one")
    share = np.clip((voxels.astype(np.float64) - low) / (high - low), 0, 1)
    if dtype.kind == "f":
        return share.astype(dtype)
    ends = np.iinfo(dtype)
    return np.rint(share * (float(ends.max) - float(ends.min)) + ends.min).astype(dtype)
