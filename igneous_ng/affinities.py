"""Affinities as layers hold them: how surely neighbouring voxels are of one cell.

A layer of three channels has, at voxel p, the affinities between p and the voxels one before it along x, y and z; a
layer of one channel says how surely p is boundary. Values are uint8, 255 being 1, or float32 from 0 to 1. An affinity
of 0 is nothing: not known, masked, or outside of the layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
FULL = 255
"""The affinity of voxels that are surely of one cell."""
_COPIES = 3  # bytes and copies that become of each voxel's affinities, beside what is read


@dataclass(frozen=True)
class Affinities:
    """A level of a layer of affinities; ``axes`` say which channel joins along x, y and z."""

    layer: str
    mip: int
    axes: Vec3 = (0, 1, 2)
    fill_missing: bool = False

    def volume(self, io: IO) -> Volume:
        """The level; SpecError where it can hold neither affinities nor boundaries."""
        volume = io.volume(self.layer, self.mip, self.fill_missing)
        if volume.dtype not in (np.uint8, np.float32) or volume.channels not in (1, 3):
            raise SpecError(
                f"{self.layer}: {volume.channels} channels of {volume.dtype.name}; affinities are 3 channels and "
                "boundaries 1, of uint8 or float32"
            )
        if sorted(self.axes) != [0, 1, 2]:
            raise SpecError(f"axes {self.axes}: say which channel joins along x, y and z, such as 2,1,0")
        return volume

    def read(self, io: IO, box: Box) -> Array:
        """The affinities of ``box``, uint8 ``[x, y, z, 3]`` in Fortran order; 0 outside of the layer.

        DataError for floats that are not from 0 to 1.
        """
        volume = self.volume(io)
        inside = box & volume.bounds
        found = np.zeros((*box.shape, 3), np.uint8, order="F")
        values = found[inside.slices(box.lo)]
        if volume.channels == 3 and volume.dtype == np.uint8 and self.axes == (0, 1, 2):
            io.read(volume, inside, values)
        else:
            values[...] = self._converted(io, volume, inside)
        _cut(found, box, volume.bounds)
        return found

    def _converted(self, io: IO, volume: Volume, inside: Box) -> Array:
        """The affinities of a box that is inside of the layer, which are not stored as they are wanted."""
        known = inside.grow((1, 1, 1), (0, 0, 0)) & volume.bounds if volume.channels == 1 else inside
        values = _bytes(io.read(volume, known), f"{self.layer} mip {self.mip}, {known}")
        return joined(values[..., 0], known, inside) if volume.channels == 1 else values[..., self.axes]

    def peak_bytes(self, io: IO, box: Box) -> int:
        """The most bytes that :meth:`read` holds."""
        return box.voxels * (3 * _COPIES + 2 * self.volume(io).voxel_bytes)


def _bytes(values: Array, where: str) -> Array:
    """``values`` as uint8; fractions are rounded."""
    if values.dtype == np.uint8:
        return values
    if not (values.size == 0 or (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1)):
        raise DataError(f"{where}: affinities of {values.min():g} to {values.max():g}; as floats they are from 0 to 1")
    return np.rint(values * np.float32(FULL)).astype(np.uint8)


def joined(boundary: Array, known: Box, inside: Box) -> Array:
    """Affinities from boundaries: a face is as sure as the less sure of its voxels."""
    wide = inside.grow((1, 1, 1), (0, 0, 0))
    sure = np.zeros(wide.shape, np.uint8, order="F")
    sure[known.slices(wide.lo)] = FULL - boundary
    own = sure[1:, 1:, 1:]
    before = sure[:-1, 1:, 1:], sure[1:, :-1, 1:], sure[1:, 1:, :-1]
    found = np.empty((*inside.shape, 3), np.uint8, order="F")
    for axis, one in enumerate(before):
        np.minimum(own, one, out=found[..., axis])
    return found


def _cut(values: Array, box: Box, bounds: Box) -> None:
    """No face leads out of the layer."""
    for axis in range(3):
        if box.lo[axis] <= bounds.lo[axis] < box.hi[axis]:
            plane: list[slice | int] = [slice(None)] * 3
            plane[axis] = bounds.lo[axis] - box.lo[axis]
            values[(*plane, axis)] = 0
