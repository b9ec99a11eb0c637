"""Values that must not be mixed, labels and codes, as a window shows them: each pixel takes the one it lies in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels.warping import STEP, Window

Array = npt.NDArray[Any]
_STRIP = 64  # pixels along y that are looked up at once


def between(places: Array, window: Window) -> Array:
    """``places`` at the points of the window's lattice, bilinear at each of its pixels, ``[x, y, 2]``."""
    x0, y0, x1, y1 = window
    u, v = ((np.arange(a % STEP, a % STEP + b - a) / STEP) for a, b in ((x0, x1), (y0, y1)))
    i, j = u.astype(np.int64), v.astype(np.int64)
    fu, fv = (u - i)[:, np.newaxis, np.newaxis], (v - j)[np.newaxis, :, np.newaxis]
    near = places[i][:, j] * (1 - fu) + places[i + 1][:, j] * fu
    far = places[i][:, j + 1] * (1 - fu) + places[i + 1][:, j + 1] * fu
    found: Array = near * (1 - fv) + far * fv
    return found


def picked(picture: Array, window: Window, places: Array, background: float) -> Array:
    """``picture`` ``[x, y, channel]`` as it is seen in ``window``, ``[x, y, channel]`` of its type.

    ``places`` in the picture are those of the window's lattice, as for :func:`~igneous_ng.kernels.warping.warped`. A
    pixel whose place lies between two of the picture takes the next; beyond the picture there is ``background``.
    """
    x0, y0, x1, y1 = window
    out = np.full((x1 - x0, y1 - y0, picture.shape[2]), background, picture.dtype, order="F")
    for low in range(y0, y1, _STRIP):
        high, row = min(low + _STRIP, y1), low // STEP - y0 // STEP
        at = np.floor(between(places[:, row : row + _STRIP // STEP + 2], (x0, low, x1, high)) + 0.5).astype(np.int64)
        i, j = at[..., 0], at[..., 1]
        inside = (i >= 0) & (i < picture.shape[0]) & (j >= 0) & (j < picture.shape[1])
        out[:, low - y0 : high - y0][inside] = picture[i[inside], j[inside]]
    return out
