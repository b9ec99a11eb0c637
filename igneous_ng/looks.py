"""What a layer is, and what of it is stored: objects, bytes and compression of each level."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod

from igneous_ng import folders
from igneous_ng.errors import DataError
from igneous_ng.formats import sharding
from igneous_ng.formats.compression import SUFFIXES
from igneous_ng.formats.info import Info, Scale, chunk_box, chunk_name, chunk_range
from igneous_ng.geometry import Vec3, Vec3f, vec
from igneous_ng.io import IO
from igneous_ng.store import Store

EXACT = 100_000
SAMPLE = 1_000
_READERS = 16  # objects looked up at once


@dataclass(frozen=True)
class Level:
    """One level. Where ``exact`` is False, ``objects`` and ``stored_bytes`` are estimates from a sample of chunks.

    ``expected`` is the number of chunks; of a sharded level, whose objects are shards, it is None. ``ratio`` is the
    size of the voxels of the chunks that are there, of a sharded level of all voxels, over what is stored; None where
    nothing is. ``torn`` are the shards, of up to ``SAMPLE`` that were looked at, that are shorter than their index says
    or have none.
    """

    mip: int
    key: str
    size: Vec3
    offset: Vec3
    resolution: Vec3f
    chunk: Vec3
    encoding: str
    sharded: bool
    expected: int | None
    objects: int
    raw_bytes: int
    stored_bytes: int
    ratio: float | None
    exact: bool
    torn: tuple[str, ...]


@dataclass(frozen=True)
class Look:
    """A layer and its levels."""

    layer: str
    kind: str
    dtype: str
    channels: int
    levels: tuple[Level, ...]


def look(store: Store, layer: str) -> Look:
    """Look at all levels of ``layer``; names are listed where there are at most ``EXACT`` chunks."""
    info = IO(store).info(layer)
    levels = tuple(_level(store, layer, info, mip) for mip in range(len(info.scales)))
    return Look(layer, info.kind, info.dtype.name, info.channels, levels)


def _level(store: Store, layer: str, info: Info, mip: int) -> Level:
    scale = info.scales[mip]
    voxel = info.dtype.itemsize * info.channels
    expected = prod(chunk_range(scale, scale.bounds).shape)
    exact = scale.sharded or expected <= EXACT
    objects, stored, voxels = (_listed if exact else _sampled)(layer, scale)
    return Level(
        mip=mip,
        key=scale.key,
        size=scale.bounds.shape,
        offset=scale.bounds.lo,
        resolution=scale.resolution,
        chunk=scale.chunk,
        encoding=scale.encoding,
        sharded=scale.sharded,
        expected=None if scale.sharded else expected,
        objects=objects,
        raw_bytes=scale.bounds.voxels * voxel,
        stored_bytes=stored,
        ratio=float(f"{voxels * voxel / stored:.4g}") if stored else None,
        exact=exact,
        torn=_torn(store, layer, scale) if scale.sharded else (),
    )


def _listed(layer: str, scale: Scale) -> tuple[int, int, int]:
    """Objects, their bytes and the voxels in them, by listing the level's folder."""
    sizes = {one.url.rpartition("/")[2]: one.bytes for one in folders.walk(f"{layer}/{scale.key}")}
    plain = {_plain(name): size for name, size in sizes.items()}
    if scale.sharded:
        return len(plain), sum(plain.values()), scale.bounds.voxels
    count = prod(chunk_range(scale, scale.bounds).shape)
    boxes = (chunk_box(scale, _place(scale, index)) for index in range(count))
    there = {name: box.voxels for box in boxes if (name := chunk_name(scale, box).rpartition("/")[2]) in plain}
    return len(there), sum(plain[name] for name in there), sum(there.values())


def _sampled(layer: str, scale: Scale) -> tuple[int, int, int]:
    """The same, estimated from ``SAMPLE`` chunks: always the same ones, so two looks can be compared."""
    count = prod(chunk_range(scale, scale.bounds).shape)
    chosen = random.Random(0).sample(range(count), SAMPLE)  # noqa: S311 - a sample, no secret
    boxes = [chunk_box(scale, _place(scale, index)) for index in chosen]
    with ThreadPoolExecutor(_READERS) as pool:
        sizes = list(pool.map(lambda box: folders.size(f"{layer}/{chunk_name(scale, box)}"), boxes))
    there = [(box.voxels, size) for box, size in zip(boxes, sizes, strict=True) if size is not None]
    share = count / SAMPLE
    return round(len(there) * share), round(sum(s for _, s in there) * share), round(sum(v for v, _ in there) * share)


def _torn(store: Store, layer: str, scale: Scale) -> tuple[str, ...]:
    """Names of the shards, of a sample where there are many, whose index is damaged or names more than there is."""
    spec = scale.sharding
    assert spec is not None
    shards = sorted((one.url, one.bytes) for one in folders.walk(f"{layer}/{scale.key}"))
    if len(shards) > SAMPLE:
        shards = random.Random(0).sample(shards, SAMPLE)  # noqa: S311 - as above

    def is_torn(shard: tuple[str, int]) -> bool:
        url, size = shard
        try:
            return sharding.extent(spec, store.get(url, (0, spec.index_bytes)) or b"", url) > size
        except DataError:
            return True

    with ThreadPoolExecutor(_READERS) as pool:
        found = zip(shards, pool.map(is_torn, shards), strict=True)
        return tuple(url.rpartition("/")[2] for (url, _), torn in found if torn)


def _plain(name: str) -> str:
    """A file's name without the suffix of its compression."""
    return name.removesuffix(next((s for s in SUFFIXES.values() if s and name.endswith(s)), ""))


def _place(scale: Scale, index: int) -> Vec3:
    """The grid position of a chunk by its number, x fastest."""
    x, y, _ = chunk_range(scale, scale.bounds).shape
    return vec((index % x, index // x % y, index // (x * y)))
