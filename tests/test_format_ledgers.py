"""Lines of records as columns: every line comes back as it was, and no byte can change unseen."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.errors import ConfigurationError, DataError
from igneous_ng.formats import ledgers
from igneous_ng.formats.arrow import arrow
from igneous_ng.formats.ledgers import Line, Reader, pack, picked

hexes = st.binary(min_size=16, max_size=16).map(bytes.hex)
texts = st.one_of(st.text(max_size=8), st.just("\ud800half"), st.just("0:64,-3:7,1:2"), hexes, hexes.map(str.upper))
numbers = st.one_of(st.integers(-5, 300), st.integers(-(2**70), 2**70), st.integers(2**63 - 2, 2**64))
floats = st.floats(allow_nan=True)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, floats, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)
spans = st.lists(numbers, min_size=1, max_size=3)
KEYS = ("layer", "mip", "box", "url", "span", "part", "list", "stored", "digest", "bytes", "same", "replaced",
        "deleted", "kept", "rest", "odd")  # fmt: skip
entries = st.dictionaries(st.sampled_from(KEYS), st.one_of(values, spans), max_size=6)
lists = st.one_of(st.lists(entries, max_size=4), st.lists(st.one_of(entries, values), max_size=3), values)
lines = st.dictionaries(
    st.sampled_from(["attempt", "start", "seconds", "cpu_seconds", "peak_bytes", "environment", "host", "what",
                     "notes", "log", "rest", "more"]),
    values, max_size=8,
).flatmap(lambda line: st.dictionaries(st.sampled_from(["reads", "writes", "covers"]), lists, max_size=3)
          .map(lambda found: {**line, **found}))  # fmt: skip


def numbered(found: list[Line], first: int = 0) -> list[Line]:
    return [{"unit": unit, **line} for unit, line in enumerate(found, first)]


def reader(data: bytes) -> Reader:
    return Reader(lambda start, stop: data[start:stop], len(data), "file:///records/0.parquet")


def spelt(found: Any) -> list[str]:
    return [json.dumps(line, sort_keys=True) for line in found]


def usual(unit: int) -> Line:
    """A line as units write them."""
    chunk = {"url": f"file:///layer/8_8_40/{unit * 64}-{unit * 64 + 64}_0-64_0-64", "bytes": 9000 + unit}
    return {
        "unit": unit, "attempt": 1, "what": [0, f"{unit}:{unit + 1},0:1,0:1"], "start": 1.7e9 + unit, "seconds": 0.5,
        "cpu_seconds": 0.4, "peak_bytes": 10**8, "host": "node1", "environment": "e" * 32, "log": [],
        "reads": [{"layer": "file:///layer", "mip": 0, "box": "0:1,0:1,0:1", "digest": f"{unit:032x}"}],
        "writes": [{**chunk, "digest": f"{unit:032x}"}, {**chunk, "deleted": True}],
        "covers": [{"layer": "file:///layer", "mip": 1, "box": "0:1,0:1,0:1"}], "notes": {"labels": 2**64 - 1},
    }  # fmt: skip


@pytest.mark.long
@given(st.lists(lines, max_size=9), st.integers(1, 4), st.integers(0, 2**40))
def test_every_line_comes_back_as_it_was(found: list[Line], rows: int, first: int) -> None:
    found = numbered(found, first)
    data = pack(found[i : i + rows] for i in range(0, len(found), rows))
    assert spelt(reader(data).lines(first, first + len(found))) == spelt(found)


@pytest.mark.long
@given(
    st.lists(lines, min_size=1, max_size=9),
    st.integers(1, 4),
    st.lists(st.sampled_from(["writes", "covers", "seconds", "notes", "more", "no such"]), max_size=3),
    st.data(),
)
def test_some_columns_of_some_units(found: list[Line], rows: int, only: list[str], data: st.DataObject) -> None:
    found = numbered(found)
    lo = data.draw(st.integers(0, len(found) - 1))
    hi = data.draw(st.integers(lo, len(found)))
    file = reader(pack(found[i : i + rows] for i in range(0, len(found), rows)))
    assert spelt(file.lines(lo, hi, only)) == spelt(picked(line, only) for line in found[lo:hi])


def test_what_is_usual_has_columns_of_its_own() -> None:
    """Nothing of it is left for the column of the rest, so that it is small and read fast."""
    found = [usual(unit) for unit in range(7)]
    table = ledgers._table(arrow(), ledgers._schema(arrow()), found)
    assert table.column("rest").null_count == 7
    for name in ("reads", "writes", "covers"):
        inner = table.column(name).combine_chunks().flatten()
        assert inner.field(inner.type.get_field_index("rest")).null_count == len(inner)


def test_only_what_is_wanted_is_read() -> None:
    data = pack([usual(unit) for unit in range(n, n + 50)] for n in range(0, 500, 50))
    spans: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> bytes:
        spans.append((start, stop))
        return data[start:stop]

    file = Reader(read, len(data), "here")
    spans.clear()
    assert [line["seconds"] for line in file.lines(100, 150, ("seconds",))] == [0.5] * 50
    assert sum(stop - start for start, stop in spans) < len(data) / 100
    assert len(spans) == 3, "unit, seconds and the rest"
    spans.clear()
    assert len(list(file.lines(100, 150))) == 50
    assert len(spans) == 1, "what lies together is read at once"


def test_others_read_it_as_parquet() -> None:
    parquet = arrow().parquet
    table = parquet.read_table(io.BytesIO(pack([[usual(0), usual(1)], [usual(2)]])))
    assert table.column("unit").to_pylist() == [0, 1, 2]
    assert table.column("host").to_pylist() == ["node1"] * 3
    assert table.column("writes").to_pylist()[2][1]["deleted"] is True
    assert table.column("reads").to_pylist()[1][0]["digest"] == bytes(15) + b"\1"
    assert table.column("notes").to_pylist()[0] == '{"labels":18446744073709551615}'


def test_the_same_lines_give_the_same_bytes() -> None:
    assert pack([[usual(0), usual(1)]]) == pack(iter([[usual(0), usual(1)]]))


@pytest.mark.long
def test_no_byte_changes_unseen() -> None:
    data = pack([[usual(0)], [usual(1)]])
    for place in range(len(data)):
        torn = bytearray(data)
        torn[place] ^= 1 << place % 8
        with pytest.raises(DataError, match="here: damaged.*restore it"):
            list(Reader(lambda start, stop, torn=torn: bytes(torn[start:stop]), len(data), "here").lines(0, 2))  # type: ignore[misc]


def test_a_file_that_was_cut_is_damaged() -> None:
    data = pack([[usual(0)], [usual(1)]])
    for size in (0, 1, 7, 8, 30, 300, len(data) // 2, len(data) - 1):
        with pytest.raises(DataError, match="damaged"):
            list(reader(data[:size]).lines(0, 2))


def test_a_line_that_should_be_there_is_missed() -> None:
    with pytest.raises(DataError, match="2 lines of the units 0 to 2"):
        list(reader(pack([[usual(0), usual(1)]])).lines(0, 3))


def test_the_library_is_named_where_it_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'igneous-ng\[parquet\]'"):
        pack([[usual(0)]])
