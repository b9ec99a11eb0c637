"""Sums of a pyramid as an array that can be stored, so that a later pass goes on from them as if there had been one.

Channels are the sums, of 64-bit voxels their high and then their low halves, and then how many voxels each is of.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng.geometry import Box
from igneous_ng.kernels.averaging import Sums, holder

Array = NDArray[Any]
_WIDE = {"u": np.uint64, "i": np.int64, "f": np.float64}


def channels(dtype: np.dtype[Any], count: int, sparse: bool) -> int:
    """Channels of what :func:`packed` gives for an image of ``count`` channels; ``sparse``: zeros do not count."""
    return _halves(dtype) * count + (count if sparse else 1)


def packed(sums: Sums) -> Array:
    """``sums`` as uint64 [x, y, z, channel] in Fortran order; those of floats by their bits as float64."""
    parts = [*sums.parts, _count(sums)]
    ends = np.cumsum([part.shape[3] for part in parts]).tolist()
    out = np.empty((*sums.box.shape, ends[-1]), np.uint64, order="F")
    for part, end in zip(parts, ends, strict=True):
        out[..., end - part.shape[3] : end] = part.astype(_WIDE[part.dtype.kind], copy=False).view(np.uint64)
    return out


def unpacked(array: Array, box: Box, dtype: np.dtype[Any], count: int, most: int) -> Sums:
    """The sums over ``box`` of ``count`` channels of ``dtype``, as packed; none of more than ``most`` voxels."""
    halves, kind = _halves(dtype), holder(dtype, most)
    wide = array.view(_WIDE[dtype.kind])
    parts = tuple(wide[..., i * count : (i + 1) * count].astype(kind) for i in range(halves))
    return Sums(box, dtype, most, parts, (array[..., halves * count :].astype(np.min_scalar_type(most)),))


def _count(sums: Sums) -> Array:
    if len(sums.counts) == 1:
        return sums.counts[0]
    x, y, z = (count.astype(np.uint64) for count in sums.counts)
    every: Array = x * y * z
    return every


def _halves(dtype: np.dtype[Any]) -> int:
    return 2 if dtype.itemsize == 8 else 1
