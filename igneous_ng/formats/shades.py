"""What is left to add to a section's tiles, at low resolution: blocks of samples of one size, each at a span.

Layout, little endian: the header (:data:`HEAD_SPAN`): the magic, uint32 channels and factor, int32 x and y of the first
pixel, uint32 blocks along x and y; then the blocks, x fastest, each float32 ``[channel, y, x]`` of 64 x 64 samples. A
sample lies in the middle of factor x factor pixels of the section; values between samples are bilinear, and beyond the
outermost they are as there.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
MAGIC = b"igngshd1"
BLOCK = 64
"""Samples along a side of a block."""
_HEAD = struct.Struct("<8sIIiiII")
HEAD_SPAN = (0, _HEAD.size)
"""The bytes of the header."""


@dataclass(frozen=True)
class Head:
    """What is where in a file of shades. ``origin``: the first pixel, x and y; ``blocks``: along x and y."""

    channels: int
    factor: int
    origin: tuple[int, int]
    blocks: tuple[int, int]

    def span(self, block: tuple[int, int]) -> tuple[int, int]:
        """The bytes of a block, x and y."""
        size = 4 * self.channels * BLOCK**2
        at = _HEAD.size + size * (block[0] + self.blocks[0] * block[1])
        return at, at + size

    def places(self, points: Array) -> Array:
        """Where ``points`` of the section, ``[..., 2]``, lie among the samples, counted from the first."""
        last = np.array(self.blocks) * BLOCK - 1.0
        return np.asarray(np.clip((points - np.array(self.origin) + 0.5) / self.factor - 0.5, 0.0, last))

    def touched(self, points: Array) -> list[tuple[int, int]]:
        """The blocks in the rectangle that holds all samples around ``points``."""
        (x0, y0), (x1, y1) = self._corners(self.places(points))
        return [(x, y) for y in range(y0 // BLOCK, y1 // BLOCK + 1) for x in range(x0 // BLOCK, x1 // BLOCK + 1)]

    def between(self, blocks: Mapping[tuple[int, int], Array], points: Array) -> Array:
        """Values at ``points``, ``[..., channel]``, from the blocks that they touch, as :func:`decode` gives them."""
        places, touched = self.places(points), self.touched(points)
        (bx0, by0), (bx1, by1) = touched[0], touched[-1]
        shape = ((bx1 - bx0 + 1) * BLOCK, (by1 - by0 + 1) * BLOCK, self.channels)
        samples = np.empty(shape)
        for bx, by in touched:
            x, y = (bx - bx0) * BLOCK, (by - by0) * BLOCK
            samples[x : x + BLOCK, y : y + BLOCK] = blocks[bx, by]
        at = places - np.array([bx0, by0]) * BLOCK
        low = np.minimum(at.astype(np.int64), np.array(shape[:2]) - 2)
        fx, fy = (at - low)[..., :1], (at - low)[..., 1:]
        i, j = low[..., 0], low[..., 1]
        near = samples[i, j] * (1 - fx) + samples[i + 1, j] * fx
        far = samples[i, j + 1] * (1 - fx) + samples[i + 1, j + 1] * fx
        return np.asarray(near * (1 - fy) + far * fy)

    def _corners(self, places: Array) -> tuple[tuple[int, int], tuple[int, int]]:
        flat, last = places.reshape(-1, 2), np.array(self.blocks) * BLOCK - 1
        low, high = np.floor(flat.min(axis=0)), np.minimum(np.floor(flat.max(axis=0)) + 1, last)
        return (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))


def encode(samples: Array, factor: int, origin: tuple[int, int]) -> bytes:
    """The file of ``samples`` ``[x, y, channel]``; the last ones are repeated to fill up the blocks."""
    width, height, channels = samples.shape
    blocks = (-(-width // BLOCK), -(-height // BLOCK))
    fill = [(0, n * BLOCK - side) for n, side in zip(blocks, (width, height), strict=True)]
    full = np.pad(samples.astype("<f4"), [*fill, (0, 0)], mode="edge")
    corners = [(x, y) for y in range(0, full.shape[1], BLOCK) for x in range(0, full.shape[0], BLOCK)]
    parts = [np.ascontiguousarray(full[x : x + BLOCK, y : y + BLOCK].T).tobytes() for x, y in corners]
    return b"".join([_HEAD.pack(MAGIC, channels, factor, *origin, *blocks), *parts])


def head(data: bytes, where: str) -> Head:
    """The header; DataError, naming ``where``, if it is none."""
    if len(data) < _HEAD.size or data[:8] != MAGIC:
        raise DataError(f"{where}: is no file of shades; run `stitch shade` again")
    _, channels, factor, x, y, nx, ny = _HEAD.unpack_from(data)
    return Head(channels, factor, (x, y), (nx, ny))


def decode(data: bytes, at: Head, where: str) -> Array:
    """The samples of a block's span, float32 ``[x, y, channel]``; DataError, naming ``where``, if it is cut."""
    if len(data) != 4 * at.channels * BLOCK**2:
        raise DataError(f"{where}: ends inside a block; run `stitch shade` again")
    return np.frombuffer(data, "<f4").reshape(at.channels, BLOCK, BLOCK).T
