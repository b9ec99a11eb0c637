"""Rows as files: every type and every number comes back from every format; what is wrong is said with its place."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import row_files, row_tables
from igneous_ng.formats.table_schemas import INTEGERS, TYPES, Column, Schema, as_column, parse

pytest.importorskip("pyarrow")


def values(kind: str) -> st.SearchStrategy[Any]:
    if kind in INTEGERS:
        limits = np.iinfo(kind)
        return st.integers(int(limits.min), int(limits.max))
    if kind.startswith("float"):
        return st.floats(width=32 if kind == "float32" else 64, allow_infinity=False)
    return st.booleans() if kind == "bool" else st.text(st.characters(codec="utf-8"), max_size=8)


@given(data=st.data(), count=st.integers(0, 5), suffix=st.sampled_from(row_files.SUFFIXES))
def test_every_type_comes_back(data: st.DataObject, count: int, suffix: str) -> None:
    drawn = {kind: data.draw(st.lists(values(kind), min_size=count, max_size=count)) for kind in TYPES}
    columns = {f"c_{kind}": as_column(found, kind, "") for kind, found in drawn.items()}
    types = {f"c_{kind}": kind for kind in TYPES}
    raw = row_files.encode(columns, suffix)
    again = row_files.decode(raw, f"rows{suffix}", types)
    if suffix == ".json" and not count:
        assert again == {}
        return
    back = {name: as_column(found, types[name], name) for name, found in again.items()}
    for name, column in columns.items():
        assert back[name].dtype == column.dtype
        assert np.array_equal(back[name], column, equal_nan=column.dtype.kind == "f")
    assert row_files.encode(back, suffix) == raw


def test_types_are_guessed_where_nobody_says_them() -> None:
    text = f"a,b,c,d,e\n1,1.5,x,,2\n{2**64 - 1},nan,1,,\n"
    found = row_files.decode(text.encode(), "t.csv")
    assert found["a"] == [1, 2**64 - 1]
    assert found["b"][0] == 1.5
    assert found["c"] == ["x", "1"]
    assert found["d"] == ["", ""]
    assert found["e"] == [2, 0]
    listed = row_files.decode(json.dumps([{"a": "18446744073709551615", "b": 2.5, "c": True}]).encode(), "t.json")
    assert listed == {"a": [2**64 - 1], "b": [2.5], "c": [True]}


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"a,b\n1\n", "t.csv", "row 0 has 1 cells, and there are 2 columns"),
        (b"\xff\xfe", "t.csv", "t.csv: not a table of rows"),
        (b"{}", "t.json", "a list of objects"),
        (b"[1]", "t.json", "not a table of rows"),
        (b'[{"a": 1}, {"b": 1}]', "t.json", "row 1 has .'b'., and the first has .'a'."),
        (b"[", "t.json", "not a table of rows"),
        (b"PAR1", "t.parquet", "not a table in Parquet"),
        (b"", "t.xls", "rows are in a file that ends in .csv, .json, .parquet"),
        (b"a\nx\n", "t.csv", "column a, row 0: 'x' is not uint8"),
        (b"a\n1.0\n", "t.csv", "column a, row 0: '1.0' is not uint8"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(data: bytes, name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        row_files.decode(data, name, {"a": "uint8"})


def test_parquet_of_others_is_read() -> None:
    arrow = pytest.importorskip("pyarrow")
    sink = arrow.BufferOutputStream()
    table = arrow.table({
        "id": arrow.array([1, None, 2**64 - 1], arrow.uint64()),
        "word": arrow.array(["a", None, "a"]).dictionary_encode(),
        "wide": arrow.array(["a", "b", None], arrow.large_string()),
        "odds": arrow.array([0.5, None, 1]),
        "sure": arrow.array([True, None, False]),
    })  # fmt: skip
    arrow.parquet.write_table(table, sink)
    found = row_tables.unpack(bytes(sink.getvalue()), "here")
    assert found["id"].tolist() == [1, 0, 2**64 - 1]
    assert found["id"].dtype == np.uint64
    assert found["word"].tolist() == ["a", "", "a"]
    assert found["wide"].tolist() == ["a", "b", ""]
    assert np.array_equal(found["odds"], [0.5, np.nan, 1], equal_nan=True)
    assert found["sure"].tolist() == [True, False, False]
    sink = arrow.BufferOutputStream()
    arrow.parquet.write_table(arrow.table({"a": arrow.array([[1], [2]])}), sink)
    with pytest.raises(DataError, match="here: the column a holds list.*; columns hold numbers, text"):
        row_tables.unpack(bytes(sink.getvalue()), "here")


def test_a_schema_comes_back_from_json() -> None:
    columns = (Column("a", "string", "what", ("x", "y"), True), Column("b", "int8"))
    schema = Schema("ellipsoid", columns, ("segment",), "cells", "voxel", (8.0, 8.0, 30.5))
    assert parse(json.loads(json.dumps(schema.to_json())), "here") == schema
    wrongs: tuple[Any, ...] = (
        None,
        [],
        {},
        {"kind": "point", "colour": 1},
        {"kind": "point", "columns": [{"name": "a"}]},
        {"kind": "point", "columns": [{"name": "a", "type": "bool", "colour": 1}]},
        {"kind": "point", "resolution": 4},
    )
    for wrong in wrongs:
        with pytest.raises(SpecError, match="here: not the schema of a table"):
            parse(wrong, "here")


def test_boxes_and_sizes_are_checked() -> None:
    box = Schema("box")
    rows: dict[str, Any] = {name: [1.0] for name in box.places}
    assert box.rows(rows)["lo_x"].tolist() == [1]
    with pytest.raises(SpecError, match="column lo_y, row 0: the box begins after its end"):
        box.rows({**rows, "hi_y": [0.5]})
    ellipsoid = Schema("ellipsoid")
    rows = {name: [1.0] for name in ellipsoid.places}
    with pytest.raises(SpecError, match="column radius_z, row 0: -1.0 is no place or size"):
        ellipsoid.rows({**rows, "radius_z": [-1]})
    with pytest.raises(SpecError, match="column x: choices are of text|choices are of text"):
        Column("x", "int8", choices=("a",))


@pytest.mark.parametrize(
    "given", [[2**64], [-1], [True], ["1"], [1.0], np.array([1.0]), np.array([-1]), np.array(["1"])]
)
def test_integers_are_never_bent(given: Any) -> None:
    with pytest.raises(SpecError, match="here, row 0: .* is not a whole number from 0 to 18446744073709551615"):
        as_column(given, "uint64", "here")


def test_integers_of_any_type_are_kept() -> None:
    for one in ([2**64 - 1, 1], np.array([2**64 - 1, 1], np.uint64), np.array([2**64 - 1, 1], object)):
        assert as_column(one, "uint64", "here").tolist() == [2**64 - 1, 1]
    assert as_column([-(2**63), 2**63 - 1], "int64", "").tolist() == [-(2**63), 2**63 - 1]
