"""Containers of Igneous' sharded fragments, ``.frags``: MapBuffer, bytes by label.

Source of the format: the mapbuffer package (github.com/seung-lab/mapbuffer), versions 0 and 1. Little endian: the
magic, a byte with the version, four letters that name the compression of the values (zeros in front), the number of
values as uint32; of each value its label and where it starts, as uint64, in the order in which the values lie, which is
that of an implicit search tree (Eytzinger) and does not matter here; the values. In version 1 a CRC-32C of what is
stored ends each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from igneous_ng.errors import DataError
from igneous_ng.formats.compression import Compression, decompressed

SUFFIX = ".frags"
_HEAD = struct.Struct("<7sB4sI")
_MAGIC = b"mapbufr"
_COMPRESSIONS: dict[bytes, Compression] = {b"none": "none", b"gzip": "gzip", b"00br": "brotli", b"zstd": "zstd"}


def items(data: bytes, where: str) -> Iterator[tuple[int, bytes]]:
    """Labels and their values, decompressed, in ascending order; DataError, naming ``where``, for other bytes."""
    magic, version, method, count = _HEAD.unpack_from(data) if len(data) >= _HEAD.size else (b"", 0, b"", 0)
    first = _HEAD.size + 16 * count
    if magic != _MAGIC or version > 1 or method not in _COMPRESSIONS or len(data) < first:
        raise DataError(f"{where}: not a container of fragments as Igneous writes it; forge this cell again")
    index = np.frombuffer(data, "<u8", 2 * count, _HEAD.size).reshape(-1, 2)
    ends = [*index[:, 1].tolist(), len(data)]
    if ends[0] != first or any(b < a + 4 * version for a, b in pairwise(ends)):
        raise DataError(f"{where}: the index of this container is damaged; forge this cell again")
    for row in np.argsort(index[:, 0], kind="stable").tolist():
        what = f"{where}, label {index[row, 0]}"
        value = data[ends[row] : ends[row + 1]]
        yield int(index[row, 0]), decompressed(_checked(value, what) if version else value, _COMPRESSIONS[method], what)


def _checked(value: bytes, where: str) -> bytes:
    """A value without its CRC-32C; DataError where it is not of that value."""
    from crackle.lib import crc32c

    body = value[:-4]
    if crc32c(body) != int.from_bytes(value[-4:], "little"):
        raise DataError(f"{where}: damaged; forge this cell again")
    return body
