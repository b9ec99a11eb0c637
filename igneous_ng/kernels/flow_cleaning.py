"""Vectors of a lattice that their neighbours do not bear out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FARTHEST = 6.0
"""Pixels of the level between a vector and the median of those around it."""
_FEW = 3  # good vectors that a median is made of


def unlike(shift: Array, good: Array, seen: Array) -> Array:
    """Which good vectors ``[x, y, 2]`` are unlike those around them, bool ``[x - 2, y - 2]``: the inner nodes.

    ``good`` bool ``[x, y]``: vectors that count; ``seen``: nodes at which something was compared. A vector is unlike
    where it is far from the median of the good ones of its 3 x 3, or where three others were seen and none is near it.
    Where there are too few to tell it is not.
    """
    inner = shift[1:-1, 1:-1]
    around = np.stack(_shifted(np.where(good[..., np.newaxis], shift, np.nan)))
    around[_MIDDLE] = inner
    count = np.isfinite(around[..., 0]).sum(axis=0)
    middle = _median(around, count)
    with np.errstate(invalid="ignore"):
        far = (np.abs(inner - middle).max(axis=-1) > FARTHEST) & (count >= _FEW)
        near = (np.abs(around - inner).max(axis=-1) <= FARTHEST).sum(axis=0) - 1
    others = np.stack(_shifted(seen)).sum(axis=0) - seen[1:-1, 1:-1]
    return np.asarray(far | ((near == 0) & (others >= _FEW)))


_MIDDLE = 4


def _shifted(values: Array) -> list[Array]:
    """The nine neighbours of inner nodes, themselves the fifth."""
    n, m = values.shape[0] - 2, values.shape[1] - 2
    return [values[i : i + n, j : j + m] for i in range(3) for j in range(3)]


def _median(around: Array, count: Array) -> Array:
    """Of each component the median of the ``count`` that are no NaN, along the first axis."""
    ordered = np.sort(around, axis=0)  # NaN are last
    low, high = (np.maximum(n, 0)[np.newaxis, ..., np.newaxis] for n in ((count - 1) // 2, count // 2))
    low, high = (np.broadcast_to(n, (1, *around.shape[1:])) for n in (low, np.minimum(high, 8)))
    found = (np.take_along_axis(ordered, low, 0) + np.take_along_axis(ordered, high, 0)) / 2
    return np.asarray(found[0])
