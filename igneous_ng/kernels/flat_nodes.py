"""A flat field as it is kept: nodes evenly spread from the first to the last pixel of a tile, linear between them.

Each use has an order of its own in which places are scaled, and keeps to it: results hang on the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels import bilinear

Array = npt.NDArray[Any]
Size = tuple[int, int]
_STEP = 2.0**-12  # what fields are rounded to
_LEAST = 0.125
_BEYOND = 0.5  # of the distance between nodes


def nodes(found: Array, size: Size, factor: int) -> Array:
    """A field of coarse pixels as nodes ``[x, y]`` of a tile of ``size``, float32, rounded.

    As many nodes as coarse pixels, at least two along a side; linear, also beyond the centres of the outermost ones.
    """
    for axis, pixels in enumerate(size):
        count = found.shape[axis]
        where = (np.linspace(0.0, pixels - 1.0, max(count, 2)) + 0.5) / factor - 0.5
        found = _linear(found, where, axis)
    return np.maximum(np.round(found / _STEP) * _STEP, _LEAST).astype(np.float32)


def coarse(found: Array, size: Size, factor: int, shape: tuple[int, ...]) -> Array:
    """Nodes ``[x, y]`` at the centres of the coarse pixels ``shape`` of a tile of ``size``; float64."""
    values = found.astype(np.float64)
    for axis, pixels in enumerate(size):
        centres = (np.arange(shape[axis]) + 0.5) * factor - 0.5
        values = _linear(values, centres * (values.shape[axis] - 1) / max(pixels - 1, 1), axis)
    return values


def pixels(found: Array, size: Size, box: tuple[int, int, int, int]) -> Array:
    """Nodes ``[x, y]`` at the pixels of ``box`` (x0, y0, x1, y1) of a tile of ``size``; of their type, x fastest."""
    values = found
    for axis, count in enumerate(size):
        step = (found.shape[axis] - 1) / max(count - 1, 1)
        values = _linear(values, np.arange(box[axis], box[axis + 2]) * step, 0).T
    return values


def at(found: Array, size: Size, places: Array) -> Array:
    """Nodes ``[x, y, channel]`` at ``places`` ``[..., 2]`` of a tile of ``size``, as at 0 where these are NaN.

    They go on a little beyond the border, so that a lattice with points on both sides of it finds what lies on it.
    """
    count = np.array(found.shape[:2]) - 1
    scaled = np.nan_to_num(places) / np.maximum(np.array(size) - 1, 1) * count
    first = np.clip(np.floor(scaled), 0, count - 1).astype(np.int64)
    return bilinear.between(found, first, np.clip(scaled - first, -_BEYOND, 1 + _BEYOND))


def _linear(values: Array, where: Array, axis: int) -> Array:
    """``values`` at places along an axis, in their own type; linear beyond the ends, too."""
    count = values.shape[axis]
    if count == 1:
        return np.repeat(values, len(where), axis)
    first = np.clip(np.floor(where).astype(int), 0, count - 2)
    part = (where - first).astype(values.dtype, copy=False).reshape([-1 if n == axis else 1 for n in range(2)])
    return np.asarray(values.take(first, axis) * (1 - part) + values.take(first + 1, axis) * part)
