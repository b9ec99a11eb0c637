"""TIFF stacks in the shapes that writers give them, against the array that was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.sources import open_source
from igneous_ng.sources.mapped import Mapped
from igneous_ng.sources.tiff import Pages, open_tiff

GRAY: dict[str, Any] = {"photometric": "minisblack"}
WAYS: dict[str, tuple[dict[str, Any], bool]] = {
    "plain": ({}, True),
    "plain big-endian": ({"byteorder": ">"}, True),
    "bigtiff": ({"bigtiff": True}, True),
    "imagej": ({"imagej": True}, True),
    "ome": ({"ome": True}, True),
    "deflate strips": ({"compression": "zlib", "rowsperstrip": 7, "metadata": None}, False),
    "deflate big-endian": ({"compression": "zlib", "byteorder": ">", "predictor": True}, False),
    "ome deflate": ({"ome": True, "compression": "zlib"}, False),
    "tiles": ({"tile": (16, 32), "metadata": None}, False),
    "lzw tiles": ({"tile": (16, 16), "compression": "lzw"}, False),
}
BOXES = [
    Box((0, 0, 0), (50, 40, 5)),
    Box((17, 3, 1), (18, 39, 4)),
    Box((31, 15, 4), (50, 33, 5)),
    Box((16, 16, 2), (32, 32, 3)),
]


def stack(dtype: str = "u2") -> NDArray[Any]:
    return np.random.default_rng(1).integers(0, 250, (5, 40, 50)).astype(dtype)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("way", WAYS)
def test_windows_equal_the_array_that_was_written(tmp_path: Path, way: str, dtype: str) -> None:
    options, mapped = WAYS[way]
    tifffile.imwrite(tmp_path / "s.tif", stack(dtype), **GRAY, **options)
    source = open_source(str(tmp_path / "s.tif"), axes="")
    assert (source.shape, source.channels, source.dtype) == ((50, 40, 5), 1, np.dtype(dtype))
    assert isinstance(open_tiff(tmp_path / "s.tif"), Mapped if mapped else Pages)
    assert (source.resident_bytes == 0) == mapped
    assert source.resident_bytes <= 50 * 40 * source.dtype.itemsize
    source.check()
    for box in BOXES:
        np.testing.assert_array_equal(source.read(box)[..., 0], stack(dtype).T[box.slices()])


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16), "compression": "lzw"}])
def test_samples_are_channels(tmp_path: Path, options: dict[str, Any]) -> None:
    array = np.random.default_rng(2).integers(0, 250, (4, 20, 30, 3)).astype("u2")
    tifffile.imwrite(tmp_path / "s.tif", array, photometric="rgb", **options)
    source = open_source(str(tmp_path / "s.tif"), axes="zyxc")
    assert (source.shape, source.channels) == ((30, 20, 4), 3)
    np.testing.assert_array_equal(
        source.read(Box((5, 1, 1), (30, 19, 3))), array.transpose(2, 1, 0, 3)[5:30, 1:19, 1:3]
    )


def test_masks_of_one_bit_become_bytes(tmp_path: Path) -> None:
    mask = stack("u1") > 100
    tifffile.imwrite(tmp_path / "s.tif", mask)
    source = open_source(str(tmp_path / "s.tif"), axes="zyx")
    assert source.dtype == np.uint8
    np.testing.assert_array_equal(source.read(BOXES[1])[..., 0], mask.T[BOXES[1].slices()])


def test_pages_written_by_pillow_and_a_single_page(tmp_path: Path) -> None:
    pages = [Image.fromarray(page) for page in stack()]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:])
    pages[3].save(tmp_path / "one.tiff")
    source = open_source(str(tmp_path / "s.tif"), axes="zyx")
    np.testing.assert_array_equal(source.read(BOXES[1])[..., 0], stack().T[BOXES[1].slices()])
    one = open_source(str(tmp_path / "one.tiff"), axes="zyx")
    np.testing.assert_array_equal(one.read(Box((0, 0, 0), (50, 40, 1)))[..., 0, 0], stack()[3].T)


def test_tiles_that_a_file_leaves_out_are_zero(tmp_path: Path) -> None:
    tiles = (tile for tile in [np.ones((16, 16), "u1"), None, None, np.full((16, 16), 2, "u1")])
    tifffile.imwrite(tmp_path / "s.tif", tiles, shape=(32, 32), dtype="u1", tile=(16, 16), compression="zlib", **GRAY)
    found = open_source(str(tmp_path / "s.tif"), axes="").read(Box((0, 0, 0), (32, 32, 1)))[..., 0, 0]
    np.testing.assert_array_equal(found, np.kron([[1, 0], [0, 2]], np.ones((16, 16))))


def test_only_tiles_in_the_window_are_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", stack(), tile=(16, 16), compression="zlib", **GRAY)
    with tifffile.TiffFile(tmp_path / "s.tif") as tif:
        page = tif.pages.first
        at, size = page.dataoffsets[5], page.databytecounts[5]
    whole = bytearray((tmp_path / "s.tif").read_bytes())
    whole[at : at + size] = bytes(size)
    (tmp_path / "s.tif").write_bytes(whole)
    source = open_source(str(tmp_path / "s.tif"), axes="")
    np.testing.assert_array_equal(source.read(Box((0, 0, 0), (16, 40, 1)))[..., 0, 0], stack()[0].T[:16])
    with pytest.raises(DataError, match=r"s\.tif"):
        source.read(Box((16, 16, 0), (17, 17, 1)))


def test_stacks_that_are_not_one_stack_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(stack()[0], metadata=None)
        writer.write(stack()[1, :20], metadata=None)
    with pytest.raises(DataError, match="form 2 stacks"):
        open_source(str(path), axes="")
    tifffile.imwrite(path, np.zeros((2, 3, 40, 50), "u1"), imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(DataError, match="along several axes"):
        open_source(str(path), axes="")
    tifffile.imwrite(path, np.zeros((3, 40, 50), "u1"), photometric="rgb", planarconfig="separate")
    with pytest.raises(DataError, match="separate planes"):
        open_source(str(path), axes="")
    Image.fromarray(stack("u1")[0]).convert("P").save(path)
    with pytest.raises(DataError, match="palette"):
        open_source(str(path), axes="")


def test_pages_that_change_are_named(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, stack(), compression="zlib", **GRAY)
    source = open_source(str(path), axes="")
    with tifffile.TiffWriter(path) as writer:
        writer.write(stack()[0], metadata=None, compression="zlib")
        writer.write(stack()[1, :20], metadata=None, compression="zlib")
    with pytest.raises(DataError, match=r"page 1 is \(20, 50\)"):
        source.check()
    with pytest.raises(DataError, match=r"page 1 is \(20, 50\)"):
        source.read(Box((0, 0, 1), (1, 1, 2)))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.filterwarnings("error")
def test_damaged_files_are_named(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, stack(), **GRAY, **options)
    whole = path.read_bytes()
    for keep in (0, 6, 100, len(whole) // 2):
        path.write_bytes(whole[:keep])
        with pytest.raises(DataError, match=r"s\.tif"):
            open_source(str(path), axes="zyx").read(BOXES[0])


def test_axes_are_fixed(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", stack(), **GRAY)
    with pytest.raises(SpecError, match="images are zyx"):
        open_source(str(tmp_path / "s.tif"), axes="xyz")
    with pytest.raises(SpecError, match="name 4 axes and the array has 3"):
        open_source(str(tmp_path / "s.tif"), axes="zyxc")
