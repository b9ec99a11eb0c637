"""Values between the four corners of a cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def between(values: Array, first: Array, part: Array) -> Array:
    """``values`` ``[nx, ny, channel]`` in cells, ``[..., channel]``: each goes from ``first`` ``[..., 2]`` to the next.

    ``part`` ``[..., 2]`` is how far it is from corner to corner, 0 to 1, or a little beyond. Along an axis the last
    value stands for one after it.
    """
    i, j = first[..., 0], first[..., 1]
    k, m = np.minimum(i + 1, values.shape[0] - 1), np.minimum(j + 1, values.shape[1] - 1)
    fx, fy = part[..., :1], part[..., 1:]
    near = values[i, j] * (1 - fx) + values[k, j] * fx
    far = values[i, m] * (1 - fx) + values[k, m] * fx
    return np.asarray(near * (1 - fy) + far * fy)
