"""Records of annotations: hypothesis round trips, and the bytes as the specification says them."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import annotation_columns, parquet_lists, portions, sharding
from igneous_ng.formats import annotations as layer_format
from igneous_ng.formats.annotations import POINTS, TYPES, VALUES, Property, Reader
from igneous_ng.formats.pieces import Lists, Pieces, ends_of
from igneous_ng.formats.portions import Entries
from igneous_ng.formats.sharding import Spec

single = st.floats(width=32, allow_nan=False, allow_infinity=False)
ids = st.lists(st.integers(0, 2**64 - 1), max_size=4)


def value(kind: str) -> st.SearchStrategy[Any]:
    if kind == "float32":
        return single
    code, width = VALUES[kind]
    limits = np.iinfo(code)
    one = st.integers(int(limits.min), int(limits.max))
    return one if width == 1 else st.lists(one, min_size=width, max_size=width)


@st.composite
def layers(draw: st.DrawFn) -> tuple[Any, ...]:
    """A kind, properties, relationships, and annotations."""
    kind = draw(st.sampled_from(list(TYPES)))
    types = draw(st.lists(st.sampled_from(list(VALUES)), max_size=6))
    properties = tuple(Property(f"p{i}", one) for i, one in enumerate(types))
    count, related = draw(st.integers(0, 5)), draw(st.integers(0, 3))
    shapes = []
    for _ in range(count):
        n = POINTS.get(kind) or draw(st.integers(1, 4))
        shapes.append(draw(st.lists(st.tuples(single, single, single), min_size=n, max_size=n)))
    values = [[draw(value(one)) for one in types] for _ in range(count)]
    segments = [[draw(ids) for _ in range(related)] for _ in range(count)]
    return kind, properties, related, shapes, values, segments


def encoded(kind: Any, properties: Any, related: int, shapes: Any, values: Any, segments: Any) -> tuple[Pieces, Pieces]:
    points = np.array([point for shape in shapes for point in shape], np.float32).reshape(-1, 3)
    columns = {one.id: np.array([row[i] for row in values], VALUES[one.type][0]) for i, one in enumerate(properties)}
    columns = {one.id: columns[one.id] if len(values) else annotations_none(one) for one in properties}
    found = layer_format.records(
        kind, points, ends_of(np.array([len(s) for s in shapes], np.int64)), properties, columns
    )
    lists = [Lists(np.array([x for row in segments for x in row[i]], np.uint64),
                   ends_of(np.array([len(row[i]) for row in segments], np.int64))) for i in range(related)]  # fmt: skip
    return found, layer_format.by_id(found, lists)


def annotations_none(one: Property) -> Any:
    code, width = VALUES[one.type]
    return np.zeros((0, width) if width > 1 else 0, code)


@settings(deadline=None)
@given(layers())
def test_what_was_written_is_read(layer: tuple[Any, ...]) -> None:
    kind, properties, related, shapes, values, segments = layer
    found, one_by_one = encoded(*layer)
    reader = Reader(kind, properties, related)
    for i, shape in enumerate(shapes):
        one = reader.one(one_by_one[i], "here")
        assert np.array_equal(one.points, np.array(shape, np.float32))
        assert list(one.values.values()) == values[i]
        assert one.related == tuple(map(tuple, segments[i]))
        assert len(found[i]) % 4 == 0
    numbers = np.arange(7, 7 + len(shapes), dtype=np.uint64)
    listed = layer_format.lists(found, numbers, np.array([0, len(shapes)]))
    many = reader.many(listed[0], "here")
    assert list(many) == numbers.tolist()
    assert all(
        np.array_equal(one.points, np.array(s, np.float32)) for one, s in zip(many.values(), shapes, strict=True)
    )


def test_the_bytes_are_those_of_the_specification() -> None:
    properties = (Property("a", "uint8"), Property("b", "uint16"), Property("c", "rgb"), Property("d", "float32"))
    columns = {"a": np.array([9]), "b": np.array([515]), "c": np.array([[1, 2, 3]]), "d": np.array([1.5])}
    found = layer_format.records("line", np.arange(6).reshape(2, 3), np.array([0, 2]), properties, columns)
    words = struct.pack("<6f", *range(6)) + struct.pack("<fHB3B", 1.5, 515, 9, 1, 2, 3) + b"\0\0"
    assert found[0] == words
    segments = Lists(np.array([5, 1 << 63], np.uint64), np.array([0, 2]))
    assert layer_format.by_id(found, [segments])[0] == words + struct.pack("<IQQ", 2, 5, 1 << 63)
    assert layer_format.lists(found, np.array([77], np.uint64), np.array([0, 1]))[0] == struct.pack(
        "<Q", 1
    ) + words + struct.pack("<Q", 77)
    line = layer_format.records("polyline", np.arange(6).reshape(2, 3), np.array([0, 2]), (), {})
    assert line[0] == struct.pack("<I6f", 2, *range(6))


def test_torn_bytes_are_refused() -> None:
    reader = Reader("point", (Property("a", "uint8"),), 1)
    found = layer_format.records("point", np.zeros((1, 3)), np.array([0, 1]), reader.properties, {"a": np.array([1])})
    whole = layer_format.by_id(found, [Lists(np.array([5], np.uint64), np.array([0, 1]))])[0]
    for torn in (whole[:-1], whole + b"\0", b""):
        with pytest.raises(DataError, match="there: not an annotation"):
            reader.one(torn, "there")
        with pytest.raises(DataError, match="there: not a list"):
            reader.many(torn[:7] or b"\1" * 8, "there")


@pytest.mark.parametrize(("make", "said"), [
    (lambda: Property("Size", "uint8"), "begin with a small letter"),
    (lambda: Property("size", "int8"), "size:int16"),
    (lambda: Property("size", "uint64"), "none of"),
    (lambda: Property("size", "rgb", (1,), ("one",)), "no named values"),
    (lambda: layer_format.layout([Property(f"p{i}", "float32") for i in range(51)]), "properties of 204 bytes"),
    (lambda: layer_format.layout([Property("a", "uint8")] * 2), "asked for twice"),
])  # fmt: skip
def test_what_clients_cannot_read_is_refused(make: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make()


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 2**64 - 1), st.binary(max_size=9), min_size=1, max_size=30),
       st.sampled_from(["raw", "gzip"]), st.sampled_from(["identity", "murmurhash3_x86_128"]))  # fmt: skip
def test_a_shard_laid_from_arrays_is_the_one_joined_from_chunks(
    chunks: dict[int, bytes], packing: Any, how: Any
) -> None:
    spec = Spec(3, 4, 0, how, data_encoding=packing)
    keys = np.array(list(chunks), np.uint64)
    data = Pieces.sized(np.frombuffer(b"".join(chunks.values()), np.uint8), np.array([len(c) for c in chunks.values()]))
    assert sharding.laid(spec, keys, sharding.packed_each(data, packing)) == sharding.pack(spec, chunks)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2**64 - 1), st.binary(max_size=9)), max_size=30))
def test_each_portion_has_its_entries(rows: list[tuple[int, int, bytes]]) -> None:
    keys = np.array([key for _, key, _ in rows], np.uint64)
    payloads = Pieces.sized(
        np.frombuffer(b"".join(p for _, _, p in rows), np.uint8), np.array([len(p) for _, _, p in rows], np.int64)
    )
    data = portions.pack(
        Entries(keys, keys + np.uint64(1), payloads), np.array([home for home, _, _ in rows], np.int64), 5
    )
    for home in range(5):
        start, stop = portions.portion_span(data[slice(*portions.table_span(home))], "here")
        found = portions.unpack(data[start:stop], "here")
        told = [(key, found.payloads[i]) for i, key in enumerate(found.keys.tolist())]
        assert told == [(key, payload) for one, key, payload in rows if one == home]
        if stop > start:
            torn = bytearray(data[start:stop])
            torn[-1] ^= 1
            with pytest.raises(DataError, match="here: a portion is damaged"):
                portions.unpack(bytes(torn), "here")


def test_texts_keep_large_ids_and_lists() -> None:
    text = f"id, x,y,z,segments,hue\n{2**64 - 1},1,2.5,-3,{2**63 + 1};7,#ff0001\n5,1,2,3,,#000000\n".encode()
    found = annotation_columns.parse_text(text, "t.csv", {"segments"})
    assert found["id"].tolist() == [2**64 - 1, 5]  # type: ignore[union-attr]
    segments = found["segments"]
    assert isinstance(segments, Lists)
    assert (segments.values.tolist(), segments.ends.tolist()) == ([2**63 + 1, 7], [0, 2, 2])
    assert annotation_columns.kind_of(found, "t.csv") == "point"
    with pytest.raises(DataError, match="row 1 has 1 cells"):
        annotation_columns.parse_text(b"a,b\n1\n", "t.csv", ())


def test_lists_of_parquet_are_flat(tmp_path: Any) -> None:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    points, post = [[[1.0, 2, 3], [4, 5, 6]], [[7, 8, 9]], []], [[1], [], [2**63 + 1, 3]]
    types = {"points": arrow.list_(arrow.list_(arrow.float64(), 3)), "post": arrow.list_(arrow.uint64())}
    table = arrow.table({"points": arrow.array(points, types["points"]), "post": arrow.array(post, types["post"])})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    assert [rows for rows, _ in parquet_lists.groups(str(tmp_path / "t.parquet"), "t")] == [2, 1]
    first = parquet_lists.group(str(tmp_path / "t.parquet"), 0, None, "t")
    lines, last = first["points"], parquet_lists.group(str(tmp_path / "t.parquet"), 1, ["post"], "t")["post"]
    assert isinstance(lines, Lists)
    assert isinstance(last, Lists)
    assert (lines.values.tolist(), lines.ends.tolist()) == ([1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 6, 9])
    assert last.values.tolist() == [2**63 + 1, 3]
