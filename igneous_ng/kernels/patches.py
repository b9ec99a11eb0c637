"""Patches over the bounds of a layer, and what models say of them blended.

Patches lie on a lattice that is fixed to the bounds, whatever boxes are asked for. Of each the part inside its margin
is trusted; trusted parts cover all. A voxel's value is the mean of what the patches around it say, weighed by how
deep it lies in them, and added up in the lattice's order: so it is the same bytes in any box. Beyond the bounds the
image is mirrored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Box, Vec3, ceil_div, vec

Array = npt.NDArray[Any]
_FULL = np.float32(255)  # a fraction of 1 as uint8


@dataclass(frozen=True)
class Lattice:
    """Patches over ``bounds`` whose trusted parts have ``trusted`` voxels and share ``overlap`` of them."""

    bounds: Box
    trusted: Vec3
    margin: Vec3
    overlap: Vec3

    @property
    def stride(self) -> Vec3:
        """Voxels from patch to patch."""
        return vec(t - o for t, o in zip(self.trusted, self.overlap, strict=True))

    @property
    def count(self) -> Vec3:
        """Patches along each axis: no more than cover the bounds."""
        sides = zip(self.bounds.shape, self.trusted, self.stride, strict=True)
        return vec(1 + max(0, ceil_div(n - t, s)) for n, t, s in sides)

    def touching(self, box: Box) -> list[Box]:
        """The trusted parts that touch ``box``, in order, x fastest; they may end beyond the bounds."""
        xs, ys, zs = (self.starts(axis, box) for axis in range(3))
        return [Box.sized((x, y, z), self.trusted) for z, y, x in product(zs, ys, xs)]

    def starts(self, axis: int, box: Box) -> range:
        """Where the trusted parts that touch ``box`` begin along an axis."""
        start, stride, trusted = self.bounds.lo[axis], self.stride[axis], self.trusted[axis]
        first = max(0, ceil_div(box.lo[axis] - start - trusted + 1, stride))
        last = min((box.hi[axis] - 1 - start) // stride, self.count[axis] - 1)
        return range(start + first * stride, start + last * stride + 1, stride)

    def whole(self, part: Box) -> Box:
        """The patch whose trusted part is ``part``."""
        return part.grow(self.margin, self.margin)

    def needed(self, parts: list[Box]) -> Box:
        """The voxels inside the bounds that the patches of ``parts`` show."""
        hull = self.whole(parts[0])
        for part in parts[1:]:
            hull |= self.whole(part)
        seen = self._seen(hull)
        return Box(vec(i.min() for i in seen), vec(i.max() + 1 for i in seen))

    def cut(self, image: Array, at: Box, part: Box) -> Array:
        """The patch of ``part`` from ``image`` [x, y, z], the voxels of ``at``; in Fortran order."""
        x, y, z = (i - lo for i, lo in zip(self._seen(self.whole(part)), at.lo, strict=True))
        found: Array = image.T[np.ix_(z, y, x)].T
        return found

    def weights(self) -> tuple[Array, Array, Array]:
        """Of the voxels of a trusted part along each axis: 1 at its ends, rising to where no other patch reaches."""
        x, y, z = (_ramp(t, o) for t, o in zip(self.trusted, self.overlap, strict=True))
        return x, y, z

    def _seen(self, box: Box) -> tuple[Array, Array, Array]:
        """The voxels inside the bounds that ``box`` shows along each axis."""
        x, y, z = map(_mirrored, box.lo, box.hi, self.bounds.lo, self.bounds.hi)
        return x, y, z


class Blend:
    """The voxels of ``box``, made of patches of a lattice: those that are never added say 0."""

    def __init__(self, lattice: Lattice, box: Box, channels: int) -> None:
        self._lattice, self._box = lattice, box
        self._sums = np.zeros((*box.shape, channels), np.float32, order="F")

    def add(self, part: Box, values: Array) -> None:
        """Take what the patch of ``part`` says: ``values`` [x, y, z, channel] of all of it, margins too."""
        inside = part & self._box
        trusted = inside.slices(self._lattice.whole(part).lo)
        x, y, z = (w[s] for w, s in zip(self._lattice.weights(), inside.slices(part.lo), strict=True))
        weight = x[:, None, None] * (y[:, None] * z)
        for channel in range(values.shape[3]):
            self._sums[(*inside.slices(self._box.lo), channel)] += weight * values[(*trusted, channel)]

    def mean(self) -> Array:
        """The weighed means ``[x, y, z, channel]``, float32; ends the blend."""
        x, y, z = self._totals()
        for plane, weight in enumerate(z):
            self._sums[:, :, plane] /= ((x[:, None] * y) * weight)[..., None]
        return self._sums

    def bytes(self) -> Array:
        """The means as uint8, 255 for 1, rounded; ends the blend."""
        means = self.mean()
        out = np.empty(means.shape, np.uint8, order="F")
        for z in range(means.shape[2]):  # no copy of all
            out[:, :, z] = _rounded(means[:, :, z])
        return out

    def _totals(self) -> Iterator[Array]:
        """The sums of weights along each axis: they are the product of these."""
        lattice, box = self._lattice, self._box
        for axis, weights in enumerate(lattice.weights()):
            total = np.zeros(box.shape[axis], np.float32)
            for start in lattice.starts(axis, box):
                lo, hi = max(start, box.lo[axis]), min(start + len(weights), box.hi[axis])
                total[lo - box.lo[axis] : hi - box.lo[axis]] += weights[lo - start : hi - start]
            yield total


class Mosaic:
    """A :class:`Blend` of patches that share nothing: the same bytes, and no more held than they are."""

    def __init__(self, lattice: Lattice, box: Box, channels: int) -> None:
        self._lattice, self._box = lattice, box
        self._said = np.zeros((*box.shape, channels), np.uint8, order="F")

    def add(self, part: Box, values: Array) -> None:
        """See :meth:`Blend.add`."""
        inside = part & self._box
        trusted = inside.slices(self._lattice.whole(part).lo)
        self._said[inside.slices(self._box.lo)] = _rounded(values[trusted])

    def bytes(self) -> Array:
        """See :meth:`Blend.bytes`."""
        return self._said


def canvas(lattice: Lattice, box: Box, channels: int) -> Blend | Mosaic:
    """What patches of a lattice are put together in."""
    return Blend(lattice, box, channels) if any(lattice.overlap) else Mosaic(lattice, box, channels)


def _rounded(fractions: Array) -> Array:
    return np.rint(fractions * _FULL)


def _ramp(trusted: int, overlap: int) -> Array:
    at = np.arange(trusted)
    return np.minimum(np.minimum(at + 1, trusted - at), overlap + 1).astype(np.float32)


def _mirrored(lo: int, hi: int, first: int, last: int) -> Array:
    """The voxels of [first, last) that stand for those of [lo, hi): the outermost ones are not doubled."""
    period = max(1, 2 * (last - first - 1))
    at = (np.arange(lo, hi) - first) % period
    return first + np.minimum(at, period - at)
