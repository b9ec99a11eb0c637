"""Pictures inside of files of several: FIB-SEM, Gatan, MRC, HDF5."""

from __future__ import annotations

import io as memory
import itertools
import struct
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from igneous_ng import pictures
from igneous_ng.errors import DataError
from igneous_ng.formats import fibsem, gatan, mrc
from igneous_ng.formats.tiles import Picture
from igneous_ng.io import IO
from igneous_ng.store import Store
from tests.containers import dat, dm, image, mrc_bytes, number, text
from tests.data import data

Array = NDArray[Any]
FIBSEM = ("formats", "fibsem_dat")


def noise(shape: tuple[int, ...], dtype: str) -> Array:
    stored = np.dtype(dtype)
    return np.random.default_rng(5).integers(0, 100, shape).astype(stored)


def saved(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return f"file://{folder / name}"


def test_a_dat_is_what_others_made_of_it() -> None:
    path = data(*FIBSEM, "small_21-07-31_152727_0-0-1.dat")
    found = pictures.load(IO(), Picture(f"file://{path}"))
    with h5py.File(data(*FIBSEM, "small_21-07-31_152727.raw.h5")) as other:
        for channel in range(2):
            rows = other[f"0-0-1/c{channel}"][:]
            np.testing.assert_array_equal(found[..., channel], rows.T)
            one = pictures.load(IO(), Picture(f"file://{path}", "", str(channel)))
            np.testing.assert_array_equal(one[..., 0], rows.T)
        told = dict(other["0-0-1"].attrs)
    header = fibsem.parse(path.read_bytes()[:1024])
    for name in ("dat_file_name", "channel_data_set_names"):
        del told[name]
    assert header.fields.keys() == told.keys()
    for name, value in told.items():
        np.testing.assert_array_equal(header.fields[name], value, name)
    assert header.planes.pixel == told["PixelSize"]


@given(st.integers(1, 9), st.integers(1, 4), st.booleans(), st.integers(1, 9), st.integers(1, 9))
def test_a_dat_of_any_version(version: int, channels: int, eight: bool, width: int, height: int) -> None:
    rows = noise((height, width, channels), "u1" if eight else "i2")
    content = dat(rows, version, pixel=8.25)
    header = fibsem.parse(content)
    assert header.planes.size == (width, height, channels, rows.dtype)
    assert header.planes.pixel == 8.25
    np.testing.assert_array_equal(header.planes.decode(content[1024:]), rows)
    assert header.fields["Scaling"].shape == (channels if version < 7 else 2, 4)
    assert header.fields["Scaling"][0].tolist() == [1.5, 2.5, 3.5, 4.5]


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"])
@pytest.mark.parametrize(("version", "order"), [*itertools.product((3, 4), "<>")])
def test_a_dm_of_both_versions_and_byte_orders(tmp_path: Path, version: int, order: str, dtype: str) -> None:
    stack = noise((3, 5, 7), dtype)
    thumbnail = image(noise((9, 9), "u4"), order, code=23)
    taken = {"DataBar": {"Acquisition Time (OS)": number(1.3e17, order)}}
    content = dm([thumbnail, image(stack, order, scale=0.004, units="µm", tags=taken)], version, order)
    url = saved(tmp_path, "a.dm4", content)
    for plane in range(3):
        found = pictures.load(IO(), Picture(url, "", str(plane)))
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found[..., 0], stack[plane].T)
        assert pictures.size_of(IO(), Picture(url, "", str(plane))) == (7, 5, 1, np.dtype(dtype))
    planes = gatan.parse(memory.BytesIO(content))
    assert planes.pixel == pytest.approx(4.0)
    assert planes.time == "2012-12-14T23:06:40"
    with pytest.raises(DataError, match="a.dm4: .*3 slices"):
        pictures.load(IO(), Picture(url))


def test_of_several_images_the_largest_counts_and_of_like_ones_the_last() -> None:
    small, first, last = noise((2, 2), "u1"), noise((4, 6), "u1"), noise((4, 6), "u1") + 100
    for images in ([small, first, last], [first, last, small], [first, small, last]):
        content = dm([image(one, "<") for one in images], 3, "<")
        planes = gatan.parse(memory.BytesIO(content))
        np.testing.assert_array_equal(planes.decode(content[slice(*planes.span(0))])[..., 0], last)


