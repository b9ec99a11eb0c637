"""Sections as single images, TIFF, PNG, JPEG, DM or FIB-SEM: rows y, columns x, samples c; files along z."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import DataError
from igneous_ng.sources.base import Index, native, reading
from igneous_ng.sources.mapped import Mapped
from igneous_ng.sources.planes import PICTURES, open_planes
from igneous_ng.sources.tiff import Pages, open_tiff

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

TIFFS = (".tif", ".tiff")
PNGS = (".png",)
JPEGS = (".jpg", ".jpeg")
SUFFIXES = TIFFS + PNGS + JPEGS

_MODES = {  # Pillow's modes whose samples are those in the file
    "1": (np.dtype(np.bool_), 1),
    "L": (np.dtype(np.uint8), 1),
    "LA": (np.dtype(np.uint8), 2),
    "I;16": (np.dtype(np.uint16), 1),
    "RGB": (np.dtype(np.uint8), 3),
    "RGBA": (np.dtype(np.uint8), 4),
}


def natural(path: Path) -> tuple[list[str | int], str]:
    """The key that puts img2 before img10: runs of digits compare as numbers."""
    text = str(path)
    return [int(part) if i % 2 else part for i, part in enumerate(re.split("([0-9]+)", text))], text


@dataclass(frozen=True)
class Images:
    """Files that are one section each, in order. The first tells the size; a read checks those it opens."""

    name: str
    paths: Sequence[Path]

    @cached_property
    def _first(self) -> tuple[tuple[int, ...], np.dtype[Any], int]:
        return _header(self.paths[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """[z, y, x] or [z, y, x, c]."""
        return len(self.paths), *self._first[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the first file."""
        return self._first[1]

    @property
    def resident_bytes(self) -> int:
        """A whole image for PNG and JPEG, which are decoded from the top; a piece of one, or nothing, for others."""
        return self._first[2]

    def window(self, index: Index) -> NDArray[Any]:
        """Decode the files of the window, one after the other."""
        z, inside = index[0], index[1:]
        found = np.empty([s.stop - s.start for s in index], native(self.dtype))
        for k in range(z.start, z.stop):
            found[k - z.start] = self._section(self.paths[k], inside)
        return found

    def check(self) -> None:
        """DataError names the first file that differs from the first in size or dtype."""
        for path in self.paths[1:]:
            self._same(path, *_header(path)[:2])

    def _section(self, path: Path, inside: Index) -> NDArray[Any]:
        if (stack := _stack(path)) is not None:
            self._same(path, _one_page(path, stack.shape), native(stack.dtype))
            section: NDArray[Any] = stack.window((slice(0, 1), *inside))[0]
            return section
        with _opened(path) as image:
            self._same(path, *_pixels(path, image))
            return np.asarray(image)[inside]

    def _same(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if (shape, native(dtype)) != (self.shape[1:], native(self.dtype)):
            raise DataError(
                f"{path}: is {shape} of {dtype} and {self.paths[0].name} is {self.shape[1:]} of {self.dtype} "
                "(rows, columns, samples); sections must be alike"
            )


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """[y, x] or [y, x, c], dtype and the bytes that decoding holds; no pixel is read."""
    if (stack := _stack(path)) is not None:
        return _one_page(path, stack.shape), native(stack.dtype), stack.resident_bytes
    with _opened(path) as image:
        shape, dtype = _pixels(path, image)
    return shape, dtype, prod(shape) * dtype.itemsize


def _stack(path: Path) -> Mapped | Pages | None:
    """What reads a part of the file; None for images that are decoded whole."""
    if path.suffix.lower() in TIFFS:
        return open_tiff(path)
    return open_planes(path) if path.suffix.lower() in PICTURES else None


def _one_page(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    if shape[0] != 1:
        raise DataError(f"{path}: has {shape[0]} pages; in a folder each file is one section: split it")
    return shape[1:]


def _pixels(path: Path, image: ImageFile) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Size and dtype of an image; DataError where Pillow would change its samples."""
    stored = image.tile[0].args if image.tile else ""
    raw = stored if isinstance(stored, str) else stored[0] if stored else ""
    if image.mode not in _MODES or _cut(image.mode, raw):
        raise DataError(
            f"{path}: pixels of kind {image.mode} ({raw}) cannot be read as they are; "
            "convert it to gray or RGB of 8 bits, gray of 16 bits, or a TIFF"
        )
    dtype, samples = _MODES[image.mode]
    size = image.height, image.width
    return (size if samples == 1 else (*size, samples)), dtype


def _cut(mode: str, raw: str) -> bool:
    """Whether Pillow changes samples: it cuts colour of 16 bits to 8, and stretches gray of 2 or 4 to 8."""
    bits = raw.partition(";")[2]
    return (bits.startswith("16") and mode != "I;16") or (mode == "L" and bits in ("2", "4"))


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile]:
    """A PNG or JPEG by its own class: ``Image.open`` refuses sections of more than 179 million pixels."""
    from PIL import JpegImagePlugin, PngImagePlugin

    kind = PngImagePlugin.PngImageFile if path.suffix.lower() in PNGS else JpegImagePlugin.JpegImageFile
    with reading(str(path), SyntaxError, struct.error, zlib.error), kind(path) as image:
        yield image
