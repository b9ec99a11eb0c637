"""Small tables for tasks to come: named arrays in one object, each packed, each with its checksum.

Layout: the magic, the length of a header as uint32, the header in JSON (``[[name, dtype, shape, bytes, crc], ...]``),
then the columns, zlib, in the header's order and the machine-independent little endian.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Mapping
from math import prod
from typing import Any

import deflate
import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
MAGIC = b"igngcol1"
HEAD_SPAN = (0, 4096)
"""The bytes that hold the header of any object of at most about forty columns."""
_HEAD = struct.Struct("<8sI")
_LEVEL = 1  # what is read once or twice should be packed fast


def pack(columns: Mapping[str, Array]) -> bytes:
    """The object that holds ``columns``; the same arrays give the same bytes."""
    head, parts = [], []
    for name, column in columns.items():
        plain = np.ascontiguousarray(column, column.dtype.newbyteorder("<"))
        parts.append(bytes(deflate.zlib_compress(plain.data, _LEVEL)) if plain.size else b"")
        head.append([name, plain.dtype.str, list(plain.shape), len(parts[-1]), deflate.crc32(parts[-1])])
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([_HEAD.pack(MAGIC, len(text)), text, *parts])


def unpack(data: bytes, where: str, names: Collection[str] | None = None) -> dict[str, Array]:
    """The columns, or those called ``names``; DataError, naming ``where``, if one is damaged."""
    found: dict[str, Array] = {}
    head, at = _header(data, where)
    for name, dtype, shape, length, crc in head:
        part = data[at : at + length]
        at += length
        if names is not None and name not in names:
            continue
        if len(part) != length or deflate.crc32(part) != crc:
            raise DataError(f"{where}: the column {name} is damaged; run again the stage that wrote it")
        plain = deflate.zlib_decompress(part, prod(shape) * np.dtype(dtype).itemsize) if part else b""
        found[name] = np.frombuffer(plain, np.dtype(dtype)).reshape(shape)
    return found


def size(head: bytes, where: str) -> int:
    """Bytes of all columns once unpacked, from the first bytes of an object (:data:`HEAD_SPAN`)."""
    return sum(prod(shape) * np.dtype(dtype).itemsize for _, dtype, shape, _, _ in _header(head, where)[0])


def _header(data: bytes, where: str) -> tuple[list[Any], int]:
    if len(data) >= _HEAD.size and data.startswith(MAGIC):
        start = _HEAD.size
        stop = start + _HEAD.unpack(data[:start])[1]
        try:
            return json.loads(data[start:stop]), stop
        except ValueError:
            pass
    raise DataError(f"{where}: not a table of columns; run again the stage that wrote it")
