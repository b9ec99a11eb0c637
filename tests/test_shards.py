"""Sharded levels: the same voxels here, in CloudVolume and in TensorStore, and no silent blanks."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import remote, shards
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import info as infos
from igneous_ng.formats.info import Info, new_info, shard_box, shard_number, sharded
from igneous_ng.formats.sharding import Spec
from igneous_ng.geometry import Box, Grid, Vec3
from igneous_ng.io import IO
from igneous_ng.store import Compression, Store, Written
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
BOUNDS = Box((-5, 3, -20), (8, 14, -9))
BOXES = Spec(1, 1, 6)


def info(spec: Spec, bounds: Box = BOUNDS, chunk: Vec3 = (4, 4, 4), **other: Any) -> Info:
    fields = {"kind": "image", "dtype": "uint16", "channels": 1, "resolution": (4, 4, 40), "encoding": "raw", **other}
    made = new_info(bounds=bounds, chunk=chunk, **fields)
    return replace(made, scales=(made.scales[0].with_sharding(spec),))


def volume(place: str | Path, made: Info, **other: Any) -> Volume:
    """A new layer of one sharded level."""
    path = place if isinstance(place, str) else f"file://{place}"
    io = IO()
    io.create_layer(path, made)
    return Volume(path, 0, made, io.store, **other)


def voxels(made: Info, seed: int = 0) -> Array:
    """Labels in lumps, zeros among them."""
    rng, (x, y, z) = np.random.default_rng(seed), made.scales[0].bounds.shape
    lumps = rng.integers(0, 4, (x // 3 + 1, y // 3 + 1, z // 3 + 1, made.channels))
    array = lumps.repeat(3, 0).repeat(3, 1).repeat(3, 2)[:x, :y, :z]
    return np.asfortranarray(array * (array + 20)).astype(made.dtype)


def write(made: Volume, array: Array, seed: int = 0, **other: Any) -> list[Written]:
    """Write all that can be written on its own, by itself, in some order."""
    cells = list(Grid(made.bounds, made.granularity))
    random.Random(seed).shuffle(cells)
    return [w for c in cells for w in made.write(c, array[c.slices(made.bounds.lo)], "gzip", **other)]


def files(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.rglob("*.shard")}


def cloudvolume(made: Volume, **other: Any) -> Array:
    from cloudvolume import CloudVolume

    return np.asarray(CloudVolume(made.path, progress=False, **other)[made.bounds.slices()])


def tensorstore(made: Volume) -> Array:
    opener = pytest.importorskip("tensorstore").open
    kvstore = {"driver": "file", "path": made.path.removeprefix("file://") + "/"}
    opened = opener({"driver": "neuroglancer_precomputed", "kvstore": kvstore}).result()
    assert opened.domain.origin[:3] == made.bounds.lo
    return np.asarray(opened.read().result())


packings = st.sampled_from(("raw", "gzip"))
hashes = st.sampled_from(("identity", "identity", "murmurhash3_x86_128"))
specs = st.builds(Spec, st.integers(0, 5), st.integers(0, 3), st.integers(0, 16), hashes, packings, packings)


@st.composite
def layers(draw: st.DrawFn) -> Info:
    lo, shape = draw(st.tuples(*[st.integers(-30, 30)] * 3)), draw(st.tuples(*[st.integers(1, 17)] * 3))
    chunk = draw(st.tuples(*[st.integers(3, 9)] * 3))
    encodings = {"uint8": "raw", "uint64": "compressed_segmentation", "uint32": "raw", "float32": "raw"}
    dtype, encoding = draw(st.sampled_from(list(encodings.items())))
    return info(
        draw(specs), Box.sized(lo, shape), chunk, dtype=dtype, encoding=encoding, channels=draw(st.integers(1, 2))
    )


@settings(deadline=None, max_examples=25)
@given(layers(), st.data())
def test_any_sharding_holds_the_same_voxels_everywhere(
    tmp_path_factory: pytest.TempPathFactory, made: Info, data: st.DataObject
) -> None:
    layer, array = volume(tmp_path_factory.mktemp("layer"), made), voxels(made)
    written = write(layer, array)
    assert len({one.url for one in written}) == len(written)
    found, fingerprint = layer.read(layer.bounds)
    assert np.array_equal(found, array)
    assert np.array_equal(tensorstore(layer), array)
    if made.channels == 1 or (made.scales[0].encoding == "raw" and layer.bounds.voxels > 1):
        # Of several channels it knows no other encoding, and fails at a single voxel.
        assert np.array_equal(cloudvolume(layer), array)
    plain = replace(made, scales=(made.scales[0].with_sharding(None),))
    unsharded = volume(tmp_path_factory.mktemp("layer"), plain)
    write(unsharded, array)
    assert unsharded.read(layer.bounds)[1] == fingerprint
    sides = [sorted(data.draw(st.tuples(*[st.integers(a, b)] * 2))) for a, b in zip(*_ends(layer), strict=True)]
    box = Box((sides[0][0], sides[1][0], sides[2][0]), (sides[0][1], sides[1][1], sides[2][1]))
    assert np.array_equal(layer.read(box)[0], array[box.slices(layer.bounds.lo)])


def _ends(layer: Volume) -> tuple[Vec3, Vec3]:
    return layer.bounds.lo, layer.bounds.hi


@pytest.mark.parametrize(
    ("encoding", "dtype", "parameters"),
    [
        ("jpeg", "uint8", {"jpeg_quality": 80}),
        ("jxl", "uint8", {"jxl_quality": 100}),
        ("fpzip", "float32", {}),
        ("zfpc", "float32", {}),
        ("compresso", "uint32", {}),
        ("crackle", "uint64", {}),
        ("compressed_segmentation", "uint32", {"compressed_segmentation_block_size": [4, 4, 2]}),
    ],
)
def test_shards_hold_every_encoding(tmp_path: Path, encoding: str, dtype: str, parameters: dict[str, Any]) -> None:
    made = new_info(
        kind="image",
        dtype=dtype,
        channels=1,
        bounds=BOUNDS,
        resolution=(4, 4, 40),
        chunk=(4, 5, 6),
        encoding=encoding,
        parameters=parameters,
    )
    made = replace(made, scales=(sharded(made.scales[0], made.dtype.itemsize, 2000),))
    spec = made.scales[0].sharding
    assert spec is not None
    assert spec.data_encoding == ("raw" if encoding in ("jpeg", "jxl") else "gzip")
    layer, array = volume(tmp_path, made), voxels(made)
    write(layer, array)
    found = layer.read(BOUNDS)[0]
    assert np.array_equal(found, array) or encoding == "jpeg"
    assert np.abs(cloudvolume(layer).astype(float) - found).max() <= (2 if encoding == "jpeg" else 0)


@pytest.mark.parametrize("memory", [500, 4000, 50_000])
def test_what_cloudvolume_shards_is_read(tmp_path: Path, memory: int) -> None:
    from cloudvolume import CloudVolume
    from cloudvolume.datasource.precomputed.sharding import compute_shard_params_for_image

    spec = compute_shard_params_for_image(BOUNDS.shape, (4, 4, 4), "raw", "uint16", memory)
    made = info(Spec.parse(json.loads(spec.to_json())))
    layer, array = volume(tmp_path, made), voxels(made)
    other = CloudVolume(layer.path, progress=False)
    for cell in Grid(BOUNDS, layer.granularity):
        name, data = other.image.make_shard(array[cell.slices(BOUNDS.lo)], list(cell.lo + cell.hi), mip=0)
        layer.store.put(f"{layer.path}/{layer.scale.key}/{name}", data)
        assert name == spec_of(layer).name(shard_number(layer.scale, cell))
    assert np.array_equal(layer.read(BOUNDS)[0], array)


def spec_of(layer: Volume) -> Spec:
    assert layer.scale.sharding is not None
    return layer.scale.sharding


# Boxes and shards.


def test_granularity_is_a_chunk_or_a_shard(tmp_path: Path) -> None:
    layer = volume(tmp_path, info(BOXES))
    assert layer.granularity == (8, 8, 4)
    assert Volume("x", 0, info(Spec(0, 0, 9)), Store()).granularity == (4, 4, 4)
    assert Volume("x", 0, info(Spec(9, 9, 0)), Store()).granularity == (16, 16, 16)
    assert Volume("x", 0, info(Spec(0, 0, 9, "murmurhash3_x86_128")), Store()).granularity == (16, 12, 12)
    plain = layer.scale.with_sharding(None)
    assert plain.granularity == plain.chunk
    cells = list(Grid(BOUNDS, layer.granularity))
    numbers = [shard_number(layer.scale, cell) for cell in cells]
    assert [shard_box(layer.scale, number) for number in numbers] == cells
    for call in (lambda: shard_box(plain, 0), lambda: shard_number(plain, BOUNDS)):
        with pytest.raises(SpecError, match="has no shards"):
            call()


def test_one_object_a_shard_the_same_in_any_order(tmp_path: Path) -> None:
    made = info(BOXES)
    array, seen = voxels(made), []
    for seed in range(3):
        layer = volume(tmp_path / str(seed), made)
        written = write(layer, array, seed)
        seen.append(files(tmp_path / str(seed)))
        assert len(seen[0]) == len(Grid(BOUNDS, layer.granularity)) == len(written)
        assert {one.url.rpartition("/")[2]: one.stored for one in written} == seen[0]
    layer = volume(tmp_path / "whole", made)
    layer.write(BOUNDS, array, "none")
    assert [*seen, files(tmp_path / "whole")] == 4 * seen[:1]


@pytest.mark.parametrize("box", ["-5:-1,3:11,-20:-16", "-5:3,3:10,-20:-16", "-1:8,3:14,-20:-9", "-5:3,3:11,-20:-17"])
def test_parts_of_shards_are_not_written(tmp_path: Path, box: str) -> None:
    layer, cut = volume(tmp_path, info(BOXES)), Box.parse(box)
    with pytest.raises(SpecError, match=r"not made of whole shards of \(8, 8, 4\)"):
        layer.write(cut, np.zeros((*cut.shape, 1), np.uint16), "none")
    assert files(tmp_path) == {}


def test_shards_know_no_brotli(tmp_path: Path) -> None:
    layer = volume(tmp_path, info(BOXES))
    hows: tuple[Compression, ...] = ("brotli", "zstd")
    for how in hows:
        with pytest.raises(SpecError, match=f"is sharded, and shards know no {how}; use gzip, or none"):
            layer.write(BOUNDS, voxels(layer.info), how)
    assert files(tmp_path) == {}


# What is not there.


def test_background_is_stored_unless_it_is_to_be_left_out(tmp_path: Path) -> None:
    made = info(BOXES)
    array = voxels(made) + np.uint16(1)
    hole = Box((-5, 3, -20), (-1, 7, -16))  # one chunk of two in its shard
    empty = Box((3, 3, -20), (8, 11, -16))  # a shard
    for box in (hole, empty):
        array[box.slices(BOUNDS.lo)] = 0
    layer, filled = volume(tmp_path, made), replace_fill(tmp_path, made)
    write(layer, array)
    whole = files(tmp_path)
    assert np.array_equal(layer.read(BOUNDS)[0], array)
    written = write(layer, array, delete_background=True)
    assert whole.keys() - files(tmp_path).keys() == {spec_of(layer).name(shard_number(layer.scale, empty))}
    assert len(written) == len(whole) - 1
    for box in (hole, empty):
        with pytest.raises(DataError, match=rf"mip 0: the chunk {box_in(box)} is missing.*--fill-missing"):
            layer.read(box & Box(box.lo, (6, 7, -16)))
    assert np.array_equal(filled.read(BOUNDS)[0], array)
    assert np.array_equal(cloudvolume(layer, fill_missing=True), array)
    write(layer, np.zeros_like(array), delete_background=True)
    assert files(tmp_path) == {}


def box_in(box: Box) -> Box:
    """The first chunk of a box that is made of chunks."""
    return Box.sized(box.lo, (4, 4, 4)) & box


def replace_fill(path: Path, made: Info) -> Volume:
    return Volume(f"file://{path}", 0, made, Store(), fill_missing=True)


def test_background_chunks_of_their_own_may_be_left_out_too(tmp_path: Path) -> None:
    made = info(BOXES)
    plain = replace(made, scales=(made.scales[0].with_sharding(None),))
    layer, array = volume(tmp_path, plain), voxels(plain) + np.uint16(1)
    layer.write(BOUNDS, array, "gzip")
    array[:4, :4, :4] = 0
    assert len(layer.write(BOUNDS, array, "gzip", delete_background=True)) == 4 * 3 * 3 - 1
    with pytest.raises(DataError, match="the chunk -5:-1,3:7,-20:-16 is missing"):
        layer.read(BOUNDS)
    assert np.array_equal(replace_fill(tmp_path, plain).read(BOUNDS)[0], array)


# Damage.


@pytest.mark.parametrize("packing", ["raw", "gzip"])
def test_a_torn_shard_is_named_and_never_read_as_something_else(tmp_path: Path, packing: Any) -> None:
    made = info(Spec(1, 1, 9, data_encoding=packing, minishard_index_encoding=packing))
    layer, array = replace_fill(tmp_path, made), voxels(made)
    write(layer, array)
    cell = Box((-5, 3, -20), (3, 11, -16))
    path = tmp_path / layer.scale.key / spec_of(layer).name(shard_number(layer.scale, cell))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=rf"{path}.*write"):
            layer.read(cell)
    for bit in range(0, 8 * 32, 3):  # of the shard index
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(DataError, match=str(path)):
            layer.read(cell)


def test_a_damaged_chunk_in_a_shard_is_named(tmp_path: Path) -> None:
    made = info(Spec(1, 1, 9, data_encoding="raw"), encoding="compressed_segmentation", dtype="uint32")
    layer, array = replace_fill(tmp_path, made), voxels(made)
    write(layer, array)
    path = tmp_path / layer.scale.key / spec_of(layer).name(0)
    data = bytearray(path.read_bytes())
    data[32:40] = b"\xff" * 8  # the head of its first chunk
    path.write_bytes(data)
    with pytest.raises(DataError, match="mip 0: chunk -5:-1,3:7,-20:-16: .* no compressed_segmentation chunk"):
        layer.read(BOUNDS)


@pytest.mark.parametrize(
    "change", [{"hash": "md5"}, {"preshift_bits": -1}, {"@type": "other"}, {"minishard_bits": None}], ids=str
)
def test_an_info_with_wrong_sharding_is_refused(change: dict[str, Any]) -> None:
    raw = info(BOXES).to_json()
    assert infos.parse(raw, "x") == info(BOXES)
    raw["scales"][0]["sharding"] = {**raw["scales"][0]["sharding"], **change}
    with pytest.raises(DataError, match="^x: not the info of a Precomputed volume .*sharding"):
        infos.parse(raw, "x")


# Requests.


class Requests:
    """What is asked of a remote store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spans: list[tuple[str, tuple[int, int] | None]] = []
        read = remote.read

        def counting(url: str, span: tuple[int, int] | None) -> bytes | None:
            self.spans.append((url, span))
            return read(url, span)

        monkeypatch.setattr(remote, "read", counting)

    def take(self) -> int:
        count = len(self.spans)
        self.spans.clear()
        return count


