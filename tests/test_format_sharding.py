"""Shards as bytes: against cloud-volume, TensorStore and brute force."""

from __future__ import annotations

import gzip
import json
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cloudvolume.datasource.precomputed import mmh3
from cloudvolume.datasource.precomputed.common import compressed_morton_code
from cloudvolume.datasource.precomputed.sharding import ShardingSpecification, ShardReader, image_shard_shape_from_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import sharding
from igneous_ng.formats.sharding import Layout, Spec, spec_for
from igneous_ng.geometry import Box, Vec3, ceil_div, vec

packings = st.sampled_from(("raw", "gzip"))
hashes = st.sampled_from(("identity", "murmurhash3_x86_128"))
specs = st.builds(Spec, st.integers(0, 9), st.integers(0, 5), st.integers(0, 7), hashes, packings, packings)
any_specs = st.builds(Spec, st.integers(0, 63), st.integers(0, 32), st.integers(0, 32), hashes, packings, packings)
grids = st.tuples(*[st.integers(1, 13)] * 3)
keys = st.integers(0, (1 << 64) - 1)


def theirs(spec: Spec) -> Any:
    return ShardingSpecification.from_dict(spec.to_json())


def u64(values: list[int]) -> sharding.Keys:
    return np.array(values, np.uint64)


@given(any_specs)
def test_a_spec_comes_back_from_json(spec: Spec) -> None:
    assert Spec.parse(json.loads(json.dumps(spec.to_json()))) == spec
    assert {key: str(value) for key, value in theirs(spec).to_dict().items()} == {
        key: str(value) for key, value in spec.to_json().items()
    }


def test_what_a_spec_does_not_say_is_raw() -> None:
    json_ = {k: v for k, v in Spec(1, 2, 3).to_json().items() if not k.endswith("encoding")}
    assert Spec.parse(json_) == Spec(1, 2, 3, minishard_index_encoding="raw", data_encoding="raw")


@pytest.mark.parametrize(
    "change",
    [
        {"@type": "neuroglancer_uint64_sharded_v2"},
        {"preshift_bits": 64},
        {"preshift_bits": -1},
        {"minishard_bits": 33},
        {"minishard_bits": "many"},
        {"minishard_bits": 5, "shard_bits": 60},
        {"hash": "sha"},
        {"data_encoding": "brotli"},
        {"minishard_index_encoding": "br"},
        {"shard_bits": None},
    ],
    ids=str,
)
def test_wrong_sharding_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="sharding"):
        Spec.parse({**Spec(1, 2, 3).to_json(), **change})
    others: list[Any] = [None, [], "sharding"]
    for other in others:
        with pytest.raises(SpecError, match="only the @type"):
            Spec.parse(other)


@given(st.lists(keys, min_size=1, max_size=20))
def test_the_hash_is_that_of_others(values: list[int]) -> None:
    expected = [mmh3.hash64(value.to_bytes(8, "little"), x64arch=False)[0] % 2**64 for value in values]
    assert sharding.murmur(u64(values)).tolist() == expected


@settings(deadline=None)
@given(any_specs, st.lists(keys, min_size=1, max_size=5))
def test_keys_lie_where_others_look_for_them(spec: Spec, values: list[int]) -> None:
    shards, minishards = spec.locate(u64(values))
    for key, shard, minishard in zip(values, shards.tolist(), minishards.tolist(), strict=True):
        expected = theirs(spec).compute_shard_location(key)
        assert (spec.name(shard), minishard) == (f"{expected.shard_number}.shard", expected.minishard_number)


def points(grid: Vec3) -> list[Vec3]:
    return [vec(p) for p in product(*map(range, grid))]


@settings(deadline=None)
@given(grids)
def test_morton_codes_are_those_of_others_and_can_be_undone(grid: Vec3) -> None:
    layout = Layout(Spec(0, 0, 0), grid)
    codes = layout.keys(np.array(points(grid)))
    assert codes.tolist() == compressed_morton_code(points(grid), grid).tolist()
    assert [layout.point(key) for key in codes.tolist()] == points(grid)


def test_morton_codes_have_at_most_64_bits() -> None:
    layout = Layout(Spec(0, 0, 0), (1 << 22, 1 << 21, 1 << 21))
    corner = vec(n - 1 for n in layout.grid)
    assert layout.keys(np.array([corner])).tolist() == [(1 << 64) - 1]
    assert layout.point((1 << 64) - 1) == corner
    with pytest.raises(SpecError, match="more than 64 bits; use larger chunks"):
        Layout(Spec(0, 0, 0), (1 << 22, 1 << 22, 1 << 21))


