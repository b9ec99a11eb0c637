"""What a PyChunkedGraph (CAVE, Dorkenwald et al. 2022) ingests of a chunk: its edges and its components, in protobuf.

Edges are a message of three, by number 1 in the chunk, 2 ``cross`` (pieces of one supervoxel that a chunk's face cuts),
3 ``between`` chunks; each has as bytes, little endian, 1 and 2 the supervoxels of both ends, uint64, 3 affinities,
float32, 4 areas, uint64. Components are a message with the packed varints 1: of each component the number of its
supervoxels, then these. Fields that are empty are not written, as protobuf has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_BYTES = 2  # the wire type of what has a length
_GROUP = 7  # bits of a number in each byte of a varint
_MOST = 10  # bytes of a varint
_BLOCK = 1 << 14  # numbers that are written at once


@dataclass(frozen=True)
class Edges:
    """Edges of one kind: the supervoxels of both ends [n], the first in the chunk, and affinity and area of each."""

    one: Array
    other: Array
    affinity: Array
    area: Array


def edges(inside: Edges, cross: Edges, between: Edges) -> bytes:
    """The message of the edges of a chunk."""
    return b"".join(_field(number, _edges(kind)) for number, kind in enumerate((inside, cross, between), 1))


def components(supervoxels: Array, segments: Array) -> bytes:
    """The message of the components of a chunk: ``supervoxels``, without repeats, of the same of ``segments``.

    Components are written in the order of segments, their supervoxels ascending.
    """
    order = np.lexsort((supervoxels, segments))
    _, starts, counts = np.unique(segments[order], return_index=True, return_counts=True)
    packed = varints(np.insert(supervoxels[order].astype(np.uint64), starts, counts.astype(np.uint64)))
    return _field(1, packed) if packed else b""


def varints(numbers: Array) -> bytes:
    """Numbers, uint64, one after the other: seven bits a byte, the lowest first; the highest says that more follow."""
    return b"".join(_varints(numbers[at : at + _BLOCK]) for at in range(0, len(numbers), _BLOCK))


def _varints(numbers: Array) -> bytes:
    shifts = np.arange(0, _GROUP * _MOST, _GROUP, dtype=np.uint64)
    rest = numbers[:, np.newaxis] >> shifts
    more = rest >> np.uint64(_GROUP) > 0
    used = (rest > 0) | (shifts == 0)
    return bytes(((rest & np.uint64(0x7F)) | more * np.uint64(0x80))[used].astype(np.uint8).tobytes())


def _edges(kind: Edges) -> bytes:
    columns: Iterable[Array] = (
        kind.one.astype("<u8"),
        kind.other.astype("<u8"),
        kind.affinity.astype("<f4"),
        kind.area.astype("<u8"),
    )
    return b"".join(_field(number, column.tobytes()) for number, column in enumerate(columns, 1) if column.size)


def _field(number: int, data: bytes) -> bytes:
    return varints(np.array([number << 3 | _BYTES, len(data)], np.uint64)) + data
