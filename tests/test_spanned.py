"""A stored object as a file: what is read of it, and what enters the ledger."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.errors import DataError
from igneous_ng.inputs import Inputs
from igneous_ng.io import IO
from igneous_ng.spanned import Spanned
from igneous_ng.store import Store

CONTENT = bytes(n * n % 251 for n in range(100_000))
READS = st.lists(st.tuples(st.integers(0, 110_000), st.integers(-1, 40_000)), max_size=6)


@given(READS)
def test_it_reads_as_a_file_does(reads: list[tuple[int, int]]) -> None:
    store = Store()
    store.put("mem://spanned/a", CONTENT)
    file = Spanned(IO(store), "mem://spanned/a")
    for at, length in reads:
        assert file.seek(at) == at
        assert file.read(length) == CONTENT[at : at + length if length >= 0 else None]
    assert file.seek(-5, os.SEEK_END) == len(CONTENT) - 5
    room = bytearray(9)
    assert file.readinto(room) == 5
    assert bytes(room[:5]) == CONTENT[-5:]


def test_blocks_are_asked_for_once_and_enter_the_ledger(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    io = IO()
    file = Spanned(io, f"file://{tmp_path}/a")
    for at in (0, 10, 16_380, 99_999, 16_384, 5):
        file.seek(at)
        file.read(8)
    assert [read["span"] for read in io.ledger.reads] == [[0, 16384], [16384, 32768], [98304, 100_000]]
    changed = [Inputs(io.store).changed(read) for read in io.ledger.reads]
    assert changed == [False] * 3
    (tmp_path / "a").write_bytes(CONTENT[:20_000] + b"x" + CONTENT[20_001:])
    assert [Inputs(io.store).changed(read) for read in io.ledger.reads] == [False, True, False]


def test_what_is_missing_or_becomes_shorter_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        Spanned(IO(), f"file://{tmp_path}/a")
    (tmp_path / "a").write_bytes(CONTENT)
    file = Spanned(IO(), f"file://{tmp_path}/a")
    (tmp_path / "a").write_bytes(CONTENT[:1000])
    with pytest.raises(DataError, match="has become shorter"):
        file.read(8)
    with pytest.raises(ValueError, match="no byte -1"):
        file.seek(-1)