@pytest.mark.long
@settings(deadline=None)
@given(grids, specs)
def test_shards_are_boxes_as_brute_force_finds_them(grid: Vec3, spec: Spec) -> None:
    layout, members = Layout(spec, grid), dict[int, list[Vec3]]()
    for point in points(grid):
        members.setdefault(layout.number(point), []).append(point)
    if not layout.boxes:
        assert layout.cells == grid
        assert spec.hash != "identity" or sum((spec.preshift_bits, spec.minishard_bits, spec.shard_bits)) < len(
            layout.axes
        )
        with pytest.raises(SpecError, match="is no box"):
            layout.box(0)
        return
    for shard, found in members.items():
        box = layout.box(shard)
        assert sorted(found) == [p for p in points(grid) if Box.sized(p, (1, 1, 1)) in box]
        assert all(
            a % c == 0 and (b % c == 0 or b == n) for a, b, c, n in zip(box.lo, box.hi, layout.cells, grid, strict=True)
        )
    for shard in {1 << spec.shard_bits, *range(1 << spec.shard_bits)} - members.keys():
        with pytest.raises(SpecError, match="is no box"):
            layout.box(shard)


# The bytes of a shard.

chunks = st.dictionaries(keys, st.binary(max_size=40), max_size=30)


def by_shard(spec: Spec, data: dict[int, bytes]) -> dict[int, dict[int, bytes]]:
    found: dict[int, dict[int, bytes]] = {}
    for key, content in data.items():
        found.setdefault(int(spec.locate(u64([key]))[0][0]), {})[key] = content
    return found


def unpack(spec: Spec, shard: int, data: bytes) -> dict[int, bytes]:
    index, found = data[: spec.index_bytes], {}
    for minishard in range(1 << spec.minishard_bits):
        span = sharding.minishard_span(spec, index, minishard, "x")
        if span is not None:
            for key, part in sharding.chunk_spans(spec, shard, minishard, data[slice(*span)], "x").items():
                found[key] = sharding.unpacked(data[slice(*part)], spec.data_encoding, "x")
    return found


@settings(deadline=None)
@given(specs, chunks, st.randoms())
def test_a_shard_is_read_here_and_by_cloudvolume(spec: Spec, data: dict[int, bytes], random: Any) -> None:
    for shard, members in by_shard(spec, data).items():
        packed = sharding.pack(spec, members)
        shuffled = list(members.items())
        random.shuffle(shuffled)
        assert sharding.pack(spec, dict(shuffled)) == packed
        assert unpack(spec, shard, packed) == members
        found = ShardReader(None, None, theirs(spec)).disassemble_shard(packed)
        assert {int(key): bytes(content) for key, content in found.items()} == members


@settings(deadline=None)
@given(specs, chunks.filter(bool))
def test_a_shard_of_cloudvolume_is_read_here(spec: Spec, data: dict[int, bytes]) -> None:
    for shard, members in by_shard(spec, data).items():
        assert unpack(spec, shard, theirs(spec).synthesize_shard(dict(members))) == members


def tensorstore_of(spec: Spec, folder: Path) -> Any:
    tensorstore = pytest.importorskip("tensorstore")
    base = {"driver": "file", "path": f"{folder}/"}
    return tensorstore.KvStore.open(
        {"driver": "neuroglancer_uint64_sharded", "metadata": spec.to_json(), "base": base}
    ).result()


