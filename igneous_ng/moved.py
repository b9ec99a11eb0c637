"""Windows of two volumes that are brought to each other, in the voxels of a level of the fixed one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng.coregistration import Through
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box, Vec3f
from igneous_ng.io import IO
from igneous_ng.kernels import sampling
from igneous_ng.kernels.sampling import Method
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_EMPTY = 3  # voxels of 0 that fill a cube of such a side, an odd one, are no tissue
_ALL = 0.99  # of what a voxel is interpolated from must be tissue
_FINER = 1.25  # a level of the moving volume may be coarser than asked for by so much


@dataclass(frozen=True)
class Moved:
    """``layer``, the moving volume or another in its frame, as it lies in the fixed one: voxels of ``resolution``."""

    through: Through
    layer: str
    resolution: Vec3f

    def show(self, window: Box, method: Method, channels: range) -> Array:
        """What ``window`` shows, ``[x, y, z, channel]``; 0 where the moving volume is not."""
        places = self._places(window)
        box = sampling.around(places, self.volume.bounds, method)
        kind = self.volume.dtype if method == "nearest" else np.dtype(np.float32)
        out = np.zeros((*window.shape, len(channels)), kind, order="F")
        if box.voxels:
            voxels = self.through.io.read(self.volume, box)
            for n, channel in enumerate(channels):
                bounds = self.volume.bounds
                out[..., n], _ = sampling.sampled(voxels[..., channel], box.lo, bounds, places, window, method)
        return out

    def seen(self, window: Box) -> tuple[Array, Array]:
        """For matching: values, float32 ``[x, y, z]``, and where there is tissue."""
        places, bounds = self._places(window), self.volume.bounds
        box = sampling.around(places, bounds, "linear")
        if not box.voxels:
            return np.zeros(window.shape, np.float32), np.zeros(window.shape, bool)
        box = _wide(box, bounds)
        voxels = self.through.io.read(self.volume, box)[..., self.through.known.channel]
        values, inside = sampling.sampled(plain(voxels), box.lo, bounds, places, window, "linear")
        void = empty(voxels)
        if void.any():
            share, _ = sampling.sampled((~void).view(np.uint8), box.lo, bounds, places, window, "linear")
            inside &= share > _ALL
        return values, inside

    def reads(self, window: Box) -> Box:
        """The voxels of the moving volume that a window is made of, at most."""
        return _wide(sampling.around(self._places(window), self.volume.bounds, "cubic"), self.volume.bounds)

    @cached_property
    def volume(self) -> Volume:
        """The level that is read: the coarsest that is no coarser than what is asked for."""
        info = self.through.io.info(self.layer)
        return self.through.io.volume(self.layer, self._level(info), self.through.known.fill_missing, info)

    def _level(self, info: Info) -> int:
        """The coarsest level whose voxels are not larger, along any axis, than what is shown, or than they must be."""
        matrix = self.through.affine.matrix
        apart = np.sqrt(((matrix * np.array(self.resolution)) ** 2).sum(axis=1))
        most = np.maximum(apart * _FINER, np.array(info.scales[0].resolution))
        fitting = [n for n, scale in enumerate(info.scales) if (np.array(scale.resolution) <= most).all()]
        return fitting[-1]

    def _places(self, window: Box) -> Array:
        """Where the points of the window's lattice lie, voxels of the level that is read."""
        points = (sampling.points(window) + 0.5) * np.array(self.resolution)
        found: Array = self.through.moving(points) / np.array(self.volume.resolution) - 0.5
        return found


def fixed(io: IO, volume: Volume, channel: int, window: Box) -> tuple[Array, Array]:
    """A window of the fixed volume for matching: values, float32 ``[x, y, z]``, and where there is tissue."""
    values, valid = np.zeros(window.shape, np.float32, order="F"), np.zeros(window.shape, bool, order="F")
    box = window & volume.bounds
    if box.voxels:
        wide = _wide(box, volume.bounds)
        voxels = io.read(volume, wide)[..., channel]
        part, inner = box.slices(window.lo), box.slices(wide.lo)
        values[part], valid[part] = voxels[inner], ~empty(voxels)[inner]
    return values, valid


def _wide(box: Box, bounds: Box) -> Box:
    """``box``, and what decides whether its voxels are tissue."""
    return box.grow((_EMPTY - 1,) * 3, (_EMPTY - 1,) * 3) & bounds


def empty(voxels: Array) -> Array:
    """Where zeros fill cubes, which is no tissue; beyond the border, as at it. Bool ``[x, y, z]``."""
    zeros: Array = voxels == 0
    if not zeros.any():
        return zeros
    padded = np.pad(zeros, _EMPTY // 2, mode="edge")
    inner = slice(_EMPTY // 2, -(_EMPTY // 2))
    found: Array = ndimage.binary_opening(padded, np.ones((_EMPTY,) * 3))[inner, inner, inner]
    return found


def plain(voxels: Array) -> Array:
    """Voxels of a type that can be interpolated."""
    return voxels if voxels.dtype.kind in "iu" or voxels.dtype == np.float32 else voxels.astype(np.float32)
