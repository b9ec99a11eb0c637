"""Columns come back as they were; damage is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.errors import DataError
from igneous_ng.formats import columns

ARRAYS: dict[str, npt.NDArray[Any]] = {
    "a": np.arange(12, dtype=np.uint64).reshape(4, 3),
    "b": np.zeros((0, 2), np.int16),
    "c": np.asfortranarray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4)),
}


def test_columns_come_back_whole_or_chosen() -> None:
    data = columns.pack(ARRAYS)
    assert data == columns.pack(ARRAYS)
    found = columns.unpack(data, "here")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    assert list(columns.unpack(data, "here", ["c"])) == ["c"]
    assert columns.size(data[:4096], "here") == 12 * 8 + 24


def test_big_endian_arrays_are_stored_as_others() -> None:
    assert columns.unpack(columns.pack({"a": np.array([1, 2], ">u4")}), "here")["a"].tolist() == [1, 2]


@pytest.mark.parametrize("cut", [0, 8, 20, 90, -1])
def test_a_torn_object_is_named(cut: int) -> None:
    with pytest.raises(DataError, match="here"):
        columns.unpack(columns.pack(ARRAYS)[:cut], "here")


def test_a_changed_byte_is_found() -> None:
    data = bytearray(columns.pack(ARRAYS))
    data[-3] ^= 1
    with pytest.raises(DataError, match="column c is damaged"):
        columns.unpack(bytes(data), "here")
    assert columns.unpack(bytes(data), "here", ["a"])["a"].shape == (4, 3)
