"""Pictures of every kind: exactly what was stored, or an error that names the file."""

from __future__ import annotations

import io as memory
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import simplejpeg
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from igneous_ng import pictures
from igneous_ng.errors import DataError
from igneous_ng.formats.tiles import Picture
from igneous_ng.io import IO

Array = NDArray[Any]


def texture(shape: tuple[int, ...], dtype: str) -> Array:
    """Rows of pixels."""
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max, shape, dtype)


def bmp(rows: Array, *, upright: bool = False, palette: Array | None = None) -> bytes:
    """A BMP by the book: rows of gray with a palette, or RGB."""
    gray = rows.ndim == 2
    table = b""
    if gray:
        levels = np.arange(256) if palette is None else palette
        table = np.stack([levels, levels, levels, np.zeros(256)], axis=1).astype("u1").tobytes()
    height, width = rows.shape[:2]
    lines = rows if gray else rows[..., ::-1].reshape(height, -1)
    padded = np.pad(lines, ((0, 0), (0, -lines.shape[1] % 4)))
    start = 54 + len(table)
    head = struct.pack("<2sIII", b"BM", start + padded.size, 0, start)
    sizes = (width, -height if upright else height, 1, 8 if gray else 24, 0, padded.size, 0, 0, 256 if gray else 0, 0)
    return head + struct.pack("<IiiHHIIiiII", 40, *sizes) + table + padded[:: 1 if upright else -1].tobytes()


def tiff(rows: Array, **options: Any) -> bytes:
    file = memory.BytesIO()
    tifffile.imwrite(file, rows, **options)
    return file.getvalue()


def saved(folder: Path, name: str, data: bytes, part: str = "") -> Picture:
    (folder / name).write_bytes(data)
    return Picture(f"file://{folder / name}", "", part)


