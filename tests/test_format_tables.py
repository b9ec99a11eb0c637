"""Tables in Parquet, and columns of NumPy: what was written is read, by ranges too, and damage is said so."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.errors import ConfigurationError, DataError
from igneous_ng.formats import numpy_columns, parquet_tables
from igneous_ng.formats.arrow import arrow
from igneous_ng.formats.parquet_tables import GROUP


def drawn(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(count)
    ids = np.sort(rng.integers(0, 2**64, count, np.uint64))
    return {"id": ids, "x": rng.integers(-(2**31), 2**31, count).astype(np.int32),
            "sure": rng.integers(0, 256, count).astype(np.uint8)}  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, GROUP, GROUP + 1, 3 * GROUP + 7])
def test_a_table_is_read_as_it_was_written(tmp_path: Path, count: int) -> None:
    table = drawn(count)
    data = parquet_tables.write(table)
    assert parquet_tables.write({name: column.copy() for name, column in table.items()}) == data
    (tmp_path / "table").write_bytes(data)
    for source in (str(tmp_path / "table"), BytesIO(data)):
        found = parquet_tables.read(source)
        assert list(found) == list(table)
        for name, column in table.items():
            assert found[name].dtype == column.dtype
            assert np.array_equal(found[name], column)
    assert parquet_tables.rows(BytesIO(data)) == count
    file = arrow().parquet.read_metadata(BytesIO(data))
    assert file.num_row_groups == max(1, -(-count // GROUP))


def test_ranges_choose_rows_and_leave_out_groups(tmp_path: Path) -> None:
    table = drawn(3 * GROUP)
    (tmp_path / "table").write_bytes(parquet_tables.write(table))
    lo, hi = int(table["id"][GROUP + 5]), int(table["id"][GROUP + 900])
    assert lo > 2**53
    ranges = {"id": (lo, hi), "sure": (10, 99)}
    inside = (table["id"] >= lo) & (table["id"] <= hi) & (table["sure"] >= 10) & (table["sure"] <= 99)
    found = parquet_tables.read(str(tmp_path / "table"), ["x"], ranges)
    assert list(found) == ["x"]
    assert np.array_equal(found["x"], table["x"][inside])
    path, data = tmp_path / "table", (tmp_path / "table").read_bytes()
    path.write_bytes(data[:2000] + bytes(64) + data[2064:])  # in the first group, which is not read
    assert np.array_equal(parquet_tables.read(str(path), ["x"], ranges)["x"], table["x"][inside])
    for nothing in ({"id": (0, 0)}, {"x": (1, 0)}):
        assert len(parquet_tables.read(str(path), ["x"], nothing)["x"]) == 0


@pytest.mark.parametrize("at", [100, 5000, 100_000])
def test_damage_is_found(at: int) -> None:
    data = parquet_tables.write(drawn(20_000))
    assert len(data) > at + 1
    wrong = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    with pytest.raises(DataError, match="file://place: not such a table"):
        parquet_tables.read(BytesIO(wrong), where="file://place")
    for cut in (b"", data[:at], b"PAR1" * 4):
        with pytest.raises(DataError, match="make it again"):
            parquet_tables.read(BytesIO(cut))
    with pytest.raises(DataError, match="make it again"):
        parquet_tables.rows("/nowhere/table")


def test_without_pyarrow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"igneous-ng\[parquet\]"):
        parquet_tables.write({})


@given(
    count=st.integers(0, 50), kind=st.sampled_from(["<u8", "<u4", "<i4"]), a=st.integers(0, 60), b=st.integers(0, 60)
)
def test_ranges_of_a_column(tmp_path_factory: pytest.TempPathFactory, count: int, kind: str, a: int, b: int) -> None:
    column = np.random.default_rng(count).integers(0, 2**31, count).astype(kind)
    data = numpy_columns.pack(column)
    path = tmp_path_factory.mktemp("column") / "column.npy"
    path.write_bytes(data)
    read = numpy_columns.column(lambda start, stop: data[start:stop], "here")
    for found in (read, numpy_columns.mapped(str(path))):
        assert len(found) == count
        assert np.array_equal(found[a:b], column[a:b])
        assert found[a:b].dtype == column.dtype
    assert np.array_equal(np.load(path), column)


@pytest.mark.parametrize("data", [b"", b"not a column" * 30, numpy_columns.pack(np.zeros(3))[:140]])
def test_what_is_no_column_is_said_so(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "column.npy").write_bytes(data)
    with pytest.raises(DataError, match="not a column.*make it again"):
        numpy_columns.mapped(str(tmp_path / "column.npy"))
    if len(data) != 140:
        with pytest.raises(DataError, match="here: not a column"):
            numpy_columns.column(lambda start, stop: data[start:stop], "here")
