"""Fragment containers: all the pieces of objects found in one cell, arranged for merging by label.

Layout, little endian: the magic, the number of buckets B as uint64, B + 1 offsets as uint64 where each
bucket's index starts, the indexes, the payloads in the order of the indexes. An index is one
:data:`ENTRY` a piece, sorted by label, then where the bucket's payloads start, as uint64, and a CRC-32 of both. An
entry carries the digest of its payload, and its place among the bucket's; so the entries alone (:func:`identity`) tell
whether a bucket has changed, whatever became of others. A
label lives in one bucket, ``bucket_of(label, B)``, in every container, so that whoever merges a bucket
reads 16 bytes and one index a container, and then only the payloads of one object at a time. Buckets are
shards: what is merged of one can be written as one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.sharding import Spec, murmur

Array = npt.NDArray[Any]
Span = tuple[int, int]
MAGIC = b"igngfrg3"
ENTRY = np.dtype([(name, "<u8") for name in ("label", "voxels", "size", "offset", "length", "digest")])
"""One piece: its label, voxels in the cell proper, bytes once decoded, where its payload lies, and its digest."""
_HEAD = struct.Struct("<8sQ")
_TAIL = struct.Struct("<QI")
_SHARD_BYTES = 32 << 20
_MINISHARD_BITS = 8  # 256 in each shard: an index of 4 KiB


@dataclass(frozen=True)
class Piece:
    """What one cell holds of an object: its voxels, exact, its bytes once decoded, its geometry encoded."""

    voxels: int
    size: int
    payload: bytes


def bucket_of(labels: npt.ArrayLike, buckets: int) -> Array:
    """The bucket of each label: the bits of its hash that name its shard, modulo ``buckets``."""
    h = murmur(np.atleast_1d(np.array(labels, dtype=np.uint64))) >> np.uint64(_MINISHARD_BITS)
    return (h % np.uint64(buckets)).astype(np.int64).reshape(np.shape(labels))


def shards(buckets: int) -> Spec:
    """How objects are spread over as many shards as there are buckets, by the same number; SpecError if not."""
    bits = buckets.bit_length() - 1
    if buckets != 1 << bits:
        raise SpecError(f"{buckets} buckets: shards need a power of two; forge with another --buckets")
    return Spec(0, _MINISHARD_BITS, bits, "murmurhash3_x86_128")


def spec_for(buckets: int, size: int) -> Spec:
    """As :func:`shards`, several to a bucket: of about 32 MB each, if a bucket has ``size`` bytes of objects."""
    spec = shards(buckets)
    bits = spec.shard_bits + (size // _SHARD_BYTES).bit_length()
    return replace(spec, shard_bits=min(bits, 64 - _MINISHARD_BITS), data_encoding="gzip")


def pack(pieces: Mapping[int, Piece], buckets: int) -> bytes:
    """The container of ``pieces``, by label; the same pieces give the same bytes, in any order."""
    labels = np.array(sorted(pieces), dtype=np.uint64)
    home = bucket_of(labels, buckets)
    order = np.argsort(home, kind="stable")
    counts = np.bincount(home, minlength=buckets)
    sizes = counts * ENTRY.itemsize + _TAIL.size
    start = _HEAD.size + 8 * (buckets + 1)
    offsets = start + np.concatenate([[0], np.cumsum(sizes)])
    payloads = [pieces[int(label)] for label in labels[order]]
    parts = [_HEAD.pack(MAGIC, buckets), offsets.astype("<u8").tobytes()]
    at, place = 0, int(offsets[-1])
    for bucket, count in enumerate(counts.tolist()):
        own = payloads[at : at + count]
        body = _entries(labels[order[at : at + count]], own).tobytes()
        parts += [body, _TAIL.pack(place, _index_crc(body, place, bucket, buckets))]
        at, place = at + count, place + sum(len(piece.payload) for piece in own)
    return b"".join(parts + [piece.payload for piece in payloads])


def _entries(labels: Array, pieces: Iterable[Piece]) -> Array:
    entries, at = np.zeros(len(labels), ENTRY), 0
    for entry, label, piece in zip(entries, labels, pieces, strict=True):
        values = (label, piece.voxels, piece.size, at, len(piece.payload), _digest(piece.payload))
        for name, value in zip(ENTRY.names or (), values, strict=True):
            entry[name] = value
        at += len(piece.payload)
    return entries


def _digest(payload: bytes) -> int:
    return int.from_bytes(blake3(payload).digest(8), "little")


def _index_crc(body: bytes, place: int, bucket: int, buckets: int) -> int:
    """The number of the bucket goes in, so that an index read for another number never passes."""
    return zlib.crc32(body, zlib.crc32(_HEAD.pack(MAGIC, buckets) + struct.pack("<QQ", bucket, place)))


def table_span(bucket: int) -> Span:
    """The bytes to read first: where the index of ``bucket`` starts and ends."""
    start = _HEAD.size + 8 * bucket
    return start, start + 16


def index_span(table: bytes, where: str) -> Span:
    """The bytes of an index, from those of :func:`table_span`; ``where`` is named in errors."""
    if len(table) != 16:
        raise DataError(f"{where}: too short to be a fragment container; forge this cell again")
    start, stop = struct.unpack("<QQ", table)
    if stop < start + _TAIL.size or (stop - start - _TAIL.size) % ENTRY.itemsize:
        raise DataError(f"{where}: its table is damaged; forge this cell again")
    return start, stop


def read_index(data: bytes, bucket: int, buckets: int, where: str) -> Array:
    """The entries (:data:`ENTRY`, by label) in the bytes of :func:`index_span`; DataError if damaged."""
    body, tail = identity(data), data[-_TAIL.size :]
    place, crc = _TAIL.unpack(tail) if len(tail) == _TAIL.size else (0, -1)
    if crc != _index_crc(body, place, bucket, buckets):
        raise DataError(
            f"{where}: the index of bucket {bucket} of {buckets} is damaged, or the container has another "
            "number of buckets; forge this cell again"
        )
    entries = np.frombuffer(body, ENTRY).copy()
    entries["offset"] += np.uint64(place)
    return entries


def identity(data: bytes) -> bytes:
    """What in the bytes of :func:`index_span` tells one content of the bucket from another."""
    return data[: -_TAIL.size]


def payload_span(entry: Any) -> Span:
    """The bytes of a piece."""
    start = int(entry["offset"])
    return start, start + int(entry["length"])


def check_payload(data: bytes, entry: Any, where: str) -> bytes:
    """``data`` if it is what ``entry`` says; DataError otherwise."""
    if len(data) != int(entry["length"]) or _digest(data) != int(entry["digest"]):
        raise DataError(f"{where}: the piece of label {entry['label']} is damaged; forge this cell again")
    return data