EXACT: dict[str, tuple[str, Any, tuple[int, ...], str]] = {
    "png gray": ("png", imagecodecs.png_encode, (37, 53), "u1"),
    "png 16": ("png", imagecodecs.png_encode, (37, 53), "u2"),
    "png rgb": ("png", imagecodecs.png_encode, (37, 53, 3), "u1"),
    "png rgba 16": ("png", imagecodecs.png_encode, (37, 53, 4), "u2"),
    "bmp gray": ("bmp", bmp, (37, 53), "u1"),
    "bmp upright": ("bmp", lambda rows: bmp(rows, upright=True), (37, 53), "u1"),
    "bmp rgb": ("bmp", bmp, (37, 53, 3), "u1"),
    "tiff": ("tif", tiff, (37, 53), "u1"),
    "tiff big-endian": ("tif", lambda rows: tiff(rows, byteorder=">"), (37, 53), "u2"),
    "tiff tiles": ("tif", lambda rows: tiff(rows, tile=(16, 32), compression="zlib"), (37, 53), "u2"),
    "tiff rgb": ("tif", lambda rows: tiff(rows, photometric="rgb"), (37, 53, 3), "u1"),
    "tiff planes": ("tif", lambda rows: tiff(np.moveaxis(rows, 2, 0), photometric="rgb", planarconfig="separate"),
                    (37, 53, 3), "u1"),
    "tiff lzw": ("tif", lambda rows: tiff(rows, compression="lzw", predictor=True), (37, 53), "u2"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_pixels_and_size_are_those_that_were_stored(tmp_path: Path, name: str) -> None:
    suffix, encode, shape, dtype = EXACT[name]
    rows = texture(shape, dtype)
    picture = saved(tmp_path, f"a.{suffix}", encode(rows))
    found = pictures.load(IO(), picture)
    np.testing.assert_array_equal(found, rows.reshape(37, 53, -1).transpose(1, 0, 2))
    assert found.dtype == np.dtype(dtype)
    assert found.flags.f_contiguous
    assert not found.flags.writeable
    assert pictures.size_of(IO(), picture) == (*found.shape, found.dtype)


@pytest.mark.parametrize("space", ["GRAY", "RGB"])
def test_a_jpeg_is_what_another_decoder_says(tmp_path: Path, space: str) -> None:
    rows = np.add.outer(np.arange(64), 2 * np.arange(48)).astype("u1")[..., None].repeat(1 if space == "GRAY" else 3, 2)
    data = simplejpeg.encode_jpeg(rows, 95, space, "Gray" if space == "GRAY" else "444")
    picture = saved(tmp_path, "a.jpg", data)
    found = pictures.load(IO(), picture)
    other = imagecodecs.jpeg8_decode(data).reshape(64, 48, -1)
    np.testing.assert_array_equal(found, other.transpose(1, 0, 2))
    assert pictures.size_of(IO(), picture) == (48, 64, rows.shape[2], np.dtype("u1"))


def test_a_bmp_of_another_writer(tmp_path: Path) -> None:
    rows = texture((37, 53), "u1")
    Image.fromarray(rows).save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(pictures.load(IO(), Picture(f"file://{tmp_path}/a.bmp"))[..., 0], rows.T)


def test_a_gray_palette_in_another_order_gives_its_levels(tmp_path: Path) -> None:
    rows = texture((37, 53), "u1")
    picture = saved(tmp_path, "a.bmp", bmp(rows, palette=np.arange(256)[::-1]))
    np.testing.assert_array_equal(pictures.load(IO(), picture)[..., 0], 255 - rows.T)


def pillow(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = memory.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


GRADIENT = Image.fromarray(np.arange(256, dtype="u1").reshape(16, 16))
REFUSED = {
    "bilevel.png": (pillow(GRADIENT.convert("1"), "PNG"), "1 bits"),
    "palette.png": (pillow(GRADIENT.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE), "PNG"), "palette"),
    "clear.png": (pillow(GRADIENT, "PNG", transparency=3), "transparent"),
    "bilevel.bmp": (pillow(GRADIENT.convert("1"), "BMP"), "1 bits"),
    "palette.bmp": (
        pillow(Image.merge("RGB", (GRADIENT, GRADIENT, GRADIENT.rotate(90))).quantize(64), "BMP"),
        "numbers of colours",
    ),
    "ink.jpg": (pillow(GRADIENT.convert("CMYK"), "JPEG"), "4 channels"),
    "bilevel.tif": (tiff(np.eye(16, dtype=bool)), "1 bits"),
    "palette.tif": (pillow(GRADIENT.convert("P"), "TIFF"), "palette"),
    "deep.jpg": (
        bytes(simplejpeg.encode_jpeg(texture((16, 16, 1), "u1"), 50, "GRAY", "Gray")).replace(
            b"\xff\xc0\0\x0b\x08", b"\xff\xc0\0\x0b\x0c"
        ),
        "1 channels of 12 bits",
    ),
    "pages.tif": (tiff(texture((3, 9, 9), "u1"), photometric="minisblack"), "3 pages, and none was chosen"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_changed_is_refused_by_name(tmp_path: Path, name: str) -> None:
    data, said = REFUSED[name]
    picture = saved(tmp_path, name, data)
    with pytest.raises(DataError, match=f"{name}: .*{said}"):
        pictures.load(IO(), picture)


def twelve_bits(rows: Array) -> bytes:
    """A TIFF by the book, its pixels packed: two in three bytes, the upper bits first."""
    even, odd = rows.reshape(-1, 2).T.astype(int)
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], axis=1).astype("u1").tobytes()
    tags = {256: rows.shape[1], 257: rows.shape[0], 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: rows.shape[0],
            279: len(packed)}  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHI", b"II", 42, 8 + len(packed)) + packed + struct.pack("<H", len(tags)) + table + bytes(4)


def test_twelve_bits_in_a_tiff_are_exact(tmp_path: Path) -> None:
    rows = texture((8, 16), "u2") & 0xFFF
    found = pictures.load(IO(), saved(tmp_path, "a.tif", twelve_bits(rows)))
    assert found.dtype == np.dtype("u2")
    np.testing.assert_array_equal(found[..., 0], rows.T)


CUT = {
    "a.png": imagecodecs.png_encode(texture((7, 9), "u2")),
    "a.jpg": simplejpeg.encode_jpeg(texture((16, 16, 1), "u1"), 50, "GRAY", "Gray"),
    "a.bmp": bmp(texture((7, 9), "u1")),
    "a.tif": tiff(texture((7, 9), "u2"), metadata=None),
    "packed.tif": tiff(texture((16, 32), "u2") & 7, metadata=None, compression="zlib", tile=(16, 16)),
    "lzw.tif": tiff(texture((16, 16), "u1") & 7, metadata=None, compression="lzw"),
}


def tried(picture: Picture) -> Array | str:
    """The pixels, or what is said of them."""
    try:
        return pictures.load(IO(), picture)
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("name", CUT)
def test_a_file_cut_anywhere_is_a_data_error_that_names_it(tmp_path: Path, name: str) -> None:
    whole = pictures.load(IO(), saved(tmp_path, name, CUT[name]))
    for length in range(len(CUT[name])):
        found = tried(saved(tmp_path, name, CUT[name][:length]))
        if isinstance(found, str):
            assert name in found
        else:
            assert name.endswith("tif"), length  # only what no pixel depends on may be missing
            np.testing.assert_array_equal(found, whole)


def test_a_header_that_asks_for_more_than_the_file_can_hold_allocates_nothing(tmp_path: Path) -> None:
    data = bytearray(CUT["a.png"])
    data[16:24] = struct.pack(">2I", 2_000_000, 2_000_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(DataError, match="more than .* bytes can hold"):
        pictures.load(IO(), saved(tmp_path, "a.png", bytes(data)))


@given(st.sampled_from(sorted(CUT)), st.integers(0, 4000), st.binary(min_size=1, max_size=8))
def test_bytes_changed_anywhere_are_pixels_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, at: int, put: bytes
) -> None:
    at %= len(CUT[name])
    data = CUT[name][:at] + put + CUT[name][at + len(put) :]
    picture = saved(tmp_path_factory.mktemp("changed"), name, data)
    found = tried(picture)
    if isinstance(found, str):
        assert name in found
    else:
        assert pictures.size_of(IO(), picture) == (*found.shape, found.dtype)


PAGES: dict[str, dict[str, Any]] = {
    "plain": {"photometric": "minisblack"},
    "pages apart": {"photometric": "minisblack", "metadata": None, "compression": "zlib"},
    "imagej": {"imagej": True},
    "big-endian": {"photometric": "minisblack", "byteorder": ">"},
}


@pytest.mark.parametrize("way", PAGES)
def test_a_page_is_read_without_the_others(tmp_path: Path, way: str) -> None:
    stack = texture((5, 400, 300), "u2")
    url = saved(tmp_path, "a.tif", tiff(stack, **PAGES[way])).url
    for page in (0, 3, 4):
        io = IO()
        found = pictures.load(io, Picture(url, "", str(page)))
        np.testing.assert_array_equal(found[..., 0], stack[page].T)
        assert sum(read["span"][1] - read["span"][0] for read in io.ledger.reads) < 1.5 * stack[0].nbytes
        assert pictures.size_of(IO(), Picture(url, "", str(page))) == (300, 400, 1, np.dtype("u2"))
    for part in ("5", "-1", "first", "1.0"):
        with pytest.raises(DataError, match=f"a.tif, part {part}: .*5 pages, and no page"):
            pictures.load(IO(), Picture(url, "", part))


def test_the_way_to_a_late_page_is_short(tmp_path: Path) -> None:
    stack = texture((200, 160, 120), "u2")
    url = saved(tmp_path, "a.tif", tiff(stack, photometric="minisblack", metadata=None, contiguous=False)).url
    parts = [part for part, _ in pictures.pages(IO(), Picture(url))]
    for page in (0, 7, 199):
        io = IO()
        found = pictures.load(io, Picture(url, "", parts[page]))
        np.testing.assert_array_equal(found[..., 0], stack[page].T)
        assert len(io.ledger.reads) < 8
        np.testing.assert_array_equal(pictures.load(IO(), Picture(url, "", str(page)))[..., 0], stack[page].T)
    for part, said in {
        "3@12": "torn",
        "3@x": "no number and byte",
        "-3@8": "no number and byte",
        "3@": "no number",
    }.items():
        with pytest.raises(DataError, match=said):
            pictures.load(IO(), Picture(url, "", part))


def test_a_plane_of_an_imagej_stack_above_4_gb(tmp_path: Path) -> None:
    """One page, a description that tells of 3000, and planes behind each other: most of it a hole in the file."""
    planes, height, width = 3000, 1024, 768
    told = f"ImageJ=1.54f\nimages={planes}\nslices={planes}\n".encode()
    start = 512
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 4, 1, 16), (259, 4, 1, 1), (262, 4, 1, 1),
            (270, 2, len(told), 200), (273, 4, 1, start), (277, 4, 1, 1), (278, 4, 1, height),
            (279, 4, 1, 2 * height * width)]  # fmt: skip
    head = struct.pack(">2sHIH", b"MM", 42, 8, len(tags)) + b"".join(struct.pack(">HHII", *tag) for tag in tags)
    rows = texture((height, width), "u2")
    with (tmp_path / "a.tif").open("wb") as file:
        file.write(head + bytes(4))
        file.seek(200)
        file.write(told)
        file.seek(start + 2900 * rows.nbytes)
        file.write(rows.astype(">u2").tobytes())
        file.truncate(start + planes * rows.nbytes)
    url = f"file://{tmp_path}/a.tif"
    found = pictures.load(IO(), Picture(url, "", "2900"))
    np.testing.assert_array_equal(found[..., 0], rows.T)
    assert not pictures.load(IO(), Picture(url, "", "2999")).any()
    assert pictures.size_of(IO(), Picture(url, "", "2999")) == (width, height, 1, np.dtype("u2"))


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif"):
        for call in (pictures.load, pictures.size_of):
            with pytest.raises(DataError, match="is not there"):
                call(IO(), Picture(f"file://{tmp_path}/{name}"))
    with pytest.raises(DataError, match="unknown suffix"):
        pictures.load(IO(), Picture(f"file://{tmp_path}/a.xyz"))
    with pytest.raises(DataError, match="kind 'gif'"):
        pictures.load(IO(), Picture(f"file://{tmp_path}/a.png", "gif"))
