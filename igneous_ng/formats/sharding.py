"""Shards: many chunks in one object, found by ranged reads.

Sources: Neuroglancer's "Sharded format" (src/datasource/precomputed/sharded.md) and the "compressed Morton code" of
its "Precomputed volume" specification; MurmurHash3_x86_128 (A. Appleby, public domain).

A shard begins with its index: for each minishard, where that one's own index lies. Chunks follow, by minishard and
key, and after them the minishards' indices. With the identity hash the low bits of the Morton code run through the
chunks of one shard, so that a shard is a box of chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain, groupby, pairwise
from math import prod
from mmap import mmap
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from igneous_ng import morton
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.compression import compressed, decompressed
from igneous_ng.formats.pieces import Pieces
from igneous_ng.geometry import Box, Vec3, ceil_div, vec

Keys = npt.NDArray[np.uint64]
Points = npt.NDArray[np.int64]
Hash = Literal["identity", "murmurhash3_x86_128"]
Packing = Literal["raw", "gzip"]
TYPE = "neuroglancer_uint64_sharded_v1"
_MOST_MINISHARD_BITS = 32  # TensorStore's limit; such an index has 64 GiB
_FARTHEST = 1 << 43  # 8 TiB: no store has a larger object
_KEYS_PER_MINISHARD = 11  # bits: 2,048 keys, 48 KiB of index before compression
_MINISHARDS = 9  # bits: a shard index of 8 KiB
_ENTRY, _ROW = 16, 24  # bytes of a minishard in the shard index, of a key in a minishard index


@dataclass(frozen=True)
class Spec:
    """How keys are spread over shards and minishards, and how both are packed; as ``sharding`` in ``info``."""

    preshift_bits: int
    minishard_bits: int
    shard_bits: int
    hash: Hash = "identity"
    minishard_index_encoding: Packing = "gzip"
    data_encoding: Packing = "raw"

    def __post_init__(self) -> None:
        bits = (self.preshift_bits, self.minishard_bits, self.shard_bits)
        if not all(0 <= n <= 64 for n in bits) or self.minishard_bits + self.shard_bits > 64:
            raise SpecError(f"sharding by {bits} bits: three numbers from 0 to 64, the last two of 64 at most together")
        if self.preshift_bits > 63 or self.minishard_bits > _MOST_MINISHARD_BITS:
            raise SpecError(f"sharding by {bits} bits: preshift_bits up to 63, minishard_bits up to 32")
        packings = (self.minishard_index_encoding, self.data_encoding)
        if self.hash not in get_args(Hash) or not all(p in get_args(Packing) for p in packings):
            raise SpecError(
                f"sharding with hash {self.hash!r} and encodings {packings}: there are the hashes "
                f"{', '.join(get_args(Hash))} and the encodings {', '.join(get_args(Packing))}"
            )

    @classmethod
    def parse(cls, raw: Any) -> Spec:
        """The spec that ``sharding`` in an ``info`` file says; SpecError where it is none."""
        if not isinstance(raw, dict) or raw.get("@type") != TYPE:
            raise SpecError(f"sharding {raw!r}: only the @type {TYPE} is known")
        try:
            preshift, minishard, shard = (int(raw[f"{part}_bits"]) for part in ("preshift", "minishard", "shard"))
            index, data = (raw.get(f"{part}_encoding", "raw") for part in ("minishard_index", "data"))
            return cls(preshift, minishard, shard, raw["hash"], index, data)
        except (KeyError, TypeError, ValueError) as error:
            raise SpecError(f"sharding {raw!r} is incomplete or wrong ({type(error).__name__}: {error})") from error

    def to_json(self) -> dict[str, Any]:
        """This spec as it stands in an ``info`` file."""
        return {"@type": TYPE, **asdict(self)}

    @property
    def index_bytes(self) -> int:
        """Size of the shard index."""
        return _ENTRY << self.minishard_bits

    def name(self, shard: int) -> str:
        """The object name of a shard, in its level's folder."""
        return f"{shard:0{ceil_div(self.shard_bits, 4)}x}.shard"

    def locate(self, keys: Keys) -> tuple[Keys, Keys]:
        """The shard and the minishard of each key."""
        shifted = keys >> np.uint64(self.preshift_bits)
        hashed = shifted if self.hash == "identity" else murmur(shifted)
        minishards = hashed & _ones(self.minishard_bits)
        return (hashed >> np.uint64(self.minishard_bits)) & _ones(self.shard_bits), minishards


