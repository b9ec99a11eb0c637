"""Tiles and sections in container files: what adapters say of them, and that their pictures can be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from igneous_ng import adapters, pictures
from igneous_ng.adapters.base import Choices
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.tiles import Tile, checked
from igneous_ng.io import IO
from tests.containers import dat, dm, image, mrc_bytes
from tests.data import data

Array = NDArray[Any]


def noise(shape: tuple[int, ...], dtype: str = "u1", seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)


def planned(name: str, source: Path, **choices: Any) -> list[Tile]:
    found = list(adapters.load(name).tiles(IO(), f"file://{source}", Choices(**choices)))
    return [checked(tile, "here") for tile in found]


def shown(tile: Tile) -> Array:
    """Rows of the tile's picture; their size is what the tile says."""
    found = pictures.load(IO(), tile.picture)
    assert found.shape[:2] == (tile.width, tile.height)
    return found[..., 0].T


def test_slices_of_mrc_files_are_sections(tmp_path: Path) -> None:
    first, second = noise((3, 5, 7), "i2"), noise((2, 5, 7), "i2", 1)
    (tmp_path / "s2.mrc").write_bytes(mrc_bytes(first, 1))
    (tmp_path / "s10.st").write_bytes(mrc_bytes(second, 1, ">"))
    (tmp_path / "notes.txt").write_text("none of it")
    found = planned("mrc", tmp_path, z=100)
    assert [(tile.z, tile.tile, tile.part) for tile in found] == [
        (100, "s2", "0"), (101, "s2", "1"), (102, "s2", "2"), (103, "s10", "0"), (104, "s10", "1"),
    ]  # fmt: skip
    assert {tile.pixel for tile in found} == {4.0}
    np.testing.assert_array_equal([shown(tile) for tile in found], np.concatenate([first, second]))
    assert planned("mrc", tmp_path / "s2.mrc", pixel=3.0)[0].pixel == 3.0


def test_dm_files_are_sections_and_a_torn_one_keeps_its_number(tmp_path: Path) -> None:
    stack = noise((3, 5, 7), "u2")
    for n, rows in enumerate(stack):
        made = image(rows, "<", scale=0.0055, units="µm")
        (tmp_path / f"s{n}.dm3").write_bytes(dm([made], 3, "<")[: 60 if n == 1 else None])
    found = planned("dm", tmp_path)
    assert [(tile.z, tile.tile, tile.part, tile.width) for tile in found] == [
        (0, "s0", "", 7), (1, "s1", "", None), (2, "s2", "", 7),
    ]  # fmt: skip
    assert [tile.pixel for tile in found] == pytest.approx([5.5] * 3)
    np.testing.assert_array_equal(shown(found[2]), stack[2])
    with pytest.raises(DataError, match="s1.dm3.*torn"):
        planned("dm", tmp_path / "s1.dm3")


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"metadata": None, "compression": "zlib"}])
def test_pages_of_tiff_files_are_sections(tmp_path: Path, options: dict[str, Any]) -> None:
    stack = noise((4, 5, 7), "u2")
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", **options)
    tifffile.imwrite(tmp_path / "b.tif", stack[0, :3], photometric="minisblack")
    found = planned("tiff", tmp_path, pixel=4.0)
    assert [(tile.z, tile.tile, tile.part.partition("@")[0]) for tile in found] == [
        (0, "a", "0"), (1, "a", "1"), (2, "a", "2"), (3, "a", "3"), (4, "b", ""),
    ]  # fmt: skip
    np.testing.assert_array_equal([shown(tile) for tile in found[:4]], stack)
    np.testing.assert_array_equal(shown(found[4]), stack[0, :3])
    with pytest.raises(SpecError, match="a.tif.* --pixel"):
        planned("tiff", tmp_path)


def test_the_shared_stack_of_pages() -> None:
    path = data("formats", "stacks", "test_multipage.tif")
    stack = tifffile.imread(path)
    found = planned("tiff", path, pixel=1.0)
    np.testing.assert_array_equal([shown(tile) for tile in found], stack)


def test_planes_of_a_dataset_are_sections(tmp_path: Path) -> None:
    stack = noise((4, 5, 7))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["volumes/raw"] = stack
        file["volumes/raw"].attrs["resolution"] = [40.0, 4.0, 4.0]
        file["labels"] = stack
        file["labels"].attrs["resolution"] = [40.0, 4.0, 5.0]
        file["words"] = "no pictures"
        file["line"] = np.arange(3)
        file["flat"] = stack[1]
    found = planned("hdf5", tmp_path, dataset="/volumes/raw", z=7)
    assert [(tile.z, tile.part, tile.pixel) for tile in found] == [(7 + n, f"volumes/raw:{n}", 4.0) for n in range(4)]
    np.testing.assert_array_equal([shown(tile) for tile in found], stack)
    (flat,) = planned("hdf5", tmp_path, dataset="flat", pixel=2.0)
    np.testing.assert_array_equal(shown(flat), stack[1])
    with pytest.raises(SpecError, match="a.h5.*--pixel"):
        planned("hdf5", tmp_path, dataset="labels")
    with pytest.raises(SpecError, match="flat, labels, volumes/raw"):
        planned("hdf5", tmp_path)
    with pytest.raises(SpecError, match="'line'.*flat, labels"):
        planned("hdf5", tmp_path, dataset="line")


