"""Pixels of tiles, whatever file they are in: the one place where pictures are opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, BinaryIO, cast

import numpy.typing as npt

from igneous_ng.errors import DataError, IgneousError
from igneous_ng.formats import fibsem, gatan, hdf5_planes, mrc, pictures, tiff_pages
from igneous_ng.formats.picture_heads import Size
from igneous_ng.formats.planes import Planes
from igneous_ng.formats.tiles import Picture
from igneous_ng.io import IO
from igneous_ng.spanned import Spanned

__all__ = [
    "KINDS",
    "Size",
    "bytes_and_pixels",
    "dat_header",
    "datasets",
    "header",
    "kind_of",
    "load",
    "pages",
    "size_of",
]

Array = npt.NDArray[Any]
_SUFFIXES = {
    **{suffix: suffix for suffix in ("png", "bmp", "dat", "mrc")},
    **dict.fromkeys(("tif", "tiff"), "tiff"),
    **dict.fromkeys(("jpg", "jpeg"), "jpeg"),
    **dict.fromkeys(("dm3", "dm4"), "dm"),
    **dict.fromkeys(("mrcs", "rec", "st"), "mrc"),
    **dict.fromkeys(("h5", "hdf5", "hdf"), "hdf5"),
}
_HEAD = 1 << 16  # bytes in which a picture most often says its size
KINDS = ("tiff", "png", "jpeg", "bmp", "dat", "dm", "mrc", "hdf5")
"""What can be read. Parts: of ``tiff`` a page, from 0 on, perhaps with the byte of its description, ``3@1024``; of
``dm`` and ``mrc`` a slice, from 0 on; of ``dat`` a channel, from 0 on, or none for all of them; of ``hdf5``
``dataset:plane``, or ``dataset`` where it has two axes. The others have none, nor have files of one picture.
"""


def kind_of(picture: Picture) -> str:
    """What reads the picture: its kind, or what the suffix of its file says; DataError for one that is not known."""
    kind = picture.kind or _SUFFIXES.get(picture.url.rpartition(".")[2].lower(), "")
    if kind not in KINDS:
        what = f"is of kind {kind!r}, and there are" if kind else "has an unknown suffix; give its kind, one of"
        raise DataError(f"{picture.url}: {what}: {', '.join(KINDS)}")
    return kind


def load(io: IO, picture: Picture) -> Array:
    """The pixels, ``[x, y, channel]``, x fastest in memory, read-only; DataError where they are missing or torn.

    Of a file of several pictures no more is read than the one needs.
    """
    kind = kind_of(picture)
    with _reading(picture, kind):
        if kind in _PLANES:
            return pictures.columns(_plane(io, picture, kind))
        if kind == "hdf5":
            return pictures.columns(hdf5_planes.read(_file(io, picture.url), picture.part))
        if picture.part and kind == "tiff":
            return pictures.columns(tiff_pages.read(_file(io, picture.url), picture.part))
        _no_part(picture)
    return pictures.decode(_there(io.get(picture.url), picture.url), kind, picture.url)


def bytes_and_pixels(io: IO, picture: Picture) -> tuple[bytes | None, Callable[[], Array]]:
    """The bytes of the file, read once, and what makes the pixels of them, which is as :func:`load`.

    None for a part of a file, and files of parts: only what belongs to it is read. DataError where the file is missing.
    """
    kind = kind_of(picture)
    if picture.part or kind not in pictures.KINDS:
        return None, partial(load, io, picture)
    data = _there(io.get(picture.url), picture.url)
    return data, partial(pictures.decode, data, kind, picture.url)


def size_of(io: IO, picture: Picture) -> Size:
    """Pixels along x and y, channels and type, from the header alone; DataError as :func:`load`, if that is torn."""
    kind = kind_of(picture)
    with _reading(picture, kind):
        if kind in _PLANES:
            planes = header(io, picture)
            _number(planes, picture, kind)
            size = planes.size
            return size._replace(channels=1) if kind == "dat" and picture.part else size
        if kind == "hdf5":
            return hdf5_planes.size(_file(io, picture.url), picture.part)
        if kind == "tiff":
            return tiff_pages.size(_file(io, picture.url), picture.part)
        _no_part(picture)
    return _head(io, picture.url, kind)


def header(io: IO, picture: Picture) -> Planes:
    """What a ``dat``, ``dm`` or ``mrc`` says of its pixels; DataError where it is missing or torn."""
    kind = kind_of(picture)
    with _reading(picture, kind):
        return _PLANES[kind](io, picture.url)


def dat_header(io: IO, picture: Picture) -> fibsem.Header:
    """All that the header of a ``dat`` says; DataError as :func:`header`."""
    with _reading(picture, "dat"):
        return fibsem.parse(_there(io.get(picture.url, (0, fibsem.HEADER)), picture.url))


def pages(io: IO, picture: Picture) -> list[tuple[str, Size]]:
    """The parts of a TIFF, one for each of its pages, and their sizes; DataError as :func:`header`."""
    with _reading(picture, "tiff"):
        return tiff_pages.parts(_file(io, picture.url))


def datasets(io: IO, picture: Picture) -> list[hdf5_planes.Dataset]:
    """The datasets of an HDF5 file that are pictures or stacks of them; DataError as :func:`header`."""
    with _reading(picture, "hdf5"):
        return hdf5_planes.datasets(_file(io, picture.url))


def _file(io: IO, url: str) -> BinaryIO:
    return cast(BinaryIO, Spanned(io, url))


def _dat(io: IO, url: str) -> Planes:
    return dat_header(io, Picture(url)).planes


def _mrc(io: IO, url: str) -> Planes:
    return mrc.parse(_there(io.get(url, (0, mrc.HEADER)), url))


def _dm(io: IO, url: str) -> Planes:
    return gatan.parse(_file(io, url))


_PLANES = {"dat": _dat, "dm": _dm, "mrc": _mrc}


def _plane(io: IO, picture: Picture, kind: str) -> Array:
    """Rows of pixels in plain bytes."""
    planes = header(io, picture)
    number = _number(planes, picture, kind)
    start, stop = planes.span(0 if kind == "dat" else number)
    file = _file(io, picture.url)
    file.seek(start)
    rows = planes.decode(file.read(stop - start))
    return rows[..., number : number + 1] if kind == "dat" and picture.part else rows


def _number(planes: Planes, picture: Picture, kind: str) -> int:
    """Which slice is meant, or of a ``dat`` which channel; ValueError where there is none such."""
    count, word = (planes.shape[3], "channels") if kind == "dat" else (planes.shape[0], "slices")
    if not picture.part and (kind == "dat" or count == 1):
        return 0
    if not (picture.part.isdecimal() and int(picture.part) < count):
        raise ValueError(f"it has {count} {word}, and none is called {picture.part!r}")
    return int(picture.part)


def _no_part(picture: Picture) -> None:
    if picture.part and kind_of(picture) != "tiff":
        raise ValueError("it is one picture and has no parts")


def _head(io: IO, url: str, kind: str) -> Size:
    """The size of a picture that is a whole file: from its first bytes, or from all where those do not say."""
    found = pictures.size(_there(io.get(url, (0, _HEAD)), url), kind, url)
    if found is None:
        found = pictures.size(_there(io.get(url), url), kind, url)
    if found is None:
        raise DataError(f"{url}: the file ends in its header; it is torn")
    return found


def _there(data: bytes | None, url: str) -> bytes:
    if data is None:
        raise DataError(f"{url}: the picture is not there; restore it, or leave it out with an override")
    return data


@contextmanager
def _reading(picture: Picture, kind: str) -> Iterator[None]:
    """Turn what libraries raise on bad bytes into a DataError that names the picture."""
    try:
        yield
    except (IgneousError, MemoryError):
        raise
    except Exception as error:  # each library has its own ways to say that a file is torn
        part = f", part {picture.part}" if picture.part else ""
        raise DataError(
            f"{picture.url}{part}: cannot be read as {kind} ({str(error)[:200]}); the file is torn or of another kind"
        ) from None