def test_a_dm_without_a_picture_is_told(tmp_path: Path) -> None:
    spectrum, colours = image(noise((9,), "f4"), "<"), image(noise((4, 6), "u4"), "<", code=23)
    url = saved(tmp_path, "a.dm3", dm([spectrum, colours], 3, "<"))
    with pytest.raises(DataError, match="a.dm3: .*no image of plain numbers"):
        pictures.load(IO(), Picture(url))
    rows = noise((4, 6), "u2")
    url = saved(tmp_path, "b.dm3", dm([spectrum, image(rows, "<"), colours], 3, "<"))
    np.testing.assert_array_equal(pictures.load(IO(), Picture(url))[..., 0], rows.T)


def test_tags_of_a_dm_that_say_nothing_here_are_passed_over() -> None:
    rows = noise((4, 6), "i2")
    many = {
        "struct": struct.pack(">4s8I", b"%%%%", 7, 15, 0, 2, 0, 2, 0, 6) + bytes(6),
        "points": struct.pack(">4s10I", b"%%%%", 9, 20, 15, 0, 2, 0, 2, 0, 6, 3) + bytes(18),
        "word": text("none of our business", "<"),
        "flag": struct.pack(">4s2IB", b"%%%%", 1, 8, 1),
    }
    content = dm([image(rows, "<")], 3, "<", before=many)
    planes = gatan.parse(memory.BytesIO(content))
    np.testing.assert_array_equal(planes.decode(content[slice(*planes.span(0))])[..., 0], rows)
    assert (planes.pixel, planes.time) == (None, "")


MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", "<>")
def test_an_mrc_is_what_mrcfile_wrote(tmp_path: Path, mode: int, order: str) -> None:
    stack = noise((3, 5, 7), MODES[mode])
    path = tmp_path / "a.mrc"
    with mrcfile.new(path) as file:
        file.set_extended_header(np.zeros(40, "V1"))
        file.set_data(stack.astype(f"{order}{MODES[mode]}"))
        file.voxel_size = 40.0
        assert int(file.header.mode) == mode
    for plane in range(3):
        found = pictures.load(IO(), Picture(f"file://{path}", "", str(plane)))
        assert found.dtype == stack.dtype
        np.testing.assert_array_equal(found[..., 0], stack[plane].T)
    planes = pictures.header(IO(), Picture(f"file://{path}"))
    assert planes.dtype.byteorder in (order, "|", "=")
    assert planes.pixel == pytest.approx(4.0)
    assert planes.start == 1064


def test_bytes_of_an_mrc_are_unsigned_where_imod_says_so() -> None:
    content = bytearray(mrc_bytes(noise((1, 2, 3), "i1"), 0))
    assert mrc.parse(bytes(content)).dtype == "i1"
    content[152:160] = struct.pack("<2i", 1146047817, 0)
    assert mrc.parse(bytes(content)).dtype == "u1"
    content[152:160] = struct.pack("<2i", 1146047817, 1)
    assert mrc.parse(bytes(content)).dtype == "i1"


def test_an_old_mrc_without_a_stamp_is_told_by_its_axes() -> None:
    for order in "<>":
        content = bytearray(mrc_bytes(noise((1, 2, 3), "i2"), 1, order))
        content[208:216] = bytes(8)
        assert mrc.parse(bytes(content)).dtype == f"{order}i2"
        content[64:76] = bytes(12)
        with pytest.raises(ValueError, match="neither"):
            mrc.parse(bytes(content))


@pytest.mark.parametrize(
    ("mode", "said"), [(101, "four bits"), (3, "complex"), (4, "complex"), (16, "RGB"), (7, "unk")]
)
def test_modes_of_an_mrc_that_are_not_read_are_named(tmp_path: Path, mode: int, said: str) -> None:
    url = saved(tmp_path, "a.mrc", mrc_bytes(noise((1, 2, 3), "i1"), mode))
    for call in (pictures.load, pictures.size_of):
        with pytest.raises(DataError, match=f"a.mrc: .*mode {mode} .{said}"):
            call(IO(), Picture(url))


