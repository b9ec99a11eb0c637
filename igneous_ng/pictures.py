"""Pixels of tiles, whatever file they are in: the one place where pictures are opened."""

from __future__ import annotations

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
