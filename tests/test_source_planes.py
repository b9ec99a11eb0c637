"""Files of microscopes as volumes, against the array that was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from igneous_ng.errors import DataError
from igneous_ng.geometry import Box
from igneous_ng.sources import open_source
from tests.containers import dat, dm, image, mrc_bytes
from tests.data import data

BOX = Box((3, 2, 1), (6, 5, 3))


def stack(dtype: str = "i2") -> NDArray[Any]:
    return np.random.default_rng(2).integers(0, 99, (3, 5, 7)).astype(dtype)


@pytest.mark.parametrize("name", ["a.mrc", "a.rec", "a.dm3", "a.dm4"])
def test_windows_equal_the_array_that_was_written(tmp_path: Path, name: str) -> None:
    if name.startswith("a.dm"):
        (tmp_path / name).write_bytes(dm([image(stack(), ">")], int(name[-1]), ">"))
    else:
        (tmp_path / name).write_bytes(mrc_bytes(stack(), 1, ">"))
    source = open_source(str(tmp_path / name), axes="")
    assert (source.shape, source.channels, source.dtype, source.resident_bytes) == ((7, 5, 3), 1, np.dtype("i2"), 0)
    source.check()
    np.testing.assert_array_equal(source.read(BOX)[..., 0], stack().T[BOX.slices()])


def test_a_volume_of_mrcfile(tmp_path: Path) -> None:
    mrcfile.write(tmp_path / "a.mrc", stack("f4"))
    source = open_source(str(tmp_path / "a.mrc"), axes="")
    np.testing.assert_array_equal(source.read(BOX)[..., 0], stack("f4").T[BOX.slices()])


def test_a_folder_of_dat_is_sections_with_channels(tmp_path: Path) -> None:
    rows = np.random.default_rng(3).integers(-99, 99, (3, 5, 7, 2)).astype("i2")
    for z in range(3):
        (tmp_path / f"s{z}.dat").write_bytes(dat(rows[z], 8))
    source = open_source(str(tmp_path), axes="")
    assert (source.shape, source.channels) == ((7, 5, 3), 2)
    source.check()
    np.testing.assert_array_equal(source.read(BOX), rows.transpose(2, 1, 0, 3)[BOX.slices()])
    Image.fromarray(np.zeros((5, 7), "u1")).save(tmp_path / "overview.png")
    assert open_source(str(tmp_path), axes="").shape == (7, 5, 1)  # the same suffix may mean anything beside images
    one = open_source(str(tmp_path / "s1.dat"), axes="")
    np.testing.assert_array_equal(one.read(Box((0, 0, 0), (7, 5, 1)))[:, :, 0], rows[1].transpose(1, 0, 2))


def test_the_shared_dat_is_a_section() -> None:
    source = open_source(str(data("formats", "fibsem_dat", "small_21-07-31_152727_0-0-1.dat")), axes="")
    assert (source.shape, source.channels, source.dtype) == ((100, 100, 1), 2, np.dtype("i2"))


@pytest.mark.parametrize("name", ["a.mrc", "a.dat", "a.dm4"])
def test_a_file_cut_anywhere_is_a_data_error(tmp_path: Path, name: str) -> None:
    whole = {
        "a.mrc": mrc_bytes(stack()[:1], 1),
        "a.dat": dat(stack()[..., np.newaxis][0], 9),
        "a.dm4": dm([image(stack()[0], "<")], 4, "<")[:-8],
    }[name]
    for length in range(0, len(whole), 7):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(DataError, match=name):
            open_source(str(tmp_path / name), axes="")
