"""Blocks of labelled images that a model learns from: which ones, and how they are read.

However large the layers are, only so many blocks are read, chosen by a seed; and each is read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fastremap
import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.models.base import grey
from igneous_ng.models.greys import BINS, Greys, counted
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
UNKNOWN = 255
"""The label of voxels of which nobody knows what class they are of."""
_ALIKE = 1.01  # resolutions may differ by rounding


@dataclass(frozen=True)
class Pair:
    """A level of an image and the labels of its voxels."""

    image: Volume
    labels: Volume

    @classmethod
    def open(cls, io: IO, image: str, labels: str, mip: int) -> Pair:
        """The level ``mip`` of both; SpecError where they are not an image and its labels."""
        pair = cls(io.volume(image, mip), io.volume(labels, mip))
        if pair.image.channels != 1 or pair.labels.channels != 1 or pair.labels.dtype.kind not in "ui":
            raise SpecError(f"{image} and {labels}: an image has one channel, and labels are whole numbers")
        sides = zip(pair.image.resolution, pair.labels.resolution, strict=True)
        if any(max(a, b) > _ALIKE * min(a, b) for a, b in sides):
            raise SpecError(
                f"{image} has voxels of {pair.image.resolution} nm and {labels} of {pair.labels.resolution} nm at mip "
                f"{mip}; give levels that are alike"
            )
        if not pair.bounds.voxels:
            raise SpecError(
                f"{image} and {labels}: {pair.image.bounds} and {pair.labels.bounds} have nothing in common"
            )
        return pair

    @property
    def bounds(self) -> Box:
        """Where there are both."""
        return self.image.bounds & self.labels.bounds

    def grey(self, io: IO, box: Box, margin: Vec3 = (0, 0, 0)) -> Array:
        """Grey values of a box and a margin, float32; beyond the layer the image is mirrored."""
        wide = box.grow(margin, margin)
        there = wide & self.image.bounds
        found = grey(io.read(self.image, there)[..., 0])
        beyond = [(a - b, c - d) for a, b, c, d in zip(there.lo, wide.lo, wide.hi, there.hi, strict=True)]
        return np.asfortranarray(np.pad(found, beyond, mode="reflect") if np.any(beyond) else found)

    def truth(self, io: IO, box: Box) -> Array:
        """Labels of a box."""
        found: Array = io.read(self.labels, box)[..., 0]
        return found


def compact(labels: Array) -> Array:
    """The same labels by small numbers, uint32, 0 being 0."""
    return np.asfortranarray(fastremap.renumber(labels, in_place=False)[0].astype(np.uint32))


def named(labels: Array, count: int, where: str) -> Array:
    """The labels 1 to ``count`` of classes, 0 for none and :data:`UNKNOWN`, as uint8; DataError for others."""
    wrong = (labels > count) & (labels != UNKNOWN)
    if wrong.any():
        raise DataError(
            f"{where}: a voxel of class {int(labels[wrong][0])}; classes are 1 to {count}, 0 is none and {UNKNOWN} "
            "unknown; name all classes"
        )
    return np.asfortranarray(labels, np.uint8)


def chosen(bounds: Box, held: Box | None, cell: Vec3, count: int, seed: int) -> list[Box]:
    """At most ``count`` cells of ``bounds``, in order, without what is ``held`` back; those of a grid, by a seed."""
    cells = Grid(bounds, evened(bounds.shape, cell))
    picked: Sequence[int] = range(len(cells))
    if len(cells) > count:
        rng = np.random.default_rng(seed)
        drawn = np.unique(rng.integers(0, len(cells), 2 * count))  # never all of them: there may be 10^9
        picked = sorted(rng.permutation(drawn)[:count].tolist())
    return [part for i in picked for part in less(cells[i], held)]


def evened(shape: Vec3, cell: Vec3) -> Vec3:
    """Cells no larger than ``cell`` that cut ``shape`` into about equal parts."""
    return vec(-(-n // -(-n // c)) for n, c in zip(shape, cell, strict=True))


def less(box: Box, held: Box | None) -> Iterator[Box]:
    """The parts of ``box`` outside of ``held``: boxes that do not overlap."""
    common = box & held if held else None
    if common is None or not common.voxels:
        yield box
        return
    lo, hi = list(box.lo), list(box.hi)
    for axis in (2, 1, 0):
        if lo[axis] < common.lo[axis]:
            yield Box(vec(lo), vec([*hi[:axis], common.lo[axis], *hi[axis + 1 :]]))
        if common.hi[axis] < hi[axis]:
            yield Box(vec([*lo[:axis], common.hi[axis], *lo[axis + 1 :]]), vec(hi))
        lo[axis], hi[axis] = common.lo[axis], common.hi[axis]


def levels(images: Iterable[Array], where: str) -> Greys:
    """How bright images are, looked at one by one; SpecError where they are of one grey value."""
    counts = np.zeros(BINS, np.int64)
    for image in images:
        counts += counted(image)
    found = Greys.of(counts)
    if found is None:
        raise SpecError(f"{where}: the image is of one grey value; nothing can be learnt from it")
    return found
