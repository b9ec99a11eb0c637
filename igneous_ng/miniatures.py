"""Sections made small: a picture of each, where there is tissue, and the points by which it is known again.

A pixel is a whole number of those of mip 0 wide, the same of all sections of a stack, and counted from 0 of their
frame: pixel ``(i, j)`` lies at ``((i + 1/2) factor - 1/2, (j + 1/2) factor - 1/2)`` of mip 0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng.alignment import Alignment
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box, ceil_div
from igneous_ng.io import IO
from igneous_ng.kernels import quality
from igneous_ng.kernels.block_agreement import View
from igneous_ng.kernels.keypoints import Keypoints, keypoints
from igneous_ng.kernels.section_pairs import Sight
from igneous_ng.windows import is_void

Array = npt.NDArray[Any]
FOLDER = "sections"
_WINDOW = 2048  # pixels of the level along a side that are held at once
_LEAST = 400  # pixels of tissue that can be aligned
_FULL = 0.5  # of a pixel that must be tissue
_DIRECTIONS = 16


@dataclass(frozen=True)
class Miniature:
    """A section made small: ``picture`` float32 and ``tissue`` bool ``[x, y]``, the first pixel at ``low``."""

    picture: Array
    tissue: Array
    low: tuple[int, int]
    factor: int

    @property
    def blank(self) -> bool:
        """Whether there is nothing to be aligned."""
        return int(self.tissue.sum()) < _LEAST or not np.ptp(self.picture[self.tissue])

    def figures(self) -> dict[str, float]:
        """``tissue``: its share; ``contrast`` and ``focus`` of it, as of other images."""
        inner = ndimage.binary_erosion(self.tissue)
        laplacian = ndimage.laplace(self.picture)[inner]
        values = np.where(self.tissue, self.picture, 0)
        found = {
            "tissue": float(self.tissue.mean()),
            "contrast": quality.spread(values),
            "focus": float(laplacian.var()) if len(laplacian) else 0.0,
        }
        return {name: float(f"{value:.6g}") for name, value in found.items()}

    def outline(self) -> list[list[float]]:
        """Points of the section's frame, corners of pixels, around all tissue: the furthest in 16 directions."""
        at = np.argwhere(self.tissue & ~ndimage.binary_erosion(self.tissue))
        if not len(at):
            return []
        angle = (np.arange(_DIRECTIONS) + 0.5) * (2 * np.pi / _DIRECTIONS)
        found = []
        for x, y in zip(np.cos(angle), np.sin(angle), strict=True):
            best = at[int((at[:, 0] * x + at[:, 1] * y).argmax())] + (np.sign([x, y]) + 1) / 2
            found.append(((best + self.low) * self.factor - 0.5).tolist())
        return found

    def pack(self) -> bytes:
        """To be stored."""
        points = keypoints(self.picture, self.tissue & (not self.blank))
        return columns.pack(
            {
                "frame": np.array([*self.low, self.factor, self.blank], np.int64),
                "picture": self.picture.T,
                "tissue": np.packbits(self.tissue.T, axis=1),
                "points": points.points,
                "angle": points.angle,
                "octave": points.octave,
                "words": points.words,
            }
        )


@dataclass(frozen=True)
class Known:
    """What `align sections` found of a section, as pairs need it."""

    sight: Sight
    low: tuple[int, int]
    factor: int
    blank: bool


def known(io: IO, alignment: Alignment, z: int) -> Known:
    """A section made small; DataError where it was not."""
    url = alignment.url(FOLDER, z, ".cols")
    data = io.get(url)
    if data is None:
        raise DataError(f"{url}: this section was not made small; run `align sections` first")
    found = columns.unpack(data, url)
    rows = found["picture"]
    tissue = np.unpackbits(found["tissue"], axis=1, count=rows.shape[1]).astype(bool).T
    x, y, factor, blank = found["frame"].tolist()
    points = Keypoints(found["points"], found["angle"], found["octave"], found["words"])
    return Known(Sight(View.of(rows.T, tissue), points), (x, y), factor, bool(blank))


def size(io: IO, alignment: Alignment, z: int) -> int:
    """Bytes of what is stored of a section, unpacked; enters no ledger."""
    url = alignment.url(FOLDER, z, ".cols")
    head = io.peek(url, columns.HEAD_SPAN)
    return 0 if head is None else columns.size(head, url)


