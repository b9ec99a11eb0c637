"""Every format through the one door: windows and axes against numpy, refused requests, real files."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from igneous_ng.errors import SpecError, TransientError
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.sources import Source, open_source
from tests.data import data

AXES = sorted({"".join(p[:n]) for p in permutations("xyzc") for n in range(1, 5)})
DTYPES = ["u1", "<u2", ">u2", ">i4", "<u8", ">f4", "?", "f8", "c8"]


def save_npy(folder: Path, array: NDArray[Any]) -> tuple[Path, str]:
    np.save(folder / "a.npy", array)
    return folder / "a.npy", ""


def save_npz(folder: Path, array: NDArray[Any]) -> tuple[Path, str]:
    np.savez(folder / "a.npz", other=np.zeros(3), array=array)
    return folder / "a.npz", "array"


def save_packed(folder: Path, array: NDArray[Any]) -> tuple[Path, str]:
    np.savez_compressed(folder / "b.npz", other=np.zeros(3), array=array)
    return folder / "b.npz", "array"


def save_hdf5(folder: Path, array: NDArray[Any]) -> tuple[Path, str]:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("volumes/array", data=array, chunks=True, compression="lzf")
    return folder / "a.h5", "/volumes/array"


Save = Callable[[Path, NDArray[Any]], tuple[Path, str]]


def as_xyzc(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """The same voxels as [x, y, z, c], by einsum and reshape instead of the code's way."""
    kept = "".join(letter for letter in "xyzc" if letter in axes)
    turned = np.einsum(f"{axes}->{kept}", array)
    xyzc: NDArray[Any] = turned.reshape([array.shape[axes.index(k)] if k in axes else 1 for k in "xyzc"])
    return xyzc


def windows(shape: Vec3) -> st.SearchStrategy[Box]:
    sides = [st.tuples(st.integers(0, n), st.integers(0, n)).map(sorted) for n in shape]
    return st.tuples(*sides).map(lambda ends: Box(vec(e[0] for e in ends), vec(e[1] for e in ends)))


@pytest.mark.parametrize("save", [save_npy, save_npz, save_packed, save_hdf5])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(AXES), st.sampled_from(DTYPES), st.sampled_from("CF"))
def test_any_window_of_any_axes_equals_numpy(
    save: Save, tmp_path: Path, draw: st.DataObject, axes: str, code: str, order: Any
) -> None:
    sizes = draw.draw(st.tuples(*[st.integers(1, 5)] * len(axes)))
    stored = np.random.default_rng(len(axes)).integers(0, 250, sizes).astype(code, order=order)
    path, dataset = save(tmp_path, stored)
    source = open_source(str(path), axes=axes, dataset=dataset)
    expected = as_xyzc(stored, axes)
    assert (*source.shape, source.channels) == expected.shape
    assert source.dtype == (np.dtype("u1") if code == "?" else np.dtype(code).newbyteorder("="))
    box = draw.draw(windows(source.shape))
    found = source.read(box)
    assert found.dtype == source.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, expected[box.slices()])
    source.check()


@pytest.mark.parametrize("save", [save_npy, save_npz, save_packed, save_hdf5])
def test_a_window_is_the_callers_own(save: Save, tmp_path: Path) -> None:
    path, dataset = save(tmp_path, np.zeros((3, 3, 3), "u1"))
    source = open_source(str(path), axes="zyx", dataset=dataset)
    whole = Box((0, 0, 0), source.shape)
    source.read(whole)[:] = 7
    assert source.read(whole).max() == 0
    assert path.read_bytes() == save(tmp_path, np.zeros((3, 3, 3), "u1"))[0].read_bytes()


def test_sources_cross_processes_and_threads(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 9, (6, 7, 8), "u1")
    tifffile.imwrite(tmp_path / "s.tif", array, compression="zlib", photometric="minisblack")
    saved = [save(tmp_path, array) for save in (save_npy, save_npz, save_packed, save_hdf5)]
    for path, dataset in [*saved, (tmp_path / "s.tif", "")]:
        source: Source = pickle.loads(pickle.dumps(open_source(str(path), axes="zyx", dataset=dataset)))
        boxes = [Box((0, 0, k), (8, 7, k + 1)) for k in range(6)]
        with ThreadPoolExecutor(4) as threads:
            found = np.concatenate(list(threads.map(source.read, boxes)), axis=2)
        np.testing.assert_array_equal(found[..., 0], array.T)


