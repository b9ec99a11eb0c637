"""What is exported is the graph of the whole volume, chunk by chunk, as protobuf, npz and Parquet read it."""

from __future__ import annotations

import gzip
import io as files_of
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import chunked_graph
from igneous_ng.geometry import Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import supervoxel_ids
from igneous_ng.segmentation import Supervoxels
from igneous_ng.stages.segment_export import Export
from tests import segmentations
from tests.layers import files, whole

SHAPE, LEAF, LOW = (13, 11, 9), (8, 4, 8), (-3, 5, 2)
Edge = tuple[int, int, float, int]


def made(folder: Path) -> tuple[str, dict[int, int], dict[tuple[int, int], tuple[float, int, bool]]]:
    """A layer with a graph: its URL, the segment of each supervoxel, and of each edge mean, faces and must."""
    segments = np.random.default_rng(1).integers(0, 9, (5, 4, 3)).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    layer, segmentation = segmentations.agglomerated(folder / "sv", segments[tuple(map(slice, SHAPE))], LEAF, LOW)
    voxels = whole(folder / "sv")[..., 0]
    of = dict(zip(voxels.ravel().tolist(), segmentation.ravel().tolist(), strict=True))
    graph = segmentations.graph(voxels, segmentations.affinities(SHAPE))
    known, rows = Supervoxels(IO(), layer), dict[Vec3, list[list[int]]]()
    expected = {}
    for (u, v), edge in sorted(graph.items()):
        place = np.unravel_index(edge.key // 3, SHAPE, order="F")
        leaf = vec(int(p) // c for p, c in zip(place, LEAF, strict=True))
        must = len({at_of(u), at_of(v)}) == 2 and of[u] == of[v] and edge.key % 2
        row = [u, v, sum(edge.values), len(edge.values), edge.key, must, max(edge.values)]
        rows.setdefault(leaf, []).append(row)
        expected[u, v] = row[2] / row[3] / 255, row[3], bool(must)
    for box in known.plan.grid:
        found = rows.get(known.plan.at(box), [])
        columns = {}
        for i, name in enumerate(("u", "v", "sum", "num", "key", "must", "max")):
            dtype = np.uint64 if i < 2 else np.int64 if i < 5 else np.uint8
            columns[name] = np.array([row[i] for row in found], dtype)
        known.put("graph", known.plan.at(box), columns)
    known.done("graph")
    return layer, of, expected


def at_of(supervoxel: int) -> Vec3:
    return vec(supervoxel_ids.places(np.array([supervoxel], np.uint64), supervoxel_ids.FEWEST)[0])


def fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message, all of which have lengths."""
    stream = files_of.BytesIO(data)
    while stream.tell() < len(data):
        head = varint(stream)
        assert head & 7 == 2
        yield head >> 3, stream.read(varint(stream))


def varint(stream: files_of.BytesIO) -> int:
    value = shift = 0
    while True:
        byte = stream.read(1)[0]
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value


def edges(data: bytes) -> list[Edge]:
    columns = dict(fields(data))
    types = {1: "<u8", 2: "<u8", 3: "<f4", 4: "<u8"}
    parts = [np.frombuffer(columns.get(number, b""), dtype).tolist() for number, dtype in types.items()]
    return list(zip(*parts, strict=True))


def components(data: bytes) -> list[list[int]]:
    found, (packed,) = list[list[int]](), [part for _, part in fields(data)] or [b""]
    stream = files_of.BytesIO(packed)
    while stream.tell() < len(packed):
        found.append([varint(stream) for _ in range(varint(stream))])
    return found


def test_chunks_hold_the_graph(tmp_path: Path) -> None:
    layer, of, expected = made(tmp_path)
    run.inline(Export(supervoxels=layer, dest=f"{tmp_path}/out"))
    kinds: dict[int, list[Edge]] = {1: [], 2: [], 3: []}
    for box in Supervoxels(IO(), layer).plan.grid:
        at = Supervoxels(IO(), layer).plan.at(box)
        name = "_".join(map(str, at))
        stored = (tmp_path / f"out/edges/edges_{name}.proto.zst").read_bytes()
        read = {number: edges(part) for number, part in fields(zstandard.ZstdDecompressor().decompress(stored))}
        assert list(read) == [1, 2, 3]
        assert all(at_of(edge[0]) == at for part in read.values() for edge in part)
        assert all((at_of(edge[1]) == at) == (number == 1) for number, part in read.items() for edge in part)
        assert all([edge[:2] for edge in part] == sorted(edge[:2] for edge in part) for part in read.values())
        for number, part in read.items():
            kinds[number] += part
        packed = (tmp_path / f"out/components/components_{name}.proto.gz").read_bytes()
        groups = components(gzip.decompress(packed))
        near = {one for one in of if one and at_of(one) == at} | {edge[1] for part in read.values() for edge in part}
        wanted = [sorted(one for one in near if of[one] == segment) for segment in sorted({of[one] for one in near})]
        assert groups == [group for group in wanted if len(group) > 1]
    inside = {pair: told for pair, told in expected.items() if at_of(pair[0]) == at_of(pair[1])}
    assert {edge[:2]: edge[3] for edge in kinds[1]} == {pair: told[1] for pair, told in inside.items()}
    outside = {pair: told for pair, told in expected.items() if pair not in inside}
    for number, must in ((2, True), (3, False)):
        pairs = [pair for pair, told in outside.items() if told[2] == must]
        assert pairs
        assert sorted(edge[:2] for edge in kinds[number]) == sorted([*pairs, *(pair[::-1] for pair in pairs)])
    for one, other, affinity, area in kinds[1] + kinds[3]:
        mean, num, _ = expected[min(one, other), max(one, other)]
        assert affinity == float(np.float32(mean))
        assert area == num
    assert {edge[2] for edge in kinds[2]} == {np.inf}
    told = json.loads((tmp_path / "out/graph.json").read_text())
    assert (told["chunk_size"], told["voxel_offset"], told["s_bits_atomic_layer"]) == ([*LEAF], [*LOW], 10)


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_varints(numbers: list[int]) -> None:
    stream = files_of.BytesIO(chunked_graph.varints(np.array(numbers, np.uint64)))
    assert [varint(stream) for _ in numbers] == numbers
    assert not stream.read()


def test_the_library_reads_the_same(tmp_path: Path) -> None:
    descriptor: Any = pytest.importorskip("google.protobuf.descriptor_pb2")
    factory: Any = pytest.importorskip("google.protobuf.message_factory")
    file = descriptor.FileDescriptorProto(name="edges.proto", syntax="proto3", package="edges")
    for message, names, kind in (("Edges", ("node_ids1", "node_ids2", "affinities", "areas"), 12),
                                 ("Chunk", ("in_chunk", "cross_chunk", "between_chunk"), 11)):  # fmt: skip
        one = file.message_type.add(name=message)
        for number, name in enumerate(names, 1):
            more = {"type_name": ".edges.Edges"} if kind == 11 else {}
            one.field.add(name=name, number=number, type=kind, label=1, **more)
    chunk = factory.GetMessages([file])["edges.Chunk"]
    layer, _, _ = made(tmp_path)
    run.inline(Export(supervoxels=layer, dest=f"{tmp_path}/out"))
    for path in (tmp_path / "out/edges").iterdir():
        data = zstandard.ZstdDecompressor().decompress(path.read_bytes())
        read = chunk.FromString(data)
        assert read.SerializeToString(deterministic=True) == data
        assert len(read.in_chunk.node_ids1) == len(read.in_chunk.areas) == 2 * len(read.in_chunk.affinities)


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_tables_have_each_edge_once(tmp_path: Path, form: Any) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    layer, of, expected = made(tmp_path)
    run.inline(Export(supervoxels=layer, dest=f"{tmp_path}/out", format=form))

    def rows(kind: str, names: tuple[str, ...]) -> list[tuple[int, ...]]:
        found = []
        for path in sorted((tmp_path / "out").glob(f"{kind}_*.{form}")):
            table = dict(np.load(path)) if form == "npz" else parquet(path)
            found += list(zip(*(table[name].tolist() for name in names), strict=True))
        return found

    assert sorted(rows("edges", ("u", "v", "num", "must"))) == [(*pair, n, m) for pair, (_, n, m) in expected.items()]
    assert dict(rows("nodes", ("id", "segment"))) == {one: segment for one, segment in of.items() if one}  # type: ignore[arg-type]


def parquet(path: Path) -> dict[str, Any]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


@pytest.mark.parametrize("form", ["pychunkedgraph", "npz", "parquet"])
def test_units_again_and_in_any_order_leave_the_same_bytes(tmp_path: Path, form: Any) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    layer, _, _ = made(tmp_path)
    stage, io = Export(supervoxels=layer, dest=f"{tmp_path}/out", format=form), IO()
    run.inline(stage)
    before = files(tmp_path / "out")
    for unit in reversed(stage.units(io)):
        stage.execute(unit, io)
    assert files(tmp_path / "out") == before


def test_wrong_requests(tmp_path: Path) -> None:
    layer, _, _ = made(tmp_path)
    with pytest.raises(SpecError, match="another place"):
        Export(supervoxels=layer, dest=f"{layer}/out")
    with pytest.raises(DataError, match="segment agglomerate"):
        run.inline(Export(supervoxels=layer, dest=f"{tmp_path}/out", agglomeration="none"))
    (tmp_path / "sv/segment/done/graph.json").unlink()
    with pytest.raises(DataError, match="segment graph"):
        run.inline(Export(supervoxels=layer, dest=f"{tmp_path}/out"))
