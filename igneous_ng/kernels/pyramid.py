"""The levels of a pyramid, one made from the other without loss where the method allows it.

Averages carry sums from level to level, so each level is the exact mean of the voxels that the pyramid began with.
The least, the greatest and the first of the first voxels are the same taken level by level or at once. The mode
is taken level by level, as published segmentations have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.kernels.averaging import Sums
from igneous_ng.kernels.pooling import Method, pool


class Level(Protocol):
    """What is known of one level, over ``box``."""

    @property
    def box(self) -> Box:
        """Where, in voxels of this level."""

    def crop(self, box: Box) -> Level:
        """The part in ``box``, which lies inside."""

    def coarser(self, factor: Vec3) -> Level:
        """One level up, of blocks anchored at multiples of ``factor``."""

    def values(self) -> NDArray[Any]:
        """The voxels, [x, y, z, c]."""


def begin(image: NDArray[Any], origin: Vec3, method: Method, sparse: bool) -> Level:
    """The first level: ``image``, whose first voxel lies at ``origin``."""
    if method == "average":
        return Sums.of(image, origin, sparse)
    check(method, sparse)
    return Voxels(Box.sized(origin, vec(image.shape[:3])), image, method, sparse)


def joined(box: Box, pieces: list[Level]) -> Level:
    """The level over ``box`` that ``pieces`` of one level tile."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    if isinstance(first, Sums):
        return Sums.joined(box, [piece for piece in pieces if isinstance(piece, Sums)])
    assert isinstance(first, Voxels)
    image = np.empty((*box.shape, *first.image.shape[3:]), first.image.dtype, order="F")
    for piece in pieces:
        image[piece.box.slices(box.lo)] = piece.values()
    return Voxels(box, image, first.method, first.sparse)


def check(method: str, sparse: bool) -> None:
    """SpecError where a method and sparse pooling exclude each other."""
    if method == "stride" and sparse:
        raise SpecError("stride looks at one voxel of a block, so sparse means nothing; drop one of them")


@dataclass(frozen=True)
class Voxels:
    """A level that is its own voxels: all that the next one needs."""

    box: Box
    image: NDArray[Any]
    method: Method
    sparse: bool

    def crop(self, box: Box) -> Voxels:
        """A view."""
        return Voxels(box, self.image[box.slices(self.box.lo)], self.method, self.sparse)

    def coarser(self, factor: Vec3) -> Voxels:
        """Pooled."""
        image, _ = pool(self.image, self.box.lo, factor, self.method, self.sparse)
        return Voxels(self.box // factor, image, self.method, self.sparse)

    def values(self) -> NDArray[Any]:
        """The voxels themselves."""
        return np.asarray(self.image)
