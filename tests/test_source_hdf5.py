"""HDF5: names, windows, damage."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.sources import open_source

ONE = Box((0, 0, 0), (1, 1, 1))


def test_a_wrong_dataset_lists_those_that_there_are(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["volumes/raw"] = np.zeros((2, 2, 2))
        file["labels"] = np.zeros(3)
    for wrong in ("", "raw", "volumes"):
        with pytest.raises(SpecError, match="dataset.*: labels, volumes/raw"):
            open_source(str(tmp_path / "a.hdf5"), axes="zyx", dataset=wrong)


def test_a_chunk_is_what_reading_holds(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("chunked", data=np.zeros((8, 8, 8), "u2"), chunks=(2, 4, 8), compression="gzip")
        file.create_dataset("plain", data=np.zeros((8, 8, 8), "u2"))
    assert open_source(str(tmp_path / "a.h5"), axes="zyx", dataset="chunked").resident_bytes == 2 * 4 * 8 * 2
    assert open_source(str(tmp_path / "a.h5"), axes="zyx", dataset="plain").resident_bytes == 0


def test_only_chunks_in_the_window_are_read(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 2**16, (2, 16, 16), "u2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stored = file.create_dataset("d", data=array, chunks=(1, 16, 16), compression="gzip")
        at = stored.id.get_chunk_info(1)
    whole = bytearray((tmp_path / "a.h5").read_bytes())
    whole[at.byte_offset : at.byte_offset + at.size] = bytes(at.size)
    (tmp_path / "a.h5").write_bytes(whole)
    source = open_source(str(tmp_path / "a.h5"), axes="zyx", dataset="d")
    np.testing.assert_array_equal(source.read(Box((0, 0, 0), (16, 16, 1)))[..., 0, 0], array[0].T)
    with pytest.raises(DataError, match=r"a\.h5:d"):
        source.read(Box((0, 0, 1), (16, 16, 2)))


def test_damaged_and_changed_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"no hdf5 at all")
    with pytest.raises(DataError, match=r"a\.h5"):
        open_source(str(path), axes="zyx", dataset="d")
    for shape in [(4, 4, 4), (4, 4, 5)]:
        with h5py.File(path, "w") as file:
            file["d"] = np.zeros(shape)
        if shape == (4, 4, 4):
            source = open_source(str(path), axes="zyx", dataset="d")
    with pytest.raises(DataError, match=r"has become \(4, 4, 5\)"):
        source.read(ONE)
    with h5py.File(path, "w") as file:
        file["e"] = 1
    with pytest.raises(DataError, match=r"a\.h5:d"):
        source.read(ONE)
    path.unlink()
    with pytest.raises(DataError, match="the file is gone"):
        source.read(ONE)


def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["text"] = ["a", "b"]
        file["empty"] = h5py.Empty("f4")
    with pytest.raises(DataError, match="not numbers"):
        open_source(str(tmp_path / "a.h5"), axes="x", dataset="text")
    with pytest.raises(SpecError, match="has 0"):
        open_source(str(tmp_path / "a.h5"), axes="x", dataset="empty")