def hdf5(stack: Array, **options: Any) -> bytes:
    file = memory.BytesIO()
    with h5py.File(file, "w") as opened:
        opened.create_dataset("volumes/raw", data=stack, **options)
        opened.create_dataset("one", data=stack[0])
        opened.create_dataset("12:30", data=stack[1])
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 64, 64), "compression": "gzip"}, {"dtype": ">u2"}])
def test_a_plane_of_hdf5_is_read_without_the_others(tmp_path: Path, options: dict[str, Any]) -> None:
    stack = noise((20, 300, 200), "u2")
    url = saved(tmp_path, "a.h5", hdf5(stack, **options))
    io = IO()
    found = pictures.load(io, Picture(url, "", "volumes/raw:17"))
    np.testing.assert_array_equal(found[..., 0], stack[17].T)
    assert found.dtype == "u2"
    assert sum(read["span"][1] - read["span"][0] for read in io.ledger.reads) < 4 * stack[0].nbytes
    assert pictures.size_of(IO(), Picture(url, "", "volumes/raw:17")) == (200, 300, 1, np.dtype("u2"))
    np.testing.assert_array_equal(pictures.load(IO(), Picture(url, "", "one"))[..., 0], stack[0].T)
    np.testing.assert_array_equal(pictures.load(IO(), Picture(url, "", "12:30"))[..., 0], stack[1].T)
    for part, said in {
        "volumes/raw:20": "20 planes",
        "volumes/raw": "needs dataset:plane",
        "one:0": "needs",
        "two": "no dataset 'two'",
        "": "no dataset ''",
    }.items():
        with pytest.raises(DataError, match=said):
            pictures.load(IO(), Picture(url, "", part))


SMALL = {
    "a.dat": (dat(noise((3, 4, 2), "i2"), 8), "1"),
    "a.dm3": (dm([image(noise((3, 4), "u2"), "<", scale=4.0, units="nm")], 3, "<"), ""),
    "a.dm4": (dm([image(noise((3, 4), "u2"), ">")], 4, ">"), "0"),
    "a.mrc": (mrc_bytes(noise((1, 3, 4), "i2"), 1), "0"),
    "a.h5": (hdf5(noise((2, 3, 4), "u2")), "volumes/raw:1"),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_file_cut_anywhere_is_a_data_error_that_names_it(tmp_path: Path, name: str) -> None:
    content, part = SMALL[name]
    whole = pictures.load(IO(), Picture(saved(tmp_path, name, content), "", part))
    for length in range(len(content)):
        picture = Picture(saved(tmp_path, name, content[:length]), "", part)
        try:
            found = pictures.load(IO(), picture)
        except DataError as error:
            said = str(error)
        else:
            assert name[2:] in ("dm3", "dm4"), length  # nulls that mark its end
            assert length >= len(content) - 8
            said = name
            np.testing.assert_array_equal(found, whole)
        assert name in said


@pytest.mark.parametrize("name", SMALL)
def test_parts_are_read_from_a_bucket_as_from_a_disk(tmp_path: Path, name: str) -> None:
    content, part = SMALL[name]
    store = Store()
    store.put(f"mem://parts/{name}", content)
    there = Picture(f"mem://parts/{name}", "", part)
    here = Picture(saved(tmp_path, name, content), "", part)
    np.testing.assert_array_equal(pictures.load(IO(store), there), pictures.load(IO(), here))
    assert pictures.size_of(IO(store), there) == pictures.size_of(IO(), here)
    with pytest.raises(DataError, match=f"parts/no_{name}: .*not there"):
        pictures.load(IO(store), Picture(f"mem://parts/no_{name}", "", part))


@given(st.sampled_from(sorted(SMALL)), st.integers(0, 2000), st.binary(min_size=1, max_size=8))
def test_bytes_changed_anywhere_are_pixels_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, at: int, put: bytes
) -> None:
    content, part = SMALL[name]
    at %= len(content)
    url = saved(tmp_path_factory.mktemp("changed"), name, content[:at] + put + content[at + len(put) :])
    for call in (pictures.load, pictures.size_of):
        try:
            call(IO(), Picture(url, "", part))
        except DataError as error:
            said = str(error)
        else:
            said = name
        assert name in said