def _ones(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)


def murmur(keys: Keys) -> Keys:
    """The low 64 bits of MurmurHash3_x86_128 of each key's eight bytes, seed 0."""
    words = np.ascontiguousarray(keys, "<u8").view("<u4").reshape(-1, 2).astype(np.uint32)
    first = _scrambled(words[:, 0], 0x239B961B, 15, 0xAB0E9789) ^ np.uint32(8)
    second = _scrambled(words[:, 1], 0xAB0E9789, 16, 0x38B34AE5) ^ np.uint32(8)
    rest = np.full_like(first, 8)  # the third and fourth word of the state meet no byte of the key
    first = first + second + rest + rest
    second, rest = second + first, rest + first
    first, second, rest = _mixed(first), _mixed(second), _mixed(rest)
    first = first + second + rest + rest
    second = second + first
    return first.astype(np.uint64) | second.astype(np.uint64) << np.uint64(32)


def _scrambled(word: npt.NDArray[np.uint32], factor: int, turn: int, other: int) -> npt.NDArray[np.uint32]:
    word = word * np.uint32(factor)
    word = word << np.uint32(turn) | word >> np.uint32(32 - turn)
    return word * np.uint32(other)


def _mixed(word: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    word = (word ^ word >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    word = (word ^ word >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return word ^ word >> np.uint32(16)


@dataclass(frozen=True)
class Layout:
    """Which shards hold a level of ``grid`` chunks; chunks are named by their position in the grid."""

    spec: Spec
    grid: Vec3

    def __post_init__(self) -> None:
        if len(self.axes) > 64:
            raise SpecError(f"a grid of {self.grid} chunks needs Morton codes of more than 64 bits; use larger chunks")

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """The axis that each bit of the compressed Morton code comes from, lowest bit first."""
        return morton.axes(self.grid)

    def keys(self, points: Points) -> Keys:
        """The compressed Morton codes of chunks, ``[n, 3]``."""
        return morton.codes(points, self.axes)

    def point(self, key: int) -> Vec3:
        """The chunk of a compressed Morton code."""
        found, taken = [0, 0, 0], [0, 0, 0]
        for bit, axis in enumerate(self.axes):
            found[axis] |= (key >> bit & 1) << taken[axis]
            taken[axis] += 1
        return vec(found)

    @property
    def boxes(self) -> bool:
        """Whether each shard is a box of chunks: not when keys are hashed, nor when numbers of shards repeat."""
        return self.spec.hash == "identity" and self._inside + self.spec.shard_bits >= len(self.axes)

    @property
    def cells(self) -> Vec3:
        """Chunks of one shard along each axis; all of the level where shards are not boxes."""
        if not self.boxes:
            return self.grid
        low = self.axes[: self._inside]
        return vec(1 << low.count(axis) for axis in range(3))

    def box(self, shard: int) -> Box:
        """The chunks of a shard, cut by the end of the level; SpecError where there is no such box."""
        lo = self.point(shard << self._inside)
        ends = shard << self._inside >> len(self.axes) or any(a >= n for a, n in zip(lo, self.grid, strict=True))
        if not self.boxes or ends:
            raise SpecError(f"shard {shard:x} is no box of a level of {self.grid} chunks")
        return Box.sized(lo, self.cells) & Box((0, 0, 0), self.grid)

    def number(self, point: Vec3) -> int:
        """The shard that holds a chunk."""
        return int(self.spec.locate(self.keys(np.array([point])))[0][0])

    @property
    def _inside(self) -> int:
        return self.spec.preshift_bits + self.spec.minishard_bits


def pack(spec: Spec, chunks: Mapping[int, bytes], before: Mapping[int, bytes] | None = None) -> bytes:
    """The bytes of a shard that holds ``chunks`` by key; the order in which they are given does not matter.

    What ``before`` holds for a key lies directly before its chunk, plain, where no index names it.
    """
    return joined(spec, {key: packed(data, spec.data_encoding) for key, data in chunks.items()}, before)


def joined(spec: Spec, chunks: Mapping[int, bytes], before: Mapping[int, bytes] | None = None) -> bytes:
    """As :func:`pack`, of chunks that are :func:`packed` already."""
    keys = np.array(sorted(chunks), np.uint64)
    minishards = spec.locate(keys)[1]
    order = np.argsort(minishards, kind="stable")
    index = np.zeros((1 << spec.minishard_bits, 2), "<u8")
    bodies: list[bytes] = []
    tables: list[tuple[int, bytes]] = []
    at = 0
    for minishard, rows in groupby(order, key=lambda i: int(minishards[i])):
        found = [int(keys[i]) for i in rows]
        stored = [chunks[key] for key in found]
        leading = [(before or {}).get(key, b"") for key in found]
        table = np.zeros((3, len(found)), "<u8")
        table[0] = np.diff(np.array(found, np.uint64), prepend=np.uint64(0))
        table[1] = [len(data) for data in leading]
        table[1, 0] += at
        table[2] = [len(data) for data in stored]
        tables.append((minishard, packed(table.tobytes(), spec.minishard_index_encoding)))
        bodies += chain.from_iterable(zip(leading, stored, strict=True))
        at += sum(map(len, leading)) + sum(map(len, stored))
    for minishard, data in tables:
        index[minishard] = at, at + len(data)
        at += len(data)
    return b"".join((index.tobytes(), *bodies, *(data for _, data in tables)))


def laid(spec: Spec, keys: Keys, chunks: Pieces) -> bytes:
    """As :func:`joined`, of many chunks in one array, by ``keys`` without repeats in any order: the same bytes."""
    minishards = spec.locate(keys)[1]
    order = np.lexsort((keys, minishards))
    keys, minishards, stored = keys[order], minishards[order], chunks.take(order)
    bounds = np.append(np.flatnonzero(np.append(True, minishards[1:] != minishards[:-1])[: len(keys)]), len(keys))
    index, tables, at = np.zeros((1 << spec.minishard_bits, 2), "<u8"), list[bytes](), int(stored.ends[-1])
    for start, stop in pairwise(bounds.tolist()):
        table = np.zeros((3, stop - start), "<u8")
        table[0] = np.diff(keys[start:stop], prepend=np.uint64(0))
        table[1, 0] = stored.ends[start]
        table[2] = stored.sizes[start:stop]
        tables.append(packed(table.tobytes(), spec.minishard_index_encoding))
        index[int(minishards[start])] = at, at + len(tables[-1])
        at += len(tables[-1])
    return b"".join((index.tobytes(), stored.data.tobytes(), *tables))


def packed_each(chunks: Pieces, how: Packing) -> Pieces:
    """Each chunk :func:`packed`."""
    if how == "raw":
        return chunks
    found = [packed(chunks[row], how) for row in range(len(chunks))]
    return Pieces.sized(np.frombuffer(b"".join(found), np.uint8), np.array([len(one) for one in found], np.int64))


def packed(data: bytes, how: Packing) -> bytes:
    """A part of a shard as it is stored."""
    return compressed(data, "gzip") if how == "gzip" else data


def unpacked(data: bytes, how: Packing, where: str) -> bytes:
    """A part of a shard as it was; DataError, naming ``where``, if it is torn."""
    return decompressed(data, "gzip", where) if how == "gzip" else data


Span = tuple[int, int]
"""Where something lies in an object: bytes ``[start, stop)``."""


def minishard_span(spec: Spec, index: bytes, minishard: int, where: str) -> Span | None:
    """Where the index of a minishard lies, by its shard's ``index``; None if the minishard is empty."""
    if len(index) != spec.index_bytes:
        raise _wrong(where, f"its index has {len(index)} bytes instead of {spec.index_bytes}")
    start, stop = (int(n) for n in np.frombuffer(index, "<u8", 2, _ENTRY * minishard))
    if not start <= stop <= _FARTHEST:
        raise _wrong(where, f"minishard {minishard:x} lies from {start} to {stop}")
    return None if start == stop else (start + spec.index_bytes, stop + spec.index_bytes)


def extent(spec: Spec, index: bytes, where: str) -> int:
    """How long a shard with this ``index`` must be; DataError where it cannot be one."""
    ends = [minishard_span(spec, index, number, where) for number in range(1 << spec.minishard_bits)]
    return max((span[1] for span in ends if span), default=spec.index_bytes)


def chunk_spans(spec: Spec, shard: int, minishard: int, table: bytes, where: str) -> dict[int, Span]:
    """Where each chunk of a minishard lies, by key; ``table`` is the minishard's index as it is stored."""
    data = unpacked(table, spec.minishard_index_encoding, f"{where}, index of minishard {minishard:x}")
    if len(data) % _ROW:
        raise _wrong(where, f"the index of minishard {minishard:x} has {len(data)} bytes, no multiple of {_ROW}")
    deltas = np.frombuffer(data, "<u8").reshape(3, -1)
    keys = np.cumsum(deltas[0], dtype=np.uint64)
    shards, minishards = spec.locate(keys)
    if (shards != shard).any() or (minishards != minishard).any() or len(np.unique(keys)) != len(keys):
        raise _wrong(where, f"the index of minishard {minishard:x} names chunks that are not its own")
    spans, at = {}, spec.index_bytes
    for key, gap, size in zip(*(row.tolist() for row in (keys, deltas[1], deltas[2])), strict=True):
        start = at + gap & (1 << 64) - 1  # a gap may be negative: the numbers wrap
        at = start + size
        if not spec.index_bytes <= start <= at <= _FARTHEST:
            raise _wrong(where, f"chunk {key} lies from {start} to {at}")
        spans[key] = (start, at)
    return spans


def all_spans(spec: Spec, shard: int, data: bytes | mmap, where: str) -> dict[int, Span]:
    """Where each chunk of a whole shard lies in its ``data``, by key; DataError if some lie beyond."""
    spans: dict[int, Span] = {}
    for minishard in range(1 << spec.minishard_bits):
        span = minishard_span(spec, data[: spec.index_bytes], minishard, where)
        if span is not None:
            spans |= chunk_spans(spec, shard, minishard, data[slice(*span)], where)
    if any(stop > len(data) for _, stop in spans.values()):
        raise _wrong(where, f"it ends after {len(data)} bytes")
    return spans


def _wrong(where: str, what: str) -> DataError:
    return DataError(f"{where}: not a shard of this level: {what}; write it again")


def spec_for(shape: Vec3, chunk: Vec3, voxel_bytes: int, memory: int, data_encoding: Packing = "gzip") -> Spec:
    """The fewest shards for a level of ``shape`` voxels, each of at most ``memory`` bytes of voxels.

    A shard index then has at most 8 KiB, a minishard index 48 KiB. SpecError where a chunk alone is larger.
    """
    grid = vec(ceil_div(n, c) for n, c in zip(shape, chunk, strict=True))
    total = len(Layout(Spec(0, 0, 0), grid).axes)
    for inside in range(min(total, _KEYS_PER_MINISHARD + _MINISHARDS), -1, -1):
        minishard = max(0, inside - _KEYS_PER_MINISHARD)
        spec = Spec(inside - minishard, minishard, total - inside, data_encoding=data_encoding)
        voxels = prod(min(n, c * k) for n, c, k in zip(shape, chunk, Layout(spec, grid).cells, strict=True))
        if voxels * voxel_bytes <= memory:
            return spec
    raise SpecError(
        f"one chunk of {chunk} voxels, {voxel_bytes} bytes each, is more than the {memory:,} bytes that a shard may "
        "take in memory; give more memory or smaller chunks"
    )
