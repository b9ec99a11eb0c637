"""Files of entries for several readers: each reads its own portion and nothing else.

Layout, little endian: the magic, the number of portions as uint64, their starts and the end of the last as uint64, then
the portions. A portion is a CRC-32 of the rest and the number of its entries, both uint64, then the keys and the ids,
uint64, the sizes, uint32, and the payloads. One without entries has no bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats.pieces import Pieces, one_after_another

Array = npt.NDArray[Any]
MAGIC = b"igngpor1"
_HEAD, _FRONT = struct.Struct("<8sQ"), struct.Struct("<QQ")
_ENTRY = 20  # bytes of an entry beside its payload


@dataclass(frozen=True)
class Entries:
    """Of each entry its key and the id of what it is about, uint64 [n], and its payload."""

    keys: Array
    ids: Array
    payloads: Pieces

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Array) -> Entries:
        """Some entries, in the order asked for."""
        return Entries(self.keys[rows], self.ids[rows], self.payloads.take(rows))


def together(parts: Sequence[Entries]) -> Entries:
    """All entries of ``parts``, in their order."""
    none = np.zeros(0, np.uint64)
    keys = np.concatenate([none, *(part.keys for part in parts)])
    ids = np.concatenate([none, *(part.ids for part in parts)])
    return Entries(keys, ids, one_after_another([part.payloads for part in parts]))


def pack(entries: Entries, homes: Array, count: int) -> bytes:
    """The file of ``entries``, each in the portion of ``count`` that ``homes`` says."""
    order = np.argsort(homes, kind="stable")
    sorted_ = entries.take(order)
    bounds = np.searchsorted(homes[order], np.arange(count + 1))
    sizes = sorted_.payloads.ends[bounds[1:]] - sorted_.payloads.ends[bounds[:-1]]
    counts = np.diff(bounds)
    lengths = np.where(counts > 0, _FRONT.size + _ENTRY * counts + sizes, 0)
    start = _HEAD.size + 8 * (count + 1)
    table = start + np.concatenate([[0], np.cumsum(lengths)])
    parts = [_HEAD.pack(MAGIC, count), table.astype("<u8").tobytes()]
    parts += [_packed(sorted_, int(bounds[i]), int(bounds[i + 1])) for i in np.flatnonzero(counts).tolist()]
    return b"".join(parts)


def _packed(entries: Entries, start: int, stop: int) -> bytes:
    ends = entries.payloads.ends
    body = b"".join(
        (
            entries.keys[start:stop].astype("<u8").tobytes(),
            entries.ids[start:stop].astype("<u8").tobytes(),
            np.diff(ends[start : stop + 1]).astype("<u4").tobytes(),
            entries.payloads.data[ends[start] : ends[stop]].tobytes(),
        )
    )
    return _FRONT.pack(zlib.crc32(body), stop - start) + body


def table_span(portion: int) -> tuple[int, int]:
    """The bytes to read first: where a portion starts and stops."""
    start = _HEAD.size + 8 * portion
    return start, start + 16


def portion_span(table: bytes, where: str) -> tuple[int, int]:
    """The bytes of a portion, from those of :func:`table_span`; DataError, naming ``where``, if there are none."""
    if len(table) != 16:
        raise DataError(f"{where}: too short for a file of portions; write it again")
    start, stop = struct.unpack("<QQ", table)
    if stop < start:
        raise DataError(f"{where}: its table is damaged; write it again")
    return start, stop


def unpack(data: bytes, where: str) -> Entries:
    """The entries of a portion, from the bytes of :func:`portion_span`; DataError, naming ``where``, if damaged."""
    if not data:
        return together([])
    crc, count = _FRONT.unpack(data[: _FRONT.size]) if len(data) >= _FRONT.size else (0, 0)
    at = _FRONT.size + _ENTRY * count
    if len(data) < max(at, 1) or zlib.crc32(memoryview(data)[_FRONT.size :]) != crc:
        raise DataError(f"{where}: a portion is damaged; write it again")
    keys, ids = np.frombuffer(data, "<u8", 2 * count, _FRONT.size).reshape(2, count)
    sizes = np.frombuffer(data, "<u4", count, _FRONT.size + 16 * count)
    return Entries(keys, ids, Pieces.sized(np.frombuffer(data, np.uint8, offset=at), sizes))
