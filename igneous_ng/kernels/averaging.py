"""Averages of blocks that stay exact over any number of levels: sums are kept, and divided only to be shown.

A mean is the exact sum over the exact count of the voxels that exist, rounded to the nearest integer, ties to the
even one, so that a pyramid is neither darker nor brighter than what it was made from. float32 is summed in
float64, x fastest, then y, then z. 64-bit integers are summed as two halves, so that nothing wraps below 2^30 voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.native import pooling as native

Array = NDArray[Any]
_LOW = 32  # bits of a 64-bit integer summed apart


@dataclass(frozen=True)
class Sums:
    """Of each coarse voxel in ``box``: the sum of the voxels under it, and how many there are.

    ``parts`` is the sums, or their high and low halves. ``counts`` multiplied give the count: one array along each
    axis, or, where zeros do not count, one array of all.
    """

    box: Box
    dtype: np.dtype[Any]
    most: int
    parts: tuple[Array, ...]
    counts: tuple[Array, ...]

    @classmethod
    def of(cls, image: Array, origin: Vec3, sparse: bool) -> Sums:
        """Each voxel of ``image`` as the sum of itself."""
        box = Box.sized(origin, vec(image.shape[:3]))
        if sparse:
            counts: tuple[Array, ...] = ((image != 0).astype(np.uint8),)
        else:
            counts = tuple(np.ones([n if a == b else 1 for b in range(4)], np.uint8) for a, n in enumerate(box.shape))
        return cls(box, image.dtype, 1, _split(image), counts)

    @classmethod
    def joined(cls, box: Box, pieces: list[Sums]) -> Sums:
        """Those over ``box``, which ``pieces`` of one level tile."""
        first = pieces[0]
        whole = _empty_like(box, first)
        for piece in pieces:
            at = piece.box.slices(box.lo)
            for to, part in zip(whole.parts, piece.parts, strict=True):
                to[at] = part
            for to, count in zip(whole.counts, piece.counts, strict=True):
                to[tuple(cut if n > 1 else slice(None) for n, cut in zip(to.shape[:3], at, strict=True))] = count
        return whole

    def crop(self, box: Box) -> Sums:
        """Those in ``box``, which lies inside."""
        parts = tuple(part[box.slices(self.box.lo)] for part in self.parts)
        counts = tuple(self._cropped(count, box) for count in self.counts)
        return replace(self, box=box, parts=parts, counts=counts)

    def coarser(self, factor: Vec3) -> Sums:
        """One level up: blocks of ``factor``, anchored at its multiples."""
        most = self.most * prod(factor)
        parts = tuple(_added(part, self.box.lo, factor, holder(self.dtype, most)) for part in self.parts)
        counts = tuple(self._counted(count, factor, most) for count in self.counts)
        return Sums(self.box // factor, self.dtype, most, parts, counts)

    def values(self) -> Array:
        """The means, in the type of the voxels."""
        if self.most == 1:
            return _joined(self.parts, self.dtype)
        if self.dtype.itemsize < 8 and self.dtype.kind != "f" and len(self.counts) > 1:
            return self._means()
        count = self._count()
        if self.dtype.kind == "f":
            with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs average to NaN
                real: Array = self.parts[0] / count
            return real.astype(self.dtype)
        if len(self.parts) == 1:
            whole, rest = _divided(self.parts[0], count)
            return _nearest(whole, rest, count).astype(self.dtype, copy=False)
        high, over = _divided(self.parts[0], count)
        low, rest = _divided((over << _LOW) + self.parts[1], count)
        return _nearest((high << _LOW) + low, rest, count)

    def _means(self) -> Array:
        """The means of integers whose counts are known by their axes."""
        made = np.empty(self.parts[0].shape, self.dtype, order="F")
        counts = [count.ravel().tolist() for count in self.counts]
        for c in range(made.shape[3]):
            native.mean(self.parts[0][..., c], counts, made[..., c])
        return made

    def _count(self) -> Array:
        """The count of each voxel, at least 1; a single number where all are alike."""
        kind = self.parts[0].dtype
        if len(self.counts) == 1:
            return np.maximum(self.counts[0], 1).astype(kind)
        first = [count.flat[0] for count in self.counts]
        if all((count == one).all() for count, one in zip(self.counts, first, strict=True)):
            return np.asarray(prod(map(int, first)), kind)
        x, y, z = (count.astype(kind) for count in self.counts)
        every: Array = x * y * z
        return every

    def _cropped(self, count: Array, box: Box) -> Array:
        at = zip(count.shape, self.box.shape, box.slices(self.box.lo), strict=False)
        return count[tuple(cut if n == whole else slice(None) for n, whole, cut in at)]

    def _counted(self, count: Array, factor: Vec3, most: int) -> Array:
        alone = len(self.counts) > 1
        along = [not alone or count is self.counts[axis] for axis in range(3)]
        lo = vec(o if own else 0 for o, own in zip(self.box.lo, along, strict=True))
        by = vec(f if own else 1 for f, own in zip(factor, along, strict=True))
        return _added(count, lo, by, np.min_scalar_type(most))


def _empty_like(box: Box, like: Sums) -> Sums:
    """Sums over ``box`` to be filled in, of the types and the kinds of counts that ``like`` has."""
    shape, alone = (*box.shape, *like.parts[0].shape[3:]), len(like.counts) == 1
    parts = tuple(np.empty(shape, part.dtype, order="F") for part in like.parts)
    sides = [shape] if alone else [[n if a == b else 1 for b in range(4)] for a, n in enumerate(box.shape)]
    counts = tuple(np.empty(side, count.dtype, order="F") for side, count in zip(sides, like.counts, strict=True))
    return replace(like, box=box, parts=parts, counts=counts)


def _split(image: Array) -> tuple[Array, ...]:
    if image.dtype.itemsize < 8:
        return (image,)
    return image >> _LOW, image & ((1 << _LOW) - 1)


def _joined(parts: tuple[Array, ...], dtype: np.dtype[Any]) -> Array:
    whole: Array = parts[0] if len(parts) == 1 else (parts[0] << _LOW) + parts[1]
    return whole.astype(dtype, copy=False)


def held_bytes(dtype: np.dtype[Any], most: int, sparse: bool) -> int:
    """Bytes that :class:`Sums` keeps of a voxel which is the sum of ``most``."""
    halves = 2 if dtype.itemsize == 8 else 1
    return halves * holder(dtype, most).itemsize + (np.min_scalar_type(most).itemsize if sparse else 0)


def holder(dtype: np.dtype[Any], most: int) -> np.dtype[Any]:
    """The smallest type that holds sums of ``most`` values of ``dtype``, or of halves of its values."""
    if dtype.kind == "f":
        return np.dtype(np.float64)
    if dtype.itemsize == 8:
        return dtype
    limits = np.iinfo(dtype)
    return np.min_scalar_type(limits.min * most if limits.min else limits.max * most)


def _added(fine: Array, origin: Vec3, factor: Vec3, dtype: np.dtype[Any]) -> Array:
    """The sum of each block: its voxels one after the other, x fastest, so that float sums have one order."""
    shape = vec(fine.shape[:3])
    total = np.zeros((*(Box.sized(origin, shape) // factor).shape, fine.shape[3]), dtype, order="F")
    inside = vec(o % f for o, f in zip(origin, factor, strict=True))
    for c in range(fine.shape[3]):
        native.add(fine[..., c], inside, factor, total[..., c])
    return total


def _divided(total: Array, count: Array) -> tuple[Array, Array]:
    """Quotient, rounded down, and remainder."""
    whole = total // count
    return whole, total - whole * count


def _nearest(whole: Array, rest: Array, count: Array) -> Array:
    """The quotient to the nearest, ties to even; ``rest`` is below ``count``."""
    rounded: Array = whole + (rest > (count - (whole & 1)) // 2)
    return rounded