def test_no_file_stays_open(tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6), "u2")
    tifffile.imwrite(tmp_path / "s.tif", array, compression="zlib", photometric="minisblack")
    saved = [save(tmp_path, array) for save in (save_npy, save_npz, save_packed, save_hdf5)]
    before = len(os.listdir("/proc/self/fd"))
    kept = []
    for path, dataset in [*saved, (tmp_path / "s.tif", "")]:
        kept.append(open_source(str(path), axes="zyx", dataset=dataset))
        kept[-1].read(Box((0, 0, 0), (2, 2, 2)))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("axes", "text"),
    [
        ("", "give axes"),
        ("zy", r"'zy' name 2 axes and the array has 3, of sizes \(2, 3, 4\)"),
        ("zyxc", "name 4 axes and the array has 3"),
        ("zyz", "each of x, y, z, c at most once"),
        ("tyx", "each of x, y, z, c at most once"),
    ],
)
def test_axes_that_do_not_fit_are_refused(tmp_path: Path, axes: str, text: str) -> None:
    path, _ = save_npy(tmp_path, np.zeros((2, 3, 4), "u1"))
    with pytest.raises(SpecError, match=text):
        open_source(str(path), axes=axes)


def test_paths_that_hold_nothing_readable_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.czi").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden.png").write_bytes(b"x")
    (tmp_path / "empty" / "notes.txt").write_bytes(b"x")
    for name, text in [
        ("a.czi", r"files \.czi are not read; known are: \.npy, \.npz, \.h5"),
        ("b.npy", "nothing of this name"),
        ("empty", "holds no image"),
        ("*.png", "holds no image"),
    ]:
        with pytest.raises(SpecError, match=text):
            open_source(str(tmp_path / name), axes="zyx")


def test_a_box_outside_is_refused(tmp_path: Path) -> None:
    path, _ = save_npy(tmp_path, np.zeros((2, 3, 4), "u1"))
    source = open_source(str(path), axes="zyx")
    for box in [Box((0, 0, 0), (4, 3, 3)), Box((-1, 0, 0), (4, 3, 2))]:
        with pytest.raises(SpecError, match="outside"):
            source.read(box)


def test_a_file_system_that_fails_for_a_moment_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = save_npy(tmp_path, np.zeros((2, 3, 4), "u1"))
    source = open_source(str(path), axes="zyx")

    def stale(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "stale file handle")

    monkeypatch.setattr(Path, "open", stale)
    with pytest.raises(TransientError, match="stale file handle"):
        source.read(Box((0, 0, 0), (1, 1, 1)))


def test_a_dataset_where_there_are_none_is_refused(tmp_path: Path) -> None:
    path, _ = save_npy(tmp_path, np.zeros((2, 3, 4), "u1"))
    with pytest.raises(SpecError, match="leave dataset 'em' out"):
        open_source(str(path), axes="zyx", dataset="em")


def test_a_real_stack_of_png() -> None:
    source = open_source(str(data("formats", "stacks", "example_z_stack")), axes="")
    assert (source.shape, source.channels, source.dtype.str) == ((512, 512, 2), 1, "|u1")
    second = data("formats", "stacks", "example_z_stack", "3254_my_stack_section001.png")
    with Image.open(second) as image:
        pixels = np.asarray(image)
    np.testing.assert_array_equal(source.read(Box((100, 7, 1), (300, 50, 2)))[..., 0, 0], pixels[7:50, 100:300].T)


def test_a_real_multipage_tiff() -> None:
    path = data("formats", "stacks", "test_multipage.tif")
    source = open_source(str(path), axes="zyx")
    assert (source.shape, source.dtype.name, source.resident_bytes) == ((512, 256, 10), "uint16", 0)
    plain = np.frombuffer(path.read_bytes()[782 : 782 + 2 * 10 * 256 * 512], ">u2").reshape(10, 256, 512)
    np.testing.assert_array_equal(source.read(Box((3, 5, 2), (60, 200, 9)))[..., 0], plain[2:9, 5:200, 3:60].T)


def test_a_real_compressed_npz() -> None:
    path = data("fib25", "train_z000-124.npz")
    source = open_source(str(path), axes="zyx", dataset="em")
    assert (source.shape, source.resident_bytes) == ((250, 250, 125), 250 * 250 * 125)
    whole = np.load(path)["em"]
    np.testing.assert_array_equal(source.read(Box((9, 8, 7), (50, 60, 70)))[..., 0], whole[7:70, 8:60, 9:50].T)
    with pytest.raises(SpecError, match="em, labels, supervoxels"):
        open_source(str(path), axes="zyx", dataset="raw")


def test_a_real_affinity_map() -> None:
    path = data("piriform", "piriform.aff.h5")
    source = open_source(str(path), axes="czyx", dataset="main")
    assert (source.shape, source.channels, source.dtype.name) == ((200, 200, 5), 3, "float32")
    with h5py.File(path, "r") as file:
        whole = file["main"][:]
    np.testing.assert_array_equal(source.read(Box((1, 2, 3), (90, 80, 5))), whole[:, 3:5, 2:80, 1:90].T)
