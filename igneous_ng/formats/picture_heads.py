"""What PNG, JPEG and BMP files say of their pixels in their first bytes: sizes, channels, type.

PNG: ISO/IEC 15948. JPEG: ITU-T T.81. BMP: the headers of Windows, of which all later ones begin as that of 40 bytes.
What would not come out exactly as it is stored is refused by name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
DEFLATED = 1100
"""Bytes that may come out of one of a PNG, 1032 at most, or of a JPEG, some hundreds."""
PACKED = 1 << 17
"""The same of any compression in use, a picture of one gray value included."""
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_PALETTE = 3
_BMP_HEADER = 54  # bytes of both headers of the oldest kind
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # T.81 table B.1: start of frame
_BARE = frozenset(range(0xD0, 0xD9)) | {0x01}  # markers without a length


class Size(NamedTuple):
    """A picture: pixels along x and y, values of a pixel, their type in this machine's byte order."""

    width: int
    height: int
    channels: int
    dtype: np.dtype[Any]


def check_room(size: Size, stored: int, most: int = 1) -> Size:
    """``size``, if so many pixels can come out of ``stored`` bytes, of which one gives at most ``most``; or ValueError.

    So that nobody allocates what a torn header asks for.
    """
    if size.width * size.height * size.channels * size.dtype.itemsize > most * stored:
        raise ValueError(f"its header says {size.width} x {size.height} pixels, more than its {stored} bytes can hold")
    return size


def png(data: bytes) -> Size | None:
    """Of a PNG; None where ``data`` ends too early to say. ValueError: it is none, or not of 8 or 16 bits."""
    if data[: len(PNG_MAGIC)] != PNG_MAGIC[: len(data)]:
        raise ValueError("it does not begin as a PNG")
    if len(data) < 33:
        return None
    length, word, width, height, bits, colour = struct.unpack(">I4sIIBB", data[8:26])
    if (length, word) != (13, b"IHDR") or not width or not height:
        raise ValueError("its header is torn")
    if colour == _PALETTE:
        raise ValueError("its pixels are numbers of palette colours; convert it to gray or RGB")
    if bits not in (8, 16) or colour not in _PNG_CHANNELS:
        raise ValueError(f"its pixels have {bits} bits a channel and colour {colour}; 8 and 16 are read")
    return Size(width, height, _PNG_CHANNELS[colour], np.dtype(f"u{bits // 8}"))


def png_chunks(data: bytes) -> Iterator[bytes]:
    """The types of the parts of a whole PNG, up to its end; ValueError where it has none."""
    at = len(PNG_MAGIC)
    while at + 12 <= len(data):
        length, word = struct.unpack(">I4s", data[at : at + 8])
        at += 12 + length
        yield word
        if word == b"IEND" and at <= len(data):
            return
    raise ValueError("it ends before its last part does")


def jpeg(data: bytes) -> Size | None:
    """Of a JPEG, as :func:`png`. ValueError: it is none, not of 8 bits, or neither gray nor of three channels."""
    if data[:2] != b"\xff\xd8"[: len(data)]:
        raise ValueError("it does not begin as a JPEG")
    at = 2
    while at + 10 <= len(data):
        if data[at] != 0xFF:
            raise ValueError(f"there is no marker at byte {at}")
        marker = data[at + 1]
        if marker in _FRAMES:
            return _frame(data[at + 4 : at + 10])
        if marker in (0xD9, 0xDA):
            raise ValueError("it has no frame before its pixels")
        at += 1 if marker == 0xFF else 2 if marker in _BARE else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _frame(header: bytes) -> Size:
    bits, height, width, channels = struct.unpack(">BHHB", header)
    if bits != 8 or channels not in (1, 3):
        raise ValueError(f"it has {channels} channels of {bits} bits; gray or RGB of 8 bits is read")
    if not width or not height:
        raise ValueError("its header is torn")
    return Size(width, height, channels, np.dtype(np.uint8))


class Bmp(NamedTuple):
    """The layout of a BMP."""

    size: Size
    start: int
    """Byte of the first row."""
    palette: int
    """Byte of the palette."""
    colours: int
    """How many colours it has."""
    upright: bool
    """Whether the first row stored is the upper one."""

    @property
    def stride(self) -> int:
        """Bytes of a row, filled up to four."""
        return -(-self.size.width * self.size.channels // 4) * 4


def bmp(data: bytes) -> Size | None:
    """Of a BMP, as :func:`png`. ValueError: it is none, packed, or neither of 8 bits nor RGB of 24."""
    found = bmp_layout(data)
    return found and found.size


def bmp_layout(data: bytes) -> Bmp | None:
    """As :func:`bmp`, with all that is needed to read it."""
    if data[:2] != b"BM"[: len(data)]:
        raise ValueError("it does not begin as a BMP")
    if len(data) < _BMP_HEADER:
        return None
    start, header, width, height, planes, bits, packed = struct.unpack("<10xIIiiHHI", data[:34])
    (count,) = struct.unpack("<I", data[46:50])
    if header < 40 or width < 1 or not height or planes != 1 or count > 256:
        raise ValueError("its header is torn, or that of OS/2")
    if packed or bits not in (8, 24):
        raise ValueError(f"its pixels have {bits} bits and compression {packed}; 8 or 24 bits, not packed, are read")
    size = Size(width, abs(height), bits // 8, np.dtype(np.uint8))
    return Bmp(size, start, 14 + header, (count or 256) if bits == 8 else 0, height < 0)
