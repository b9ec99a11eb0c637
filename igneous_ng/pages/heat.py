"""Coarse maps of a figure as pictures in colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_STOPS = np.array([(38, 44, 92), (44, 110, 160), (84, 174, 130), (242, 200, 70), (216, 50, 46)], np.float64)
_GROUND = (232, 234, 238)  # nothing is known
_SIDE = 240


def coloured(values: Array, top: float) -> Array:
    """``values`` ``[x, y]`` from 0, blue, to ``top``, red, as pixels ``[y, x, 3]`` uint8; grey below 0."""
    at = np.clip(values.T.astype(np.float64) / top, 0, 1) * (len(_STOPS) - 1)
    low = np.minimum(at.astype(np.int64), len(_STOPS) - 2)
    share = (at - low)[..., np.newaxis]
    rows = _STOPS[low] * (1 - share) + _STOPS[low + 1] * share
    rows[values.T < 0] = _GROUND
    times = max(1, _SIDE // max(values.shape))
    found: Array = rows.astype(np.uint8).repeat(times, axis=0).repeat(times, axis=1)
    return found
