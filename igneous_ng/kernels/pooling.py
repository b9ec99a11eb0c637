"""Pooling: each coarse voxel is made from one block of fine voxels, and from nothing else.

Blocks are anchored at multiples of ``factor`` in global coordinates, so any cut of a volume along block
faces gives the same coarse voxels. A block that the given array covers in part (at a border of the volume)
is pooled over exactly the voxels that exist: nothing is padded, mirrored or counted twice.

Rules, the same for every dtype:

* ``average``: the exact sum over the exact count, to the nearest integer, ties to even; :mod:`.averaging`.
* ``mode``: the most frequent label. Ties: in a block of 2 x 2 voxels (in any plane, the third side 1) the
  label that is first seen twice, or the last voxel where all four differ: the rule of COUNTLESS, which
  published segmentations have followed; in a block of any other shape the label met first, x fastest.
  float32 is compared by its bits, -0.0 as 0.0.
* ``min``, ``max``: a NaN wins.
* ``stride``: the voxel of the block with the lowest coordinates.
* ``sparse``: zeros do not count; a block of zeros gives zero. The mode of a 2 x 2 block without a repeated label gives
  its last voxel, or where that is zero the first other that is not, the later axis of the plane fastest.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.kernels.averaging import Sums
from igneous_ng.native import pooling as native

Method = Literal["average", "mode", "min", "max", "stride"]

DTYPES = tuple(
    np.dtype(t) for t in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4")
)  # those of the Precomputed format, in this machine's byte order


def pool(
    image: NDArray[Any], origin: Vec3, factor: Vec3, method: Method, sparse: bool = False
) -> tuple[NDArray[Any], Vec3]:
    """The coarser array of ``image`` and its origin in coarse voxels.

    image: [x, y, z, c], any memory order, not empty, of one of the Precomputed dtypes; not changed.
    origin: global coordinates of ``image[0, 0, 0]``; any sign, any alignment.
    factor: fine voxels in one coarse voxel along x, y, z; coarse voxel j covers ``[j f, j f + f)``.
    sparse: zeros are background and do not count.

    Returns a new Fortran-ordered array of the same dtype, and ``floor(origin / factor)``. The rules of each
    method are at the head of this module. SpecError where the request makes no sense.
    """
    _check(image, factor, method, sparse)
    if method == "average":
        sums = Sums.of(image, origin, sparse).coarser(factor)
        mean = np.asfortranarray(sums.values())
        return mean.copy(order="F") if np.may_share_memory(mean, image) else mean, sums.box.lo
    coarse = Box.sized(origin, vec(image.shape[:3])) // factor
    labels = _labels(image) if method == "mode" else image
    sides = [_segments(o, n, f) for o, n, f in zip(origin, image.shape[:3], factor, strict=True)]
    if all(len(side) == 1 for side in sides):  # blocks of one shape: nothing to put together
        pooled = _whole_blocks(labels, vec(side[0][2] for side in sides), method, sparse)
        shared = np.may_share_memory(pooled, image)
        out = pooled.copy(order="F") if shared else np.asfortranarray(pooled)
    else:
        out = np.empty((*coarse.shape, image.shape[3]), labels.dtype, order="F")
        for (fine_x, to_x, fx), (fine_y, to_y, fy), (fine_z, to_z, fz) in product(*sides):
            piece = labels[fine_x, fine_y, fine_z]
            out[to_x, to_y, to_z] = _whole_blocks(piece, (fx, fy, fz), method, sparse)
    return out.view(image.dtype), coarse.lo


def _check(image: NDArray[Any], factor: Vec3, method: str, sparse: bool) -> None:
    if image.ndim != 4 or image.size == 0:
        raise SpecError(f"pool: an array of shape {image.shape}; give [x, y, z, c] with at least one voxel")
    if image.dtype not in DTYPES:
        known = ", ".join(str(t) for t in DTYPES)
        raise SpecError(f"pool: an array of {image.dtype.str} (of {known}: none); convert it first")
    if min(factor) < 1:
        raise SpecError(f"pool: factor {factor}; each must be at least 1")
    if method not in get_args(Method):
        raise SpecError(f"pool: no method is called {method!r}; there are: {', '.join(get_args(Method))}")
    if method == "stride" and sparse:
        raise SpecError("pool: stride looks at one voxel of a block, so sparse means nothing; drop one of them")


def _segments(origin: int, size: int, factor: int) -> list[tuple[slice, slice, int]]:
    """One axis as a partial block below, whole blocks, a partial block above: (fine, coarse, block side)."""
    low = min(-origin % factor, size)
    whole = (size - low) // factor
    high = size - low - whole * factor
    found, fine, coarse = [], 0, 0
    for length, side in ((low, low), (whole * factor, factor), (high, high)):
        if length:
            cells = length // side
            found.append((slice(fine, fine + length), slice(coarse, coarse + cells), side))
            fine, coarse = fine + length, coarse + cells
    return found


def _whole_blocks(piece: NDArray[Any], factor: Vec3, method: Method, sparse: bool) -> NDArray[Any]:
    """Pool an array whose sides ``factor`` divides."""
    if factor == (1, 1, 1):
        return piece
    if method == "mode":
        return _mode(piece, factor, sparse)
    if method == "stride":
        return next(_parts(piece, factor))
    return _extreme(piece, factor, np.minimum if method == "min" else np.maximum, sparse)


def _parts(piece: NDArray[Any], factor: Vec3) -> Iterator[NDArray[Any]]:
    """The first voxel of every block, the second, ...: views; x runs fastest."""
    fx, fy, fz = factor
    for z, y, x in np.ndindex(fz, fy, fx):
        yield piece[x::fx, y::fy, z::fz]


def _extreme(piece: NDArray[Any], factor: Vec3, better: np.ufunc, sparse: bool) -> NDArray[Any]:
    parts = _parts(piece, factor)
    best = next(parts).copy(order="F")
    for part in parts:
        if sparse:
            chosen = np.where(best == 0, part, better(best, part))
            np.copyto(best, chosen, where=part != 0)
        else:
            better(best, part, out=best)
    return best


def _labels(image: NDArray[Any]) -> NDArray[Any]:
    """The bits of ``image`` as unsigned integers, -0.0 as 0."""
    bits: NDArray[Any] = image.view(f"u{image.dtype.itemsize}")
    if image.dtype.kind == "f":
        bits = np.where(bits == np.uint32(1 << 31), np.uint32(0), bits)
    return bits


def _mode(piece: NDArray[Any], factor: Vec3, sparse: bool) -> NDArray[Any]:
    pooled = np.empty((*(n // f for n, f in zip(piece.shape, factor, strict=False)), piece.shape[3]), piece.dtype, "F")
    for c in range(piece.shape[3]):
        native.mode(piece[..., c], factor, sparse, pooled[..., c])
    return pooled
