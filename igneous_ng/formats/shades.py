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
SIDE = 64
"""Samples along a side of a block."""
_HEAD = struct.Struct("<8sIIiiII")
HEAD_SPAN = (0, _HEAD.size)
"""The bytes of the header."""


@dataclass(frozen=True)
class Head:
    """What is where in a file."""

    channels: int
    factor: int
    origin: tuple[int, int]
    blocks: tuple[int, int]

    def block(self, x: int, y: int) -> tuple[int, int]:
        """The span of a block."""
        size = 4 * self.channels * SIDE * SIDE
        at = _HEAD.size + (y * self.blocks[0] + x) * size
        return at, at + size


def encode(at: Head, samples: Array) -> bytes:
    """The file of ``samples`` ``[x, y, channel]``, float32, of whole blocks."""
    parts = [_HEAD.pack(MAGIC, at.channels, at.factor, *at.origin, *at.blocks)]
    for y in range(at.blocks[1]):
        for x in range(at.blocks[0]):
            block = samples[x * SIDE : (x + 1) * SIDE, y * SIDE : (y + 1) * SIDE]
            parts.append(block.T.astype("<f4").tobytes())
    return b"".join(parts)


def head(data: bytes, where: str) -> Head:
    """The header; DataError, naming ``where``, if it is none."""
    if len(data) < _HEAD.size or data[:8] != MAGIC:
        raise DataError(f"{where}: is no file of shades; run `stitch shade` again")
    _, channels, factor, x, y, nx, ny = _HEAD.unpack_from(data)
    return Head(channels, factor, (x, y), (nx, ny))


def block(data: bytes, at: Head) -> Array:
    """The samples of a block's span, ``[x, y, channel]``."""
    return np.frombuffer(data, "<f4").reshape(at.channels, SIDE, SIDE).T


def decode(data: bytes, where: str) -> tuple[Head, Array]:
    """All samples of a file, ``[x, y, channel]``."""
    at = head(data, where)
    nx, ny = at.blocks
    if len(data) != at.block(0, ny)[0]:
        raise DataError(f"{where}: has {len(data)} bytes, not {at.block(0, ny)[0]}; run `stitch shade` again")
    blocks = np.frombuffer(data, "<f4", offset=_HEAD.size).reshape(ny, nx, at.channels, SIDE, SIDE)
    return at, blocks.transpose(1, 4, 0, 3, 2).reshape(nx * SIDE, ny * SIDE, at.channels)
