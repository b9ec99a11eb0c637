"""The fingerprint of a layer: a Merkle tree (Merkle 1987) over names and contents of its objects, from ledgers alone.

Chunks are leaves of the octree of their grid, so that any box that is aligned with it has a digest of its own: that of
its subtree. Shards hang in the tree of their numbers, all else in a tree of the digests of names, folder by folder.
Nodes with one child are passed through. Layers with the same objects have the same fingerprint, whoever made them in
whatever tasks. Of each object 32 bytes are gathered, and some 75 held at most, while they are put in order.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from igneous_ng import ledger
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import info as infos
from igneous_ng.formats.info import Info, Scale, chunk_range, shard_box
from igneous_ng.formats.sharding import Layout, Spec
from igneous_ng.geometry import Box, Vec3
from igneous_ng.store import Store

Keys = npt.NDArray[np.uint64]
Digests = npt.NDArray[np.uint8]
_BYTES = 16  # of a digest
_LEVELS = 22  # of three bits
_SIDE = 1 << 21  # chunks along an axis: their keys have 63 bits
_BATCH = 1 << 16  # positions that are made keys at once
_RANGE = re.compile(r"(-?\d+)-(-?\d+)")
_SHARD = re.compile(r"([0-9a-f]+)\.shard")
_GONE = b"\0" * _BYTES


@dataclass(frozen=True)
class Part:
    """The objects of one kind (``chunks``, ``shards`` or ``objects``) in one folder of the layer, and their digest."""

    folder: str
    kind: str
    digest: str
    objects: int
    bytes: int


@dataclass(frozen=True)
class Fingerprint:
    """The digest of a layer, and of its parts, by folder."""

    digest: str
    parts: tuple[Part, ...]


def leaf(name: str, stored: str) -> bytes:
    """The digest of an object, from its name below the layer and the digest of its bytes as stored."""
    return blake3(b"\0" + name.encode() + b"\0" + bytes.fromhex(stored)).digest(_BYTES)


def node(children: bytes) -> bytes:
    """The digest of several nodes, from theirs, in order."""
    return blake3(b"\1" + children).digest(_BYTES)


def root(keys: Keys, leaves: Digests) -> bytes:
    """The digest of a tree whose ``leaves`` [n, 16] hang at ``keys``, ascending, three bits of them for each level."""
    for _ in range(_LEVELS):
        if len(keys) == 1:
            break
        keys = keys >> np.uint64(3)
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        if len(starts) == len(keys):
            continue
        ends = np.append(starts[1:], len(keys))
        data, several = leaves.reshape(-1).data, np.flatnonzero(ends - starts > 1)
        keys, leaves = keys[starts], leaves[starts]
        for at, lo, hi in zip(several.tolist(), starts[several].tolist(), ends[several].tolist(), strict=True):
            leaves[at] = np.frombuffer(node(bytes(data[lo * _BYTES : hi * _BYTES])), np.uint8)
    return bytes(leaves[0])


@dataclass
class _Objects:
    """Objects as they are told, the newest entry of each first: their places in the tree, digests and sizes."""

    keys: array[int] = field(default_factory=lambda: array("Q"))
    leaves: bytearray = field(default_factory=bytearray)
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    _points: list[Vec3] = field(default_factory=list)

    def add(self, place: int | Vec3, digest: bytes, size: int) -> None:
        if isinstance(place, int):
            self.keys.append(place)
        else:
            self._points.append(place)
            if len(self._points) == _BATCH:
                self._settle()
        self.leaves += digest
        self.sizes.append(size)

    def _settle(self) -> None:
        if self._points:
            self.keys.frombytes(_MORTON.keys(np.array(self._points)).tobytes())
            self._points = []

    def part(self, folder: str, kind: str) -> Part | None:
        """What they are together; None where none is left. They are forgotten, so that nothing is held twice."""
        self._settle()
        keys, first = np.unique(np.frombuffer(self.keys, np.uint64), return_index=True)
        there: npt.NDArray[np.bool_] = (np.frombuffer(self.leaves, np.uint64).reshape(-1, 2) != 0).any(axis=1)[first]
        if not there.any():
            return None
        if not there.all():
            keys, first = keys[there], first[there]
        total = int(np.frombuffer(self.sizes, np.uint64)[first].sum())
        leaves = np.frombuffer(self.leaves, np.uint8).reshape(-1, _BYTES)[first]
        del first, there
        self.keys, self.leaves, self.sizes = array("Q"), bytearray(), array("Q")
        return Part(folder, kind, root(keys, leaves).hex(), len(keys), total)


_MORTON = Layout(Spec(0, 0, 0), (_SIDE, _SIDE, _SIDE))


def take(store: Store, layer: str, within: tuple[int, Box] | None = None) -> Fingerprint:
    """The fingerprint of ``layer``; or of the chunks, or shards, of a level that a box touches, in its voxels."""
    raw = store.get_json(f"{layer}/info")
    info = infos.parse(raw, f"{layer}/info") if isinstance(raw, dict) and "scales" in raw else None
    wanted = None if within is None else _Wanted.of(layer, info, *within)
    parts: dict[tuple[str, str], _Objects] = {}
    places = _Places(info)
    for name, digest, size in _told(store, layer):
        folder, kind, place = places.of(name)
        if wanted is None or wanted.has(folder, kind, place):
            parts.setdefault((folder, kind), _Objects()).add(place, digest, size)
    found = tuple(filter(None, (parts[key].part(*key) for key in sorted(parts))))
    if not found and within is None:
        raise DataError(f"{layer}: no record tells of an object here; check the path")
    named = "".join(f"{part.folder}\0{part.kind}\0{part.digest}\n" for part in found)
    return Fingerprint(node(named.encode()).hex(), found)


def _told(store: Store, layer: str) -> Iterator[tuple[str, bytes, int]]:
    """Names below the layer, digests of leaves, sizes; what was removed has the digest of nothing."""
    below = f"{layer}/"
    for entry in ledger.told(store, layer):
        if entry["url"].startswith(below):
            name = entry["url"].removeprefix(below)
            gone = "deleted" in entry
            yield name, _GONE if gone else leaf(name, entry["digest"]), 0 if gone else entry["bytes"]


class _Axis(dict[str, int]):
    """Along one axis, which chunk a part of a name such as ``64-128`` means, and -1 where it means none."""

    def __init__(self, start: int, end: int, size: int) -> None:
        self._start, self._end, self._size = start, end, size

    def __missing__(self, part: str) -> int:
        found = _RANGE.fullmatch(part)
        lo, hi = (int(found[1]), int(found[2])) if found else (self._start - 1, 0)
        place, rest = divmod(lo - self._start, self._size)
        chunk = rest == 0 and 0 <= place < _SIDE and hi == min(lo + self._size, self._end)
        self[part] = place if chunk else -1
        return self[part]


class _Places:
    """What kind of object a name below the layer is, and where in a tree it hangs."""

    def __init__(self, info: Info | None) -> None:
        scales = info.scales if info else ()
        self._sharded = {scale.key for scale in scales if scale.sharded}
        self._axes = {
            scale.key: [_Axis(*axis) for axis in zip(scale.bounds.lo, scale.bounds.hi, scale.chunk, strict=True)]
            for scale in scales
            if not scale.sharded
        }

    def of(self, name: str) -> tuple[str, str, int | Vec3]:
        """The folder, the kind and the place."""
        folder, _, last = name.rpartition("/")
        axes, parts = self._axes.get(folder), last.split("_")
        if axes is not None and len(parts) == 3:
            x, y, z = axes[0][parts[0]], axes[1][parts[1]], axes[2][parts[2]]
            if x >= 0 and y >= 0 and z >= 0:
                return folder, "chunks", (x, y, z)
        elif folder in self._sharded and (found := _SHARD.fullmatch(last)):
            return folder, "shards", int(found[1], 16)
        return folder, "objects", ledger.key(name)


@dataclass(frozen=True)
class _Wanted:
    """The chunks of a box, as a box of their grid, or the shards that hold some of them."""

    scale: Scale
    cells: Box
    box: Box

    @classmethod
    def of(cls, layer: str, info: Info | None, mip: int, box: Box) -> _Wanted:
        if info is None:
            raise DataError(f"{layer}/info: there is no layer of voxels here; ask for the fingerprint without a box")
        if not 0 <= mip < len(info.scales):
            raise SpecError(f"{layer} has no mip {mip}; there are mips 0 to {len(info.scales) - 1}")
        return cls(info.scales[mip], chunk_range(info.scales[mip], box), box)

    def has(self, folder: str, kind: str, place: int | Vec3) -> bool:
        if folder != self.scale.key or kind == "objects":
            return False
        if not isinstance(place, int):
            return all(lo <= at < hi for lo, at, hi in zip(self.cells.lo, place, self.cells.hi, strict=True))
        spec = self.scale.sharding
        if spec is None or not Layout(spec, self.scale.grid).boxes:
            return True  # each shard has chunks from everywhere
        return bool((shard_box(self.scale, place) & self.box).voxels)