def test_the_only_dataset_needs_no_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        file["main"] = noise((2, 5, 7))
    assert [tile.part for tile in planned("hdf5", tmp_path, pixel=1.0)] == ["main:0", "main:1"]


def dats(folder: Path, version: int) -> Array:
    """Two sections of one row of two tiles, [section, column, y, x, channel]."""
    rows = noise((2, 2, 5, 7, 2), "i2")
    for z, time in enumerate(("21-07-31_235959", "21-08-01_000102")):
        for col in range(2):
            name = f"2021/08/Merlin-6284_{time}_0-0-{col}.dat"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(dat(rows[z, col], version, 8.0, first=(6 * col - 3, -2)))
    return rows


@pytest.mark.parametrize("version", [8, 9])
def test_dat_files_are_tiles_and_their_detectors_channels(tmp_path: Path, version: int) -> None:
    rows = dats(tmp_path, version)
    (tmp_path / "2021" / "log.dat").write_text("no tile")
    found = planned("dat", tmp_path, overlap=(0.5, 0.0))
    assert [(tile.z, tile.tile, tile.channel) for tile in found] == [
        (z, f"0-0-{col}", channel) for z in range(2) for col in range(2) for channel in range(2)
    ]
    expected = [6.0 * 8 * col - 24 if version == 9 else 3.5 * 8 * col for col in range(2)]
    assert [tile.x for tile in found[::2]] == expected * 2
    assert {tile.y for tile in found} == {-16.0 if version == 9 else 0.0}
    assert {(tile.camera, tile.pixel, tile.row) for tile in found} == {("Merlin-6284", 8.0, 0)}
    assert [tile.time for tile in found[::4]] == ["2021-07-31T23:59:59", "2021-08-01T00:01:02"]
    for tile in found:
        np.testing.assert_array_equal(shown(tile), rows[tile.z, tile.col or 0, ..., tile.channel])


def test_a_dat_with_a_torn_header_lies_where_the_one_before_it_lay(tmp_path: Path) -> None:
    dats(tmp_path, 9)
    whole = planned("dat", tmp_path)
    torn = next(tmp_path.rglob("*000102_0-0-1.dat"))
    torn.write_bytes(torn.read_bytes()[:500])
    found = planned("dat", tmp_path)
    assert [(tile.z, tile.tile, tile.x, tile.channel) for tile in found] == [
        (tile.z, tile.tile, tile.x, tile.channel) for tile in whole
    ]
    assert [tile.width for tile in found] == [7] * 6 + [None] * 2
    next(tmp_path.rglob("*235959_0-0-1.dat")).write_bytes(b"")
    with pytest.raises(DataError, match="235959_0-0-1.dat"):
        planned("dat", tmp_path)


def test_the_shared_dat() -> None:
    (first, second) = planned("dat", data("formats", "fibsem_dat"))
    assert (first.tile, first.row, first.col, first.time) == ("0-0-1", 0, 1, "2021-07-31T15:27:27")
    assert first.pixel == 7.999855995178223
    assert (first.x, first.y) == (-2625 * first.pixel, -1326 * first.pixel)
    assert (second.channel, second.part, second.size) == (1, "1", 45639)


@pytest.mark.parametrize("name", ["dat", "dm", "hdf5", "mrc", "tiff"])
def test_a_folder_without_such_files_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match="there is no file below this folder that ends with"):
        planned(name, tmp_path, pixel=1.0)
    with pytest.raises(DataError, match="no files below this folder"):
        planned(name, tmp_path / "nothing", pixel=1.0)


def test_dat_names_without_a_time_are_told(tmp_path: Path) -> None:
    (tmp_path / "M_99-99-99_000000_0-0-0.dat").write_bytes(b"")
    with pytest.raises(DataError, match="99-99-99_000000 is no time"):
        planned("dat", tmp_path)
    (tmp_path / "M_99-99-99_000000_0-0-0.dat").rename(tmp_path / "a.dat")
    with pytest.raises(DataError, match="no file is called SCOPE"):
        planned("dat", tmp_path)
    with pytest.raises(SpecError, match="overlap"):
        planned("dat", tmp_path, overlap=(1.0, 0.0))