@dataclass(frozen=True)
class Camera:
    """Makes sections of a stack small: ``side`` pixels along the longest side, at most."""

    io: IO
    alignment: Alignment
    side: int

    def take(self, z: int) -> Miniature:
        """Section ``z``, read window by window."""
        volume = self.io.volume(self.alignment.layer, self.mip, self.alignment.fill_missing, self._info)
        k, box = self.pooled, self.bounds
        total, count, tissue = (np.zeros(box.shape[:2], dtype, order="F") for dtype in (np.float64, np.int64, bool))
        for part in self._windows():
            window = Box.sized((part.lo[0] * k, part.lo[1] * k, z), (part.shape[0] * k, part.shape[1] * k, 1))
            inside = window & volume.bounds
            pixels = self.io.read(volume, inside)[:, :, 0, 0]
            full = ~is_void(pixels)
            at = part.slices(box.lo)[:2]
            total[at] = _pooled(np.where(full, pixels, 0).astype(np.float64), inside, window, k)
            count[at] = _pooled(full.astype(np.int64), inside, window, k)
            tissue[at] = (count[at] >= _FULL * k * k) & ~self._masked(part, z)
        picture = np.asfortranarray(total / np.maximum(count, 1), np.float32)
        return Miniature(picture, tissue, (box.lo[0], box.lo[1]), self.factor)

    @cached_property
    def mip(self) -> int:
        """The coarsest level that is fine enough."""
        good = 0
        for mip in range(1, len(self._info.scales)):
            with contextlib.suppress(SpecError):  # of a level that is pooled in z
                self.alignment.factor(self._info, mip)
                if max(self._info.scales[mip].bounds.shape[:2]) >= self.side:
                    good = mip
        return good

    @property
    def pooled(self) -> int:
        """Pixels of the level along a side of one of the small picture."""
        return max(1, ceil_div(max(self._info.scales[self.mip].bounds.shape[:2]), self.side))

    @property
    def factor(self) -> int:
        """Pixels of mip 0 along a side of one of the small picture."""
        return self.pooled * self.alignment.factor(self._info, self.mip)

    @property
    def bounds(self) -> Box:
        """The small picture's."""
        return self._info.scales[self.mip].bounds // (self.pooled, self.pooled, 1)

    @property
    def window_pixels(self) -> int:
        """The most pixels of the level that are held at once."""
        side = max(_WINDOW // self.pooled, 1) * self.pooled
        w, h, _ = self._info.scales[self.mip].bounds.shape
        return min(side, w + 2 * self.pooled) * min(side, h + 2 * self.pooled)

    @cached_property
    def _info(self) -> Info:
        return self.io.info(self.alignment.layer)

    def _windows(self) -> Iterator[Box]:
        """Parts of the small picture."""
        side = max(_WINDOW // self.pooled, 1)
        (x0, y0, _), (x1, y1, _) = self.bounds.lo, self.bounds.hi
        for y in range(y0, y1, side):
            for x in range(x0, x1, side):
                yield Box((x, y, 0), (min(x + side, x1), min(y + side, y1), 1))

    def _masked(self, part: Box, z: int) -> Array:
        """Of each small pixel, whether the mask has a code where its middle lies."""
        none = np.zeros(part.shape[:2], bool)
        if not self.alignment.mask:
            return none
        info, fine = self._mask, self.alignment.resolution[0]
        factors = [scale.resolution[0] / fine for scale in info.scales]
        mip = max((n for n, f in enumerate(factors) if f <= self.factor), default=0)
        volume = self.io.volume(self.alignment.mask, mip, fill_missing=True, info=info)
        at = [
            np.floor((np.arange(a, b) + 0.5) * (self.factor / factors[mip])).astype(np.int64)
            for a, b in zip(part.lo[:2], part.hi[:2], strict=True)
        ]
        wanted = Box((int(at[0][0]), int(at[1][0]), z), (int(at[0][-1]) + 1, int(at[1][-1]) + 1, z + 1))
        inside = wanted & volume.bounds
        if not inside.voxels:
            return none
        codes = self.io.read(volume, inside)[:, :, 0, 0]
        (i, there), (j, also) = (_within(one, inside.lo[n], inside.hi[n]) for n, one in enumerate(at))
        return np.asarray((codes[np.ix_(i, j)] != 0) & there[:, None] & also)

    @cached_property
    def _mask(self) -> Info:
        return self.io.info(self.alignment.mask)


def _within(at: Array, low: int, high: int) -> tuple[Array, Array]:
    """Places in an array from ``low`` to ``high``, and whether they are in it."""
    return np.clip(at, low, high - 1) - low, (at >= low) & (at < high)


def _pooled(values: Array, inside: Box, window: Box, k: int) -> Array:
    """The sums of k by k pixels of ``window``; what is not ``inside`` is 0."""
    if inside != window:
        ends = [(i - a, b - j) for a, b, i, j in zip(window.lo, window.hi, inside.lo, inside.hi, strict=True)]
        values = np.pad(values, ends[:2])
    w, h = values.shape
    found: Array = values.reshape(w // k, k, h // k, k).sum(axis=(1, 3))
    return found
