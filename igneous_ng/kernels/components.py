"""Connected components of one block: labelling, runs, faces, and where two blocks touch.

Voxels of one value other than 0 are connected by faces (6), also by edges (18), also by corners (26). Components are
numbered from 1 by their first voxel; *first* means lowest in z, then y, then x.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.native import components as native

Array = npt.NDArray[Any]
_AXES = {6: 1, 18: 2, 26: 3}  # along how many axes at once a step may go
FACES = tuple((axis, side) for axis in range(3) for side in (-1, 1))


@dataclass(frozen=True)
class Runs:
    """A labelling of a block, x fastest, as runs of voxels of one component: their lengths and components (0: none)."""

    lengths: Array
    ids: Array

    def paint(self, values: Array, shape: Vec3) -> Array:
        """The block, ``[x, y, z]``, with ``values[c]``, uint32 or uint64, for component c."""
        block = np.empty(shape, values.dtype, order="F")
        native.paint(self.lengths, self.ids, values, block)
        return block

    def face(self, shape: Vec3, axis: int, side: int) -> Array:
        """The components of the outermost voxels of the block on one side, 1 voxel thick."""
        lo = vec(n - 1 if a == axis and side > 0 else 0 for a, n in enumerate(shape))
        return native.window(self.lengths, self.ids, shape, lo, vec(1 if a == axis else n for a, n in enumerate(shape)))

    def window(self, shape: Vec3, box: Box) -> Array:
        """The components of the voxels of ``box`` of the block, uint32 [x, y, z]."""
        return native.window(self.lengths, self.ids, shape, box.lo, box.shape)


@dataclass(frozen=True)
class Parts:
    """The components of a block, 1 to n: the linear index of the first voxel, x fastest, and the number of voxels."""

    first: Array
    size: Array


def foreground(image: Array, low: float | None, high: float | None) -> Array:
    """What is labelled: values from ``low`` to ``high``, both included, as 1; the image itself without limits."""
    if low is None and high is None:
        return image
    inside = np.ones(image.shape, bool, order="F")
    if low is not None:
        inside &= image >= low
    if high is not None:
        inside &= image <= high
    return inside.view(np.uint8)


def label(labels: Array, connectivity: int) -> tuple[Runs, Parts]:
    """The components of ``labels``, ``[x, y, z]`` of integers."""
    lengths, ids, first, size = native.label(labels, connectivity)
    return Runs(_narrow(lengths), _narrow(ids)), Parts(first, size)


def painted(labels: Array, connectivity: int) -> Array:
    """As :func:`label`: the component of each voxel, uint32 [x, y, z] in Fortran order."""
    runs, parts = label(labels, connectivity)
    return runs.paint(np.arange(len(parts.first) + 1, dtype=np.uint32), vec(labels.shape))


def _narrow(numbers: Array) -> Array:
    """The same numbers in the smallest unsigned type."""
    return numbers.astype(np.min_scalar_type(numbers.max()))


def global_index(local: Array, block: Box, bounds: Box) -> Array:
    """Linear indices in ``block`` as linear indices in ``bounds``, uint64; both x fastest."""
    nx, ny, _ = block.shape
    at = [local % nx, local // nx % ny, local // (nx * ny)]
    x, y, z = (part.astype(np.uint64) + np.uint64(a - o) for part, a, o in zip(at, block.lo, bounds.lo, strict=True))
    wide, deep, _ = bounds.shape
    return x + np.uint64(wide) * (y + np.uint64(deep) * z)


def face(components: Array, axis: int, side: int) -> Array:
    """The outermost voxels of a block on one side, 1 voxel thick."""
    at = slice(0, 1) if side < 0 else slice(-1, None)
    return components[tuple(at if axis == a else slice(None) for a in range(3))]


def directions(connectivity: int) -> list[Vec3]:
    """Where the neighbours of a block are that it can touch."""
    steps = (vec(step) for step in product((-1, 0, 1), repeat=3))
    return [step for step in steps if 1 <= np.count_nonzero(step) <= _AXES[connectivity]]


def facing(direction: Vec3) -> tuple[int, int]:
    """The face of a block that holds all its voxels that touch the neighbour in ``direction``."""
    axis = next(axis for axis in range(3) if direction[axis])
    return axis, direction[axis]


def contacts(own: Array, other: Array, direction: Vec3, connectivity: int) -> Array:
    """The pairs of components, [n, 2], that touch across a border, each pair once.

    own: the face of a block that is :func:`facing` ``direction``; other: that of the neighbour there, facing back.
    """
    own, other = _rim(own, direction), _rim(other, vec(-d for d in direction))
    found = [np.zeros(0, np.uint64)]
    for a, b in _shifted(own, other, direction, connectivity):
        both = (a.astype(np.uint64) << np.uint64(32) | b)[(a != 0) & (b != 0)]
        found.append(np.unique(both[np.append(True, both[1:] != both[:-1])[: len(both)]]))
    pairs = np.unique(np.concatenate(found))
    return np.stack([pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int64)


def _rim(plane: Array, direction: Vec3) -> Array:
    """The part of a face that touches the neighbour in ``direction``: the face, an edge or a corner of it."""
    for axis in range(facing(direction)[0] + 1, 3):
        if direction[axis]:
            plane = face(plane, axis, direction[axis])
    return plane


def _shifted(own: Array, other: Array, direction: Vec3, connectivity: int) -> Iterator[tuple[Array, Array]]:
    """Both rims, cut such that voxels which are neighbours lie at the same place, for each way to be neighbours."""
    for step in product(*((0,) if d else (-1, 0, 1) for d in direction)):
        if np.count_nonzero(step) + np.count_nonzero(direction) <= _AXES[connectivity]:
            here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, own.shape, strict=True))
            there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, own.shape, strict=True))
            yield own[here].ravel(order="F"), other[there].ravel(order="F")


def extents(filled: Array, origin: Vec3) -> Iterator[tuple[Box, int]]:
    """The bounding box and the voxels of each 26-connected component of a mask whose first voxel is ``origin``."""
    import scipy.ndimage

    found = painted(filled.view(np.uint8), 26)
    sizes = np.bincount(found.ravel(order="K"))[1:].tolist()
    for (x, y, z), count in zip(scipy.ndimage.find_objects(found), sizes, strict=True):
        yield Box((x.start, y.start, z.start), (x.stop, y.stop, z.stop)).shift(origin), count
