"""Pixels of tiles, whatever file they are in: the one place where pictures are opened."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats import pictures
from igneous_ng.formats.tiles import Picture
from igneous_ng.io import IO

Array = npt.NDArray[Any]


def load(io: IO, picture: Picture) -> Array:
    """The pixels, ``[x, y, channel]``, x fastest in memory, read-only; DataError where they are missing or torn."""
    data = io.get(picture.url)
    if data is None:
        raise DataError(f"{picture.url}: the picture is not there; restore it, or leave it out with an override")
    return pictures.decode(data, picture.kind or pictures.kind_of(picture.url), picture.url)


def bytes_and_pixels(io: IO, picture: Picture) -> tuple[bytes | None, Callable[[], Array]]:
    """The bytes of the file, read once, and what makes the pixels of them, which is as :func:`load`.

    None for a part of a file: only what belongs to it is read. DataError where the file is missing.
    """
    if picture.part:
        return None, partial(load, io, picture)
    data = io.get(picture.url)
    if data is None:
        raise DataError(f"{picture.url}: the picture is not there; restore it, or leave it out with an override")
    return data, partial(_decoded, data, picture)


def _decoded(data: bytes, picture: Picture) -> Array:
    return pictures.decode(data, picture.kind or pictures.kind_of(picture.url), picture.url)
