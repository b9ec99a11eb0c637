"""What is left to add to the grey values of a section, at low resolution: blocks of one size, a span each.

Layout, little endian: the magic; uint32 channels and factor; int32 x0 and y0, the section's pixel where the first
sample's cell begins; uint32 number of blocks along x and y; then the blocks, x fastest, each float32
``[channel, y, x]`` of 64 x 64 samples. The centre of sample i lies at ``x0 + (i + 0.5) factor - 0.5``.
"""

from __future__ import annotations

import struct
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


def encode(samples: Array, factor: int, origin: tuple[int, int]) -> bytes:
    """The file of ``samples`` ``[x, y, channel]``, of whole blocks."""
    width, height, channels = samples.shape
    parts = [_HEAD.pack(MAGIC, channels, factor, *origin, width // BLOCK, height // BLOCK)]
    places = [(x, y) for y in range(0, height, BLOCK) for x in range(0, width, BLOCK)]
    blocks = (samples[x : x + BLOCK, y : y + BLOCK].T for x, y in places)
    return b"".join([*parts, *(np.ascontiguousarray(block, "<f4").tobytes() for block in blocks)])


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
