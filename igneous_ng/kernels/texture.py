"""What of a picture is compared with another one: its texture, where there is some.

Arrays are ``[x, y]``, x fastest in memory. A mask says which pixels count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[Any]
_STEP = 5  # pixels: half a window
_DEAD = 3.0  # standard deviations of the noise: 100 pixels of noise alone span five of them
_TRUNCATE = 3.0
_FAINT = 1e-6  # of what counts: all else is beyond the mask


def noise(values: Array) -> float:
    """The standard deviation of the noise, from the median of diagonal details (Donoho 1995); 0 for tiny pictures."""
    w, h = values.shape[0] // 2 * 2, values.shape[1] // 2 * 2
    if not w or not h:
        return 0.0
    even, odd = values[:w:4, :h], values[1:w:4, :h]
    detail = (even[:, ::2] - odd[:, ::2]) - (even[:, 1::2] - odd[:, 1::2])
    return float(np.median(np.abs(detail)) / (2 * 0.6745))


def alive(values: Array, level: float) -> Array:
    """Which pixels lie in no window of 10 x 10 that spans less than noise of ``level``: blank and clipped ones do.

    Windows lie five pixels apart.
    """
    w, h = values.shape
    low, high = _cells(np.minimum, values.T).T, _cells(np.maximum, values.T).T
    flat = _both(np.maximum, high) - _both(np.minimum, low) <= _DEAD * level
    if not flat.any():
        return np.ones(values.shape, bool, order="F")
    dead = np.zeros(low.shape, bool)
    for x in (0, 1):
        for y in (0, 1):
            dead[x : x + flat.shape[0], y : y + flat.shape[1]] |= flat
    found: Array = ~dead.T.repeat(_STEP, axis=0).repeat(_STEP, axis=1)[:h, :w].T
    return found


def _cells(extreme: Any, values: Array) -> Array:
    """The extreme of each 5 x 5 pixels; at the far borders of those that there are."""
    for axis in (0, 1):
        lines = values if axis == 0 else values.T
        found = lines[::_STEP].copy()
        for n in range(1, _STEP):
            more = lines[n::_STEP]
            extreme(found[: len(more)], more, out=found[: len(more)])
        values = found if axis == 0 else found.T
    return values


def _both(extreme: Any, cells: Array) -> Array:
    """The extreme of each cell and the next ones along x, y and both; of what is one cell wide, of that."""
    for axis, count in enumerate(cells.shape):
        if count > 1:
            cells = extreme(np.take(cells, range(count - 1), axis), np.take(cells, range(1, count), axis))
    return cells


def halved(values: Array, mask: Array) -> tuple[Array, Array]:
    """Means of 2 x 2 pixels, and whether all four count; an odd last row or column is left out."""
    w, h = values.shape[0] // 2 * 2, values.shape[1] // 2 * 2
    v, m = values[:w, :h], mask[:w, :h]
    means = (v[::2, ::2] + v[1::2, ::2] + v[::2, 1::2] + v[1::2, 1::2]) * values.dtype.type(0.25)
    return means, m[::2, ::2] & m[1::2, ::2] & m[::2, 1::2] & m[1::2, 1::2]


def banded(values: Array, mask: Array, fine: float, wide: int) -> Array:
    """Texture coarser than noise and finer than shading, of what counts alone; 0 where nothing does.

    The difference of a Gaussian of ``fine`` pixels and twice the mean of ``wide`` x ``wide`` pixels.
    """
    if mask.all():
        return _fine(values, fine) - _wide(values, wide)
    weights = mask.astype(values.dtype)
    far = _wide(np.where(mask, values, 0), wide) / np.maximum(_wide(weights, wide), _FAINT)
    return np.where(mask, smooth(values, mask, fine) - far, 0)


def smooth(values: Array, mask: Array, sigma: float) -> Array:
    """Gaussian means of what counts alone; 0 where nothing does."""
    if mask.all():
        return _fine(values, sigma)
    weights = mask.astype(values.dtype)
    near = _fine(np.where(mask, values, 0), sigma) / np.maximum(_fine(weights, sigma), _FAINT)
    return np.where(mask, near, 0)


def _fine(values: Array, sigma: float) -> Array:
    found: Array = ndimage.gaussian_filter(values.T, sigma, mode="nearest", truncate=_TRUNCATE).T
    return found


def _wide(values: Array, width: int) -> Array:
    once = ndimage.uniform_filter(values.T, width, mode="nearest")
    found: Array = ndimage.uniform_filter(once, width, mode="nearest").T
    return found
