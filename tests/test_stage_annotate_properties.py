"""Segment properties: what is written is what tables say, the first by a column, and what Neuroglancer reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import row_tables, segment_properties
from igneous_ng.formats.segment_properties import Property, encode, numeric, parse, tagged
from igneous_ng.io import IO
from igneous_ng.redo import Redo
from igneous_ng.stages.annotate_properties import Properties
from igneous_ng.stages.image_count import Count
from igneous_ng.stages.segment_filter import Tally
from igneous_ng.store import Store
from tests.layers import create, files
from tests.test_redo import carry_out

BIG = (1 << 63) + 5
LABELS = np.array([3, 3, 3, 3, 9, 9, BIG, BIG, BIG, 0, 0, 0, 0, 0, 0, 17], np.uint64).reshape(4, 2, 2, 1)
TABLE = f"""segment,label,tags,note,size,odds,rank
{BIG},big one,axon myelin,"first, best",5000000000,0.5,-1
3,three,axon,,7,0.1,200
99,ninety-nine,,unknown,0,,3
"""


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").write_text(TABLE)
    return create(tmp_path / "seg", LABELS, (0, 0, 0), kind="segmentation")


def write(layer: Path, **fields: Any) -> None:
    run.inline(Properties(layer=str(layer), **fields))


def found(layer: Path, folder: str = "properties") -> tuple[list[int], dict[str, Property]]:
    ids, made = parse((layer / folder / "info").read_bytes(), "here")
    return ids.tolist(), {one.id: one for one in made}


def test_a_table_becomes_properties_of_its_segments(layer: Path) -> None:
    write(layer, tables=(str(layer.parent / "table.csv"),))
    ids, made = found(layer)
    assert ids == [3, 99, BIG]
    assert made == {
        "tags": Property("tags", "tags", [[0], [], [0, 1]], tags=("axon", "myelin")),
        "label": Property("label", "label", ["three", "ninety-nine", "big one"]),
        "note": Property("note", "string", ["", "unknown", "first, best"]),
        "size": Property("size", "number", [7.0, 0.0, 5e9], "float32"),
        "odds": Property("odds", "number", [0.1, 0.0, 0.5], "float32"),
        "rank": Property("rank", "number", [200, 3, -1], "int16"),
    }
    raw = json.loads((layer / "properties" / "info").read_bytes())
    assert raw["@type"] == "neuroglancer_segment_properties"
    assert raw["inline"]["ids"] == ["3", "99", str(BIG)]
    assert IO().info(f"file://{layer}").extra["segment_properties"] == "properties"


@pytest.mark.parametrize(("sizes", "stage"), [("census", Count), ("measure", Tally)])
def test_voxels_are_those_of_the_layer(layer: Path, sizes: Any, stage: Any) -> None:
    for level in (0, 1):
        run.inline(stage(layer=str(layer), cell=(2, 2, 2), level=level))
    write(layer, sizes=sizes, tables=(str(layer.parent / "table.csv"),), columns=("voxels",), dir="some")
    assert found(layer, "some") == ([3, 99, BIG], {"voxels": Property("voxels", "number", [4, 0, 3], "uint8")})
    write(layer, sizes=sizes)
    assert found(layer) == ([3, 9, 17, BIG], {"voxels": Property("voxels", "number", [4, 2, 1, 3], "uint8")})
    write(layer, sizes=sizes, top=2)
    assert found(layer)[0] == [3, BIG]


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_the_first_by_a_column_are_those_of_sorting(layer: Path, suffix: str) -> None:
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(4)
    segments = rng.permutation(np.arange(1, 501, dtype=np.uint64)) + np.uint64(1 << 60)
    degree = rng.integers(0, 40, 500)
    columns = {"segment": segments, "degree": degree}
    from igneous_ng.formats import row_files

    (layer.parent / f"t.{suffix}").write_bytes(row_files.encode(columns, f".{suffix}"))
    write(layer, tables=(str(layer.parent / f"t.{suffix}"),), top=123, by="degree", link=False)
    expected = sorted(sorted(zip((-degree).tolist(), segments.tolist(), strict=True))[:123], key=lambda row: row[1])
    ids, made = found(layer)
    assert ids == [segment for _, segment in expected]
    assert made["degree"].values == [-less for less, _ in expected]
    assert "segment_properties" not in IO().info(f"file://{layer}").extra


def test_several_tables_are_joined_and_the_same_bytes_come_again(layer: Path) -> None:
    (layer.parent / "b.json").write_text(json.dumps([{"id": str(BIG), "soma": True}, {"id": "5", "soma": False}]))
    (layer.parent / "a.csv").write_text(TABLE.replace("segment", "id"))
    asked = {"tables": (str(layer.parent / "a.csv"), str(layer.parent / "b.json")), "segment": "id",
             "columns": ("soma", "label", "tags")}  # fmt: skip
    write(layer, **asked)
    ids, made = found(layer)
    assert ids == [3, 5, 99, BIG]
    assert list(made) == ["tags", "soma", "label"]
    assert made["soma"] == Property("soma", "number", [0, 0, 0, 1], "uint8")
    assert made["label"].values == ["three", "", "ninety-nine", "big one"]
    before = files(layer)
    write(layer, **asked)
    assert files(layer) == before
    write(layer, **{**asked, "tables": asked["tables"][::-1]})
    assert files(layer) == before


def test_empty_tables_give_empty_properties(layer: Path) -> None:
    (layer.parent / "empty.csv").write_text("segment,label,degree\n")
    write(layer, tables=(str(layer.parent / "empty.csv"),))
    ids, made = found(layer)
    assert (ids, [one.values for one in made.values()]) == ([], [[], []])


@pytest.mark.parametrize(
    ("text", "fields", "error", "said"),
    [
        ("segment,a\n1,x\n1,y\n", {}, DataError, "segment 1 is there more than once"),
        ("label,a\n1,x\n", {}, DataError, "no column 'segment'"),
        ("segment,a\n-1,x\n", {}, SpecError, "-1 is not a whole number"),
        ("segment,a\n1.5,x\n", {}, SpecError, "1.5 is not a whole number"),
        ("segment,tags\n1,a A\n", {}, SpecError, "a tag twice"),
        ("segment,tags\n1,#a\n", {}, SpecError, "does not begin with #"),
        ("segment,a\n1,inf\n", {}, SpecError, "no finite float32"),
        ("segment,a\n1,x\n2,y\n", {"top": 1}, SpecError, "no column 'voxels' to tell which are the first"),
        ("segment,a\n1,x\n2,y\n", {"top": 1, "by": "a"}, SpecError, "holds no numbers"),
        ("segment,a\n1,x\n2,y\n", {"columns": ("b",)}, SpecError, "there is no column 'b'"),
        ("segment,a\n1,x\n", {"sizes": "census"}, DataError, "nothing is counted here; run `image census"),
    ],
)
def test_wrong_input_writes_nothing(layer: Path, text: str, fields: Any, error: Any, said: str) -> None:
    (layer.parent / "t.csv").write_text(text)
    before = files(layer)
    with pytest.raises(error, match=said):
        write(layer, tables=(str(layer.parent / "t.csv"),), **fields)
    assert files(layer) == before


def test_wrong_requests_are_refused(layer: Path) -> None:
    for fields, said in (
        ({}, "nothing to write"),
        ({"tables": ("a.txt",)}, "files end in"),
        ({"sizes": "census", "top": 0}, "at least 1"),
        ({"sizes": "census", "dir": "../x"}, "names no folder"),
    ):
        with pytest.raises(SpecError, match=said):
            Properties(layer=str(layer), **fields)
    with pytest.raises(DataError, match="there is no such table"):
        write(layer, tables=(str(layer.parent / "no.csv"),))
    image = create(layer.parent / "image", np.zeros((4, 4, 4, 1), np.uint8), (0, 0, 0))
    with pytest.raises(SpecError, match="name a segmentation"):
        write(image, tables=(str(layer.parent / "table.csv"),))


words = st.lists(st.text("abcxyz", min_size=1, max_size=3), max_size=3)


@given(data=st.data(), ids=st.lists(st.integers(1, 2**64 - 1), unique=True, max_size=6).map(sorted))
def test_a_file_round_trips(data: st.DataObject, ids: list[int]) -> None:
    count = len(ids)

    def drawn(what: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.lists(what, min_size=count, max_size=count))

    whole, real = st.integers(-(2**31), 2**31 - 1), st.floats(width=32, allow_nan=False, allow_infinity=False)
    made = [
        Property("l", "label", drawn(st.text())),
        tagged("t", drawn(words)),
        numeric("i", np.array(drawn(whole), np.int64)),
        numeric("f", np.array(drawn(real), np.float32)),
    ]
    back, again = parse(encode(np.array(ids, np.uint64), made), "here")
    assert back.tolist() == ids
    assert [one.to_json() for one in again] == [one.to_json() for one in made]


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(0, 255, "uint8"), (0, 256, "uint16"), (-1, 127, "int8"), (-1, 128, "int16"), (0, 2**32 - 1, "uint32"),
     (-1, 2**31 - 1, "int32"), (0, 2**32, "float32"), (-1, 2**31, "float32")],
)  # fmt: skip
def test_numbers_get_the_least_type(low: int, high: int, kind: str) -> None:
    made = numeric("n", np.array([low, high], np.int64))
    assert made.data_type == kind
    assert [np.float32(value) for value in made.values] == [np.float32(low), np.float32(high)]


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (Property("n", "number", [1, 2], "uint64"), "is of uint64; there are"),
        (Property("n", "number", [1, 256], "uint8"), "no finite uint8"),
        (Property("n", "number", [1.0, 2], "uint8"), "no finite uint8"),
        (Property("n", "number", [1], "uint8"), "1 values for 2 segments"),
        (Property("n", "number", [1, float("inf")], "float32"), "no finite float32"),
        (Property("n", "tags", [[0], [1]], tags=("a b", "c")), "a tag has no spaces"),
        (Property("n", "tags", [[0], [2]], tags=("a", "c")), "are not places of tags"),
        (Property("n", "tags", [[0], [1, 0]], tags=("a", "c")), "are not places of tags"),
        (Property("n", "label", ["a", 1]), "other than text"),
        (Property("n", "text", ["a", "b"]), "is of the type 'text'"),
    ],
)
def test_what_the_client_refuses_is_refused(one: Property, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        encode(np.array([1, 2], np.uint64), [one])
    raw = {"@type": segment_properties.TYPE, "inline": {"ids": ["1", "2"], "properties": [one.to_json()]}}
    with pytest.raises(DataError, match=said):
        parse(json.dumps(raw).encode(), "here")


def test_there_is_one_label_and_each_name_once() -> None:
    label, ids = Property("a", "label", ["x"]), np.array([1], np.uint64)
    with pytest.raises(SpecError, match="one property of the type label, and there are 2"):
        encode(ids, [label, Property("b", "label", ["x"])])
    with pytest.raises(SpecError, match="two properties are called 'a'"):
        encode(ids, [label, Property("a", "string", ["x"])])
    for wrong in ([0], [2, 1], [1, 1]):
        with pytest.raises(SpecError, match="ascending, each once"):
            encode(np.array(wrong, np.uint64), [])
    for data in (b"", b"[]", b"{}", b'{"@type": "other"}'):
        with pytest.raises(DataError, match="here: not the properties of segments"):
            parse(data, "here")


def test_parquet_columns_keep_their_types_and_ids(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    columns: dict[str, np.ndarray] = {
        "id": np.array([1, BIG, 2**64 - 1], np.uint64),
        "i": np.array([-1, 0, 1], np.int16),
        "f": np.array([0.1, np.nan, 2], np.float32),
        "b": np.array([True, False, True]),
        "t": np.array(["a", "", "ü"], object),
    }
    back = row_tables.unpack(row_tables.pack(columns), "here")
    for name, column in columns.items():
        assert back[name].dtype == column.dtype
        assert np.array_equal(back[name], column, equal_nan=name == "f")
    assert row_tables.pack(columns) == row_tables.pack(back)
    assert row_tables.unpack(row_tables.pack(columns), "here", ("t",)).keys() == {"t"}
    with pytest.raises(DataError, match="here: not a table in Parquet"):
        row_tables.unpack(b"PAR1 nothing", "here")


def test_a_changed_table_is_written_again_and_nothing_else(layer: Path) -> None:
    write(layer, tables=(str(layer.parent / "table.csv"),))
    write(layer, tables=(str(layer.parent / "table.csv"),), dir="other", columns=("rank",))
    assert carry_out(Redo(Store(), [f"file://{layer}"])) == ({}, [])
    (layer.parent / "table.csv").write_text(TABLE.replace("three", "3"))
    ran, _ = carry_out(Redo(Store(), [f"file://{layer}"]))
    assert list(ran.values()) == [{0}, {0}]
    assert found(layer)[1]["label"].values == ["3", "ninety-nine", "big one"]
