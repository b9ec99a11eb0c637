"""Displacements that are known at the nodes of a lattice, bilinear between them.

Node ``(i, j)`` of a lattice of step S lies at ``((i + 1/2) S - 1/2, (j + 1/2) S - 1/2)``: the centre of a block of S by
S pixels, so that a field is an image of large pixels. Points are ``[..., 2]``, x and y. What becomes of a point does
not depend on which others are asked for with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels.bilinear import between

Array = npt.NDArray[Any]


def points(low: tuple[int, int], high: tuple[int, int], step: float) -> Array:
    """The nodes ``low`` to ``high``, the last not included, as points ``[nx, ny, 2]``."""
    xs, ys = ((np.arange(a, b) + 0.5) * step - 0.5 for a, b in zip(low, high, strict=True))
    return np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1)


def places(at: Array, step: float) -> Array:
    """Points as places in the lattice: node ``(i, j)`` is at ``(i, j)``."""
    found: Array = (np.asarray(at, np.float64) + 0.5) / step - 0.5
    return found


def bilinear(values: Array, low: tuple[int, int], at: Array) -> Array:
    """``values`` ``[nx, ny, channel]`` at places of the lattice, ``[..., channel]``; beyond the border as at it.

    ``values[0, 0]`` belongs to node ``low``.
    """
    shape = np.array(values.shape[:2])
    inside = np.clip(at - np.array(low), 0, shape - 1)
    first = np.minimum(inside.astype(np.int64), np.maximum(shape - 2, 0))
    return between(values, first, inside - first)


def around(at: Array, bounds: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The nodes that :func:`bilinear` reads for places ``at``: x0, y0, x1, y1, half open, inside ``bounds``."""
    x0, y0, x1, y1 = bounds
    inside = np.clip(at, (x0, y0), (x1 - 1, y1 - 1)).reshape(-1, 2)
    low, high = np.floor(inside.min(axis=0)).astype(int), np.floor(inside.max(axis=0)).astype(int) + 2
    return int(low[0]), int(low[1]), int(min(high[0], x1)), int(min(high[1], y1))
