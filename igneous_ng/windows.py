"""Windows of sections as they lie in the volume, for matching: grey values, and where there is tissue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng.alignment import Alignment
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import warping
from igneous_ng.kernels.picking import between
from igneous_ng.volume import Volume
from igneous_ng.warps import Warp

Array = npt.NDArray[Any]
Window = tuple[int, int, int, int]
TISSUE, VOID, FOLD, CRACK = range(4)
"""Codes of a mask."""
_ROUND = 2  # pixels around those that are asked for, that interpolation reads
_EMPTY = 5  # voxels of 0 so many wide and high are no tissue


@dataclass(frozen=True)
class Seen:
    """A window: ``values`` float32 ``[x, y]`` (contrast as most sections have it), ``codes`` uint8 ``[x, y]``."""

    values: Array
    codes: Array

    @property
    def tissue(self) -> Array:
        """Where something can be matched, bool ``[x, y]``."""
        return np.asarray(self.codes == TISSUE)


@dataclass(frozen=True)
class Windows:
    """The sections of a stack at a level, lying in the volume as after round ``number``."""

    io: IO
    alignment: Alignment
    mip: int
    number: int
    channel: int = 0

    def show(self, z: int, window: Window) -> Seen:
        """What ``window`` (x0, y0, x1, y1: pixels of the level, of the aligned frame) shows of section ``z``.

        Where the section ends, or where none is shown, all is void.
        """
        shape = window[2] - window[0], window[3] - window[1]
        empty = Seen(np.zeros(shape, np.float32), np.full(shape, VOID, np.uint8))
        warp = self._warp(z)
        if warp.source < 0:
            return empty
        places = self._places(warp, window)
        box = around(places, self._volume.bounds, warp.source)
        if box is None:
            return empty
        pixels = self.io.read(self._volume, box)[:, :, 0, self.channel]
        values, inside = self._warped(pixels, places, box, window)
        codes = np.where(inside, TISSUE, VOID).astype(np.uint8)
        void = is_void(pixels)
        if void.any():
            share, _ = self._warped(void.astype(np.float32), places, box, window)
            codes[share > 0.01] = VOID
        if self.alignment.mask:
            codes = np.maximum(codes, self._codes(warp.source, places, window))
        if warp.rough.inverted:
            values = -values
        return Seen(values, codes)

    def mask(self, z: int, window: Window) -> Array:
        """The codes of the mask layer alone, uint8 ``[x, y]``; zeros where there is none."""
        shape = window[2] - window[0], window[3] - window[1]
        if not self.alignment.mask or (warp := self._warp(z)).source < 0:
            return np.zeros(shape, np.uint8)
        return self._codes(warp.source, self._places(warp, window), window)

    @cached_property
    def factor(self) -> int:
        """Pixels of mip 0 in one of the level."""
        return self.alignment.factor(self.io.info(self.alignment.layer), self.mip)

    @cached_property
    def _volume(self) -> Volume:
        return self.io.volume(self.alignment.layer, self.mip, self.alignment.fill_missing)

    @cached_property
    def _mask(self) -> tuple[Volume, int]:
        """The mask's level next in size to this one, and pixels of mip 0 in one of its."""
        info, fine = self.io.info(self.alignment.mask), self.alignment.resolution[0]
        factors = [round(scale.resolution[0] / fine) for scale in info.scales]
        best = max((n for n, f in enumerate(factors) if f <= self.factor), default=0)
        return self.io.volume(self.alignment.mask, best, fill_missing=True, info=info), factors[best]

    def _warp(self, z: int) -> Warp:
        return Warp(self.io, self.alignment, z, self.number)

    def _places(self, warp: Warp, window: Window) -> Array:
        """Places in the section, pixels of the level, at the points of the window's lattice."""
        points = (warping.points(window) + 0.5) * self.factor - 0.5
        found: Array = (warp.section(points) + 0.5) / self.factor - 0.5
        return found

    def _warped(self, pixels: Array, places: Array, box: Box, window: Window) -> tuple[Array, Array]:
        pixels = pixels if pixels.dtype.name in warping.DTYPES else pixels.astype(np.float32)
        patch = warping.warped(
            np.asfortranarray(pixels)[:, :, np.newaxis], window, places - np.array(box.lo[:2]), np.ones(1), np.zeros(1)
        )
        return patch.values[:, :, 0], patch.depth > 0

    def _codes(self, source: int, places: Array, window: Window) -> Array:
        """Codes of the pixel of the mask in which each pixel's centre lies; beyond the mask there is tissue."""
        volume, factor = self._mask
        shape = window[2] - window[0], window[3] - window[1]
        scaled = (places + 0.5) * (self.factor / factor) - 0.5
        box = around(scaled, volume.bounds, source)
        if box is None:
            return np.zeros(shape, np.uint8)
        codes = self.io.read(volume, box)[:, :, 0, 0]
        if not codes.any():
            return np.zeros(shape, np.uint8)
        at = np.floor(between(scaled, window) + 0.5).astype(np.int64) - np.array(box.lo[:2])
        inside = ((at >= 0) & (at < codes.shape)).all(axis=-1)
        at = np.clip(at, 0, np.array(codes.shape) - 1)
        return np.where(inside, codes[at[..., 0], at[..., 1]], TISSUE).astype(np.uint8)


def around(places: Array, bounds: Box, z: int) -> Box | None:
    """The pixels that are read for ``places``, or None where there are none."""
    if not bounds.lo[2] <= z < bounds.hi[2]:
        return None
    low, high = places.reshape(-1, 2).min(axis=0), places.reshape(-1, 2).max(axis=0)
    lo = [int(np.floor(n)) - _ROUND for n in low]
    hi = [int(np.ceil(n)) + _ROUND + 1 for n in high]
    found = Box((lo[0], lo[1], z), (hi[0], hi[1], z + 1)) & bounds
    return found if found.voxels else None


def is_void(pixels: Array) -> Array:
    """Where zeros fill squares, which is no tissue, bool ``[x, y]``."""
    zeros = pixels == 0
    if not zeros.any():
        return np.asarray(zeros)
    found: Array = ndimage.binary_opening(zeros, np.ones((_EMPTY, _EMPTY)))
    return found
