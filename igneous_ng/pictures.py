"""Pixels of tiles, whatever file they are in: the one place where pictures are opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy.typing as npt

from igneous_ng.errors import DataError, IgneousError
from igneous_ng.formats import pictures, tiff_pages
from igneous_ng.formats.picture_heads import Size
from igneous_ng.formats.tiles import Picture
from igneous_ng.io import IO
from igneous_ng.spanned import Spanned

__all__ = ["KINDS", "Size", "kind_of", "load", "size_of"]

Array = npt.NDArray[Any]
_SUFFIXES = {"tif": "tiff", "tiff": "tiff", "png": "png", "jpg": "jpeg", "jpeg": "jpeg", "bmp": "bmp"}
_HEAD = 1 << 16  # bytes in which a picture most often says its size
KINDS = ("tiff", "png", "jpeg", "bmp")
"""What can be read."""


def kind_of(picture: Picture) -> str:
    """What reads the picture: its kind, or what the suffix of its file says; DataError for one that is not known."""
    kind = picture.kind or _SUFFIXES.get(picture.url.rpartition(".")[2].lower(), "")
    if kind not in KINDS:
        what = f"is of kind {kind!r}, and there are" if kind else "has an unknown suffix; give its kind, one of"
        raise DataError(f"{picture.url}: {what}: {', '.join(KINDS)}")
    return kind


def load(io: IO, picture: Picture) -> Array:
    """The pixels, ``[x, y, channel]``, x fastest in memory, read-only; DataError where they are missing or torn."""
    kind = kind_of(picture)
    if kind == "tiff" and picture.part:
        with _reading(picture, kind):
            return pictures.columns(tiff_pages.read(_file(io, picture), picture.part))
    return pictures.decode(_there(io.get(picture.url), picture), kind, picture.url)


def size_of(io: IO, picture: Picture) -> Size:
    """Pixels along x and y, channels and type, from the header alone; DataError as :func:`load`, if that is torn."""
    kind = kind_of(picture)
    if kind == "tiff":
        with _reading(picture, kind):
            return tiff_pages.size(_file(io, picture), picture.part)
    found = pictures.size(_there(io.get(picture.url, (0, _HEAD)), picture), kind, picture.url)
    if found is None:
        found = pictures.size(_there(io.get(picture.url), picture), kind, picture.url)
    if found is None:
        raise DataError(f"{picture.url}: the file ends in its header; it is torn")
    return found


def _there(data: bytes | None, picture: Picture) -> bytes:
    if data is None:
        raise DataError(f"{picture.url}: the picture is not there; restore it, or leave it out with an override")
    return data


def _file(io: IO, picture: Picture) -> BinaryIO:
    return cast(BinaryIO, Spanned(io, picture.url))


@contextmanager
def _reading(picture: Picture, kind: str) -> Iterator[None]:
    """Turn what libraries raise on bad bytes into a DataError that names the picture."""
    try:
        yield
    except IgneousError:
        raise
    except Exception as error:  # each library has its own ways to say that a file is torn
        part = f", part {picture.part}" if picture.part else ""
        raise DataError(
            f"{picture.url}{part}: cannot be read as {kind} ({str(error)[:200]}); the file is torn or of another kind"
        ) from None
