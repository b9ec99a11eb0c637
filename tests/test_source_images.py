"""Folders and globs of single images: order, exact samples, differences and damage."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.sources import images, open_source


def png(pixels: NDArray[Any], depth: int, color: int) -> bytes:
    """A PNG made by hand, to be independent of the decoder: rows of big-endian samples, no filter."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows, columns = pixels.shape[:2]
    if depth < 8:
        spread = (pixels[..., np.newaxis] >> np.arange(depth)[::-1]) & 1
        lines = [np.packbits(row).tobytes() for row in spread.reshape(rows, -1).astype(bool)]
    else:
        lines = [row.astype(f">u{depth // 8}").tobytes() for row in pixels]
    body = zlib.compress(b"".join(b"\0" + line for line in lines))
    head = struct.pack(">IIBBBBB", columns, rows, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def section(k: int, dtype: str = "u1", shape: tuple[int, ...] = (20, 30)) -> NDArray[Any]:
    return np.random.default_rng(k).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_sections_are_in_natural_order(tmp_path: Path) -> None:
    for k in (1, 2, 10, 9):
        Image.fromarray(section(k)).save(tmp_path / f"img{k}.png")
    (tmp_path / "._img1.png").write_bytes(b"left by a file system")
    (tmp_path / "Thumbs.db").write_bytes(b"left by another")
    for path in (str(tmp_path), str(tmp_path / "img*.png")):
        source = open_source(path, axes="")
        assert source.shape == (30, 20, 4)
        source.check()
        found = source.read(Box((3, 4, 1), (30, 15, 4)))
        expected = np.stack([section(k) for k in (2, 9, 10)]).T[3:30, 4:15]
        np.testing.assert_array_equal(found[..., 0], expected)


@given(st.lists(st.text("a0129²٣-", min_size=1)))
def test_the_order_is_total_and_numbers_count_as_numbers(names: list[str]) -> None:
    paths = sorted(map(Path, names), key=images.natural)
    assert paths == sorted(reversed(paths), key=images.natural)  # noqa: C414 - whatever the order before
    assert images.natural(Path("s_2_z9")) < images.natural(Path("s_2_z10")) < images.natural(Path("s_10_z1"))


@pytest.mark.parametrize(
    ("depth", "color", "shape", "channels"),
    [
        (1, 0, (20, 30), 1),
        (8, 0, (20, 30), 1),
        (16, 0, (20, 30), 1),
        (8, 2, (20, 30, 3), 3),
        (8, 4, (20, 30, 2), 2),
        (8, 6, (20, 30, 4), 4),
    ],
)
def test_png_samples_are_exact(tmp_path: Path, depth: int, color: int, shape: tuple[int, ...], channels: int) -> None:
    pixels = section(5, "u2" if depth == 16 else "u1", shape)
    pixels = pixels & 1 if depth == 1 else pixels
    (tmp_path / "a.png").write_bytes(png(pixels, depth, color))
    source = open_source(str(tmp_path / "a.png"), axes="")
    assert (source.shape, source.channels, source.dtype) == ((30, 20, 1), channels, pixels.dtype)
    assert source.resident_bytes == pixels.nbytes
    found = source.read(Box((2, 0, 0), (29, 20, 1)))
    np.testing.assert_array_equal(found[:, :, 0], pixels.reshape(20, 30, channels)[:, 2:29].swapaxes(0, 1))


@pytest.mark.parametrize(("depth", "color", "samples"), [(2, 0, 1), (4, 0, 1), (16, 2, 3), (16, 4, 2), (16, 6, 4)])
def test_png_samples_that_would_be_changed_are_refused(tmp_path: Path, depth: int, color: int, samples: int) -> None:
    pixels = section(5, "u2", (20, 30, samples)) >> (16 - depth)
    (tmp_path / "a.png").write_bytes(png(pixels if samples > 1 else pixels[..., 0], depth, color))
    with pytest.raises(DataError, match="cannot be read as they are"):
        open_source(str(tmp_path / "a.png"), axes="")


def test_palettes_are_refused(tmp_path: Path) -> None:
    Image.fromarray(section(0)).convert("P").save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: pixels of kind P"):
        open_source(str(tmp_path), axes="")


def test_jpeg_and_tiff_sections(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(20), np.arange(30)).astype("u1")
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    found = open_source(str(tmp_path / "a.jpg"), axes="").read(Box((0, 0, 0), (30, 20, 1)))[..., 0, 0]
    assert np.abs(found.astype(int) - smooth.T).max() <= 3
    ways: list[dict[str, Any]] = [{}, {"compression": "zlib"}, {"byteorder": ">"}]
    for k, options in enumerate(ways):
        tifffile.imwrite(tmp_path / f"t{k}.tif", section(k, "u2"), **options)
    source = open_source(str(tmp_path / "t*.tif"), axes="zyx")
    assert source.dtype == np.uint16
    source.check()
    found = source.read(Box((1, 2, 0), (30, 20, 3)))[..., 0]
    np.testing.assert_array_equal(found, np.stack([section(k, "u2") for k in range(3)]).T[1:30, 2:20])


@pytest.mark.parametrize("other", [section(1, "u1", (20, 31)), section(1, "u2"), section(1, "u1", (20, 30, 3))])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sections_that_differ_are_named(tmp_path: Path, other: NDArray[Any], suffix: str) -> None:
    for k, pixels in enumerate([section(0), other]):
        if suffix == "png":
            Image.fromarray(pixels).save(tmp_path / f"{k}.png")
        else:
            tifffile.imwrite(tmp_path / f"{k}.tif", pixels)
    source = open_source(str(tmp_path), axes="zyx")
    with pytest.raises(DataError, match=rf"1\.{suffix}: is \(20, 3"):
        source.check()
    with pytest.raises(DataError, match=rf"1\.{suffix}: is \(20, 3"):
        source.read(Box((0, 0, 1), (1, 1, 2)))
    assert source.read(Box((0, 0, 0), (1, 1, 1))).item() == section(0)[0, 0]


def test_damaged_and_missing_sections_are_named(tmp_path: Path) -> None:
    for k in range(3):
        Image.fromarray(section(k)).save(tmp_path / f"{k}.png")
    source = open_source(str(tmp_path), axes="zyx")
    whole = (tmp_path / "1.png").read_bytes()
    for bad in (b"", b"GIF89a", whole[: len(whole) // 2], whole[:60] + bytes(40) + whole[100:]):
        (tmp_path / "1.png").write_bytes(bad)
        with pytest.raises(DataError, match=r"1\.png"):
            source.read(Box((0, 0, 0), (30, 20, 3)))
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match=r"2\.png: the file is gone"):
        source.read(Box((0, 0, 2), (30, 20, 3)))


def test_large_sections_are_no_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's guard is set low here instead of making a section of 179 million pixels."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.fromarray(section(0)).save(tmp_path / "0.png")
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "0.png")
    source = open_source(str(tmp_path), axes="zyx")
    assert source.read(Box((0, 0, 0), (30, 20, 1))).shape == (30, 20, 1, 1)


def test_a_folder_takes_files_of_one_page(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "0.tif", np.zeros((5, 20, 30), "u1"), photometric="minisblack")
    with pytest.raises(DataError, match="has 5 pages"):
        open_source(str(tmp_path), axes="zyx")


def test_axes_are_fixed(tmp_path: Path) -> None:
    Image.fromarray(section(0)).save(tmp_path / "0.png")
    with pytest.raises(SpecError, match="images are zyx"):
        open_source(str(tmp_path), axes="yx")