@settings(deadline=None, max_examples=40)
@given(specs, chunks)
def test_tensorstore_reads_every_key_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, spec: Spec, data: dict[int, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    for shard, members in by_shard(spec, data).items():
        (folder / spec.name(shard)).write_bytes(sharding.pack(spec, members))
    store = tensorstore_of(spec, folder)
    for key in {*data, 0, 77, (1 << 64) - 1}:
        found = store.read(key.to_bytes(8, "big")).result()
        assert (bytes(found.value) if found.state == "value" else None) == data.get(key)


@settings(deadline=None, max_examples=25)
@given(specs, st.dictionaries(keys, st.binary(max_size=40), min_size=1, max_size=8))
def test_a_shard_of_tensorstore_is_read_here(
    tmp_path_factory: pytest.TempPathFactory, spec: Spec, data: dict[int, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    store = tensorstore_of(spec, folder)
    for key, content in data.items():
        store.write(key.to_bytes(8, "big"), content).result()
    for shard, members in by_shard(spec, data).items():
        assert unpack(spec, shard, (folder / spec.name(shard)).read_bytes()) == members


# Damage.

SPEC = Spec(0, 1, 0, minishard_index_encoding="raw")


def table(rows: list[list[int]]) -> bytes:
    return np.array(rows, np.int64).astype("<u8").tobytes()


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (table([[0], [0], [5]])[:-1], "23 bytes, no multiple of 24"),
        (table([[1], [0], [5]]), "names chunks that are not its own"),
        (table([[2, 0], [0, 0], [5, 5]]), "names chunks that are not its own"),
        (table([[0], [-1], [5]]), "chunk 0 lies from 31 to 36"),
        (table([[0, 2], [0, -40], [5, 5]]), "chunk 2 lies from -3"),
        (table([[0], [0], [1 << 50]]), "chunk 0 lies from 32 to"),
    ],
)
def test_a_wrong_index_of_a_minishard_is_refused(stored: bytes, said: str) -> None:
    said = said.replace("-3", str(2**64 - 3))
    with pytest.raises(DataError, match=rf"^s3://a/0\.shard: .*{said}.*write it again"):
        sharding.chunk_spans(SPEC, 0, 0, stored, "s3://a/0.shard")


def test_a_torn_index_of_a_minishard_is_refused() -> None:
    spec = Spec(0, 1, 0)
    stored = gzip.compress(table([[0], [0], [5]]))
    assert sharding.chunk_spans(spec, 0, 0, stored, "x") == {0: (32, 37)}
    with pytest.raises(DataError, match="^x, index of minishard 0: not a whole gzip stream"):
        sharding.chunk_spans(spec, 0, 0, stored[:-1], "x")


@pytest.mark.parametrize("entry", [[5, 4], [0, 1 << 60], [-1, 5]])
def test_a_wrong_shard_index_is_refused(entry: list[int]) -> None:
    with pytest.raises(DataError, match="^x: not a shard of this level: minishard 1 lies from"):
        sharding.minishard_span(SPEC, table([[0, 0], entry]), 1, "x")
    assert sharding.minishard_span(SPEC, table([[0, 0], entry]), 0, "x") is None
    with pytest.raises(DataError, match="31 bytes instead of 32"):
        sharding.minishard_span(SPEC, table([[0, 0], entry])[:-1], 0, "x")


# Bits for a level.

sides = st.integers(1, 20_000)
levels = st.tuples(st.tuples(sides, sides, sides), st.tuples(*[st.integers(1, 130)] * 3), st.sampled_from((1, 4, 8)))


def held(spec: Spec, shape: Vec3, chunk: Vec3) -> Vec3:
    """The voxels of the largest shard along each axis."""
    grid = vec(ceil_div(n, c) for n, c in zip(shape, chunk, strict=True))
    return vec(min(n, c * k) for n, c, k in zip(shape, chunk, Layout(spec, grid).cells, strict=True))


@settings(deadline=None)
@given(levels, st.integers(10, 35))
def test_shards_are_as_large_as_memory_and_indices_allow(level: tuple[Vec3, Vec3, int], bits: int) -> None:
    shape, chunk, voxel_bytes = level
    memory = max(1 << bits, prod(chunk) * voxel_bytes)
    spec = spec_for(shape, chunk, voxel_bytes, memory)
    layout = Layout(spec, vec(ceil_div(n, c) for n, c in zip(shape, chunk, strict=True)))
    assert layout.boxes
    assert prod(held(spec, shape, chunk)) * voxel_bytes <= memory
    assert spec.index_bytes <= 8192
    assert spec.preshift_bits <= 11
    assert spec.preshift_bits == 11 or not spec.minishard_bits
    assert spec.preshift_bits + spec.minishard_bits + spec.shard_bits == len(layout.axes)
    inside = spec.preshift_bits + spec.minishard_bits
    if spec.shard_bits and inside < 20:
        larger = Spec(inside + 1, 0, spec.shard_bits - 1)
        assert prod(held(larger, shape, chunk)) * voxel_bytes > memory
    expected = image_shard_shape_from_spec(spec.to_json(), shape, chunk)
    assert tuple(min(n, int(e)) for n, e in zip(shape, expected, strict=True)) == held(spec, shape, chunk)


@pytest.mark.parametrize(
    ("shape", "chunk", "voxel_bytes", "bits", "cells"),
    [  # levels of published volumes, for which others once chose too few bits
        ((1536, 1408, 2046), (128, 128, 64), 1, (11, 1, 1), (1536, 1408, 1024)),
        ((3072, 2816, 2046), (128, 128, 64), 4, (9, 0, 6), (1024, 1024, 512)),
        ((40960, 40960, 990), (128, 128, 20), 1, (11, 2, 11), (4096, 2048, 320)),
        ((10240, 10240, 990), (128, 128, 20), 1, (11, 2, 7), (4096, 2048, 320)),
    ],
)
def test_published_levels(shape: Vec3, chunk: Vec3, voxel_bytes: int, bits: Vec3, cells: Vec3) -> None:
    spec = spec_for(shape, chunk, voxel_bytes, 3_500_000_000)
    assert (spec.preshift_bits, spec.minishard_bits, spec.shard_bits) == bits
    assert held(spec, shape, chunk) == cells


def test_a_chunk_that_is_larger_than_memory_is_refused() -> None:
    with pytest.raises(SpecError, match="give more memory or smaller chunks"):
        spec_for((1000, 1000, 1000), (64, 64, 64), 8, 64**3 * 8 - 1)
    spec_for((1000, 1000, 1000), (64, 64, 64), 8, 64**3 * 8)