def test_indices_are_kept_and_chunks_that_lie_together_are_one_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = info(Spec(2, 1, 6))
    layer, array = volume(f"mem://shards/{tmp_path.name}", made), voxels(made)
    write(layer, array)
    requests, cells = Requests(monkeypatch), len(Grid(BOUNDS, layer.granularity))
    assert np.array_equal(layer.read(BOUNDS)[0], array)
    first = requests.take()
    assert np.array_equal(layer.read(BOUNDS)[0], array)
    again = requests.take()
    assert first - again >= 2 * cells  # an index of each shard, and one of each of its minishards
    assert again <= 2 * cells
    monkeypatch.setattr(shards, "_RUN_BYTES", 0)
    assert np.array_equal(layer.read(BOUNDS)[0], array)
    assert requests.take() == layer.scale.grid[0] * layer.scale.grid[1] * layer.scale.grid[2]
    write(layer, array + np.uint16(1000))  # other lengths, other places
    assert np.array_equal(layer.read(BOUNDS)[0], array + np.uint16(1000))


def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igneous_ng.store._KEPT_BYTES", 100)
    store, place = Store(), f"mem://kept/{tmp_path.name}"
    for name in "abc":
        store.put(f"{place}/{name}", name.encode() * 50)
    requests = Requests(monkeypatch)
    for name, asked in (("a", 1), ("b", 1), ("a", 0), ("c", 1), ("a", 0), ("b", 1), ("c", 1)):
        assert store.recall(f"{place}/{name}", (0, 40)) == name.encode() * 40
        assert requests.take() == asked, name
    assert store.recall(f"{place}/absent", (0, 40)) is None
    store.put(f"{place}/absent", b"there now")
    assert store.recall(f"{place}/absent", (0, 5)) == b"there"
    store.delete(f"{place}/absent")
    assert store.recall(f"{place}/absent", (0, 5)) is None
