"""NumPy's files: what is mapped, what is kept, what is refused."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.sources import mapped, numpy_files, open_source
from igneous_ng.sources.mapped import Mapped
from igneous_ng.sources.numpy_files import open_npy

ONE = Box((0, 0, 0), (1, 1, 1))


def test_a_stored_member_is_mapped_and_a_compressed_one_is_counted(tmp_path: Path) -> None:
    array = np.arange(60, dtype="<u4").reshape(3, 4, 5)
    np.savez(tmp_path / "a.npz", array=array)
    np.savez_compressed(tmp_path / "b.npz", array=array)
    assert isinstance(numpy_files.open_npz(tmp_path / "a.npz", "array"), Mapped)
    assert open_source(str(tmp_path / "a.npz"), axes="zyx", dataset="array").resident_bytes == 0
    assert open_source(str(tmp_path / "b.npz"), axes="zyx", dataset="array.npy").resident_bytes == array.nbytes


def test_one_compressed_member_is_kept_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, array=np.full((2, 2, 2), 1, "u1"))
    source = open_source(str(path), axes="zyx", dataset="array")
    numpy_files._load.cache_clear()
    for _ in range(3):
        assert source.read(ONE).item() == 1
    assert numpy_files._load.cache_info()[:2] == (2, 1)
    np.savez_compressed(path, array=np.full((2, 2, 2), 2, "u1"))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
    assert source.read(ONE).item() == 2
    assert numpy_files._load.cache_info().currsize == 1


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[[{}]]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", array=np.array([[[{}]]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="pickled Python objects"):
        open_source(str(tmp_path / "a.npy"), axes="zyx")
    with pytest.raises(DataError, match="pickled Python objects"):
        open_source(str(tmp_path / "a.npz"), axes="zyx", dataset="array")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (30, 30, 30), "u1")
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "b.npz", array=array)
    for name in ("a.npy", "b.npz"):
        whole = (tmp_path / name).read_bytes()
        for keep in (0, 4, len(whole) - 40):
            (tmp_path / name).write_bytes(whole[:keep])
            with pytest.raises(DataError, match=name):
                open_source(str(tmp_path / name), axes="zyx", dataset="array" if name == "b.npz" else "")
    changed = bytearray(whole)
    changed[20_000] ^= 255
    (tmp_path / "b.npz").write_bytes(changed)
    source = open_source(str(tmp_path / "b.npz"), axes="zyx", dataset="array")
    with pytest.raises(DataError, match=r"b\.npz:array"):
        source.read(ONE)


def test_a_file_that_goes_or_shrinks_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((8, 9, 10)))
    source = open_source(str(tmp_path / "a.npy"), axes="zyx")
    (tmp_path / "a.npy").write_bytes(b"short")
    with pytest.raises(DataError, match=r"a\.npy"):
        source.read(ONE)
    with pytest.raises(DataError, match="cut short"):
        source.check()
    (tmp_path / "a.npy").unlink()
    with pytest.raises(DataError, match=r"a\.npy: the file is gone"):
        source.read(ONE)


def test_arrays_of_text_or_of_nothing_are_refused(tmp_path: Path) -> None:
    for array, text in [(np.array([["a"]]), "not numbers"), (np.zeros((0, 3)), "holds nothing")]:
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(DataError, match=text):
            open_source(str(tmp_path / "a.npy"), axes="yx")


def test_one_of_several_members_must_be_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", em=np.arange(2), labels=np.zeros(2))
    with pytest.raises(SpecError, match="which of its arrays.*: em, labels"):
        open_source(str(tmp_path / "a.npz"), axes="x")
    with pytest.raises(SpecError, match="one of: em, labels"):
        open_source(str(tmp_path / "a.npz"), axes="x", dataset="image")
    np.savez(tmp_path / "b.npz", em=np.arange(2))
    assert open_source(str(tmp_path / "b.npz"), axes="x").read(Box((0, 0, 0), (2, 1, 1))).ravel().tolist() == [0, 1]


def test_long_headers_of_members_are_skipped(tmp_path: Path) -> None:
    """A writer may pad a member's local header, which the directory of the zip does not tell."""
    array = np.arange(24, dtype="u1").reshape(2, 3, 4)
    np.save(tmp_path / "a.npy", array)
    info = zipfile.ZipInfo("array.npy")
    info.extra = b"\x99\x99\x40\x00" + bytes(64)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("first.npy", b"junk")
        archive.writestr(info, (tmp_path / "a.npy").read_bytes())
    source = open_source(str(tmp_path / "a.npz"), axes="zyx", dataset="array")
    np.testing.assert_array_equal(source.read(Box((0, 0, 0), (4, 3, 2)))[..., 0], array.T)


@given(st.data(), st.sampled_from(["F", "C"]), st.sampled_from(["<u2", ">i4", "|u1", "<f4"]))
def test_any_window_of_any_array_is_read_as_numpy_slices_it(data: st.DataObject, order: Any, dtype: str) -> None:
    shape = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple))
    bounds = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in shape]
    index = tuple(slice(a, b) for a, b in bounds)
    array = np.arange(np.prod(shape)).astype(dtype).reshape(shape, order=order)
    with TemporaryDirectory() as folder, patch.object(mapped, "_BUFFER", data.draw(st.sampled_from([1, 100, 10**6]))):
        path = Path(folder) / "a.npy"
        np.save(path, np.asarray(array, order=order))
        window = open_npy(path).window(index)
    np.testing.assert_array_equal(window, array[index])
    assert window.dtype == array.dtype.newbyteorder("=")


def test_a_file_cut_short_meanwhile_is_no_blank(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((20, 30, 40), np.uint16))
    found = open_npy(tmp_path / "a.npy")
    os.truncate(tmp_path / "a.npy", found.offset + 20 * 30 * 40)
    whole = found.window((slice(0, 10), slice(0, 30), slice(0, 40)))
    assert (whole == 1).all()
    with pytest.raises(DataError, match="ends inside its array"):
        found.window((slice(0, 11), slice(0, 30), slice(0, 40)))
