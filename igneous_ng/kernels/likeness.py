"""What of a volume is compared with another: its values, or how strong its edges are.

Both are local: what becomes of a voxel depends on those up to :data:`REACH` away, and on nothing else.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[Any]
Measure = Literal["values", "edges"]
REACH = 14
"""Voxels beyond a window that its measure needs: those of both smoothings, and one of the gradient."""
_FINE, _FINE_REACH = 1.0, 3  # voxels: noise is finer
_WIDE, _WIDE_REACH = 4.0, 10  # voxels: shading is coarser
_FLAT = np.float32(1e-5)  # of the mean square: what rounding leaves of a spread
_MOST = 0.5  # of the weights around a voxel must be of voxels that count


def measured(values: Array, valid: Array, measure: Measure) -> tuple[Array, Array]:
    """``values`` float32 as they are compared, and where that means something; 0 elsewhere. Arrays are ``[x, y, z]``.

    values: less their local mean, by the spread around it. edges: the size of the gradient, likewise, which is the same
    for opposite contrast, and much the same for any that is monotonic.
    """
    fine, found = _smooth(values.astype(np.float32, copy=False), valid, _FINE, _FINE_REACH)
    if measure == "edges":
        fine, found = _gradient(fine, found)
    mean, _ = _smooth(fine, found, _WIDE, _WIDE_REACH)
    power, _ = _smooth(fine * fine, found, _WIDE, _WIDE_REACH)
    least = _FLAT * power
    power -= mean * mean
    fine -= mean
    fine /= np.sqrt(np.maximum(power, least) + np.float32(1e-12))
    fine[~found | (power <= least)] = 0
    return np.clip(fine, -4, 4, out=fine), found


def _smooth(values: Array, valid: Array, sigma: float, reach: int) -> tuple[Array, Array]:
    """The mean of the voxels around each that count, by weights of a Gaussian; where most count."""
    whole = bool(valid.all())
    top = _gaussian(values if whole else np.where(valid, values, np.float32(0)), sigma, reach)
    if whole:
        return top, valid
    below = _gaussian(valid.astype(np.float32), sigma, reach)
    return top / np.maximum(below, np.float32(1e-3)), valid & (below > _MOST)


def _gaussian(values: Array, sigma: float, reach: int) -> Array:
    found: Array = ndimage.gaussian_filter(values, sigma, mode="nearest", radius=reach)
    return found


def _gradient(values: Array, valid: Array) -> tuple[Array, Array]:
    """Size of the gradient, by central differences, where all six neighbours count."""
    square = np.zeros_like(values)
    found = ndimage.binary_erosion(valid, border_value=True)
    for axis in range(3):
        difference = ndimage.correlate1d(values, [-0.5, 0, 0.5], axis, mode="nearest")
        square += difference * difference
    return np.sqrt(square), found
