"""Pictures that are whole files: their bytes to pixels ``[x, y, channel]``, never repaired and never stretched."""

from __future__ import annotations

import io as memory
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
_SUFFIXES = {"tif": "tiff", "tiff": "tiff", "png": "png", "jpg": "jpeg", "jpeg": "jpeg", "bmp": "bmp"}
KINDS = ("tiff", "png", "jpeg", "bmp")
"""What :func:`decode` reads."""


def kind_of(url: str) -> str:
    """What the suffix of ``url`` says; DataError for one that is not known."""
    suffix = url.rpartition(".")[2].lower()
    if suffix not in _SUFFIXES:
        raise DataError(f"{url}: pictures end with one of {', '.join(_SUFFIXES)}")
    return _SUFFIXES[suffix]


def decode(data: bytes, kind: str, where: str) -> Array:
    """The pixels, x fastest in memory; DataError, naming ``where``, for a file that is torn or of another kind."""
    try:
        rows = np.asarray(_DECODERS[kind](data))
    except Exception as error:  # each library has its own ways to say that a file is torn
        raise DataError(
            f"{where}: cannot be read as {kind} ({str(error)[:120]}); the file is torn or of another kind"
        ) from None
    if rows.ndim not in (2, 3) or not rows.size:
        raise DataError(f"{where}: holds an array of shape {rows.shape}; expected rows of pixels")
    planes = rows[np.newaxis] if rows.ndim == 2 else np.ascontiguousarray(np.moveaxis(rows, 2, 0))
    planes.flags.writeable = False
    return planes.T


def _tiff(data: bytes) -> Array:
    import tifffile

    with tifffile.TiffFile(memory.BytesIO(data)) as file:
        if len(file.pages) != 1:
            raise ValueError(f"it has {len(file.pages)} pages, and none was chosen")
        return np.asarray(file.pages[0].asarray())


def _png(data: bytes) -> Array:
    import imagecodecs

    return np.asarray(imagecodecs.png_decode(data))


def _jpeg(data: bytes) -> Array:
    import imagecodecs

    return np.asarray(imagecodecs.jpeg8_decode(data))


def _bmp(data: bytes) -> Array:
    from PIL import Image

    return np.asarray(Image.open(memory.BytesIO(data), formats=("BMP",)))


_DECODERS = {"tiff": _tiff, "png": _png, "jpeg": _jpeg, "bmp": _bmp}


def encode(plane: Array, kind: str) -> bytes:
    """A picture of pixels ``[x, y]``, as PNG or as TIFF without compression."""
    if kind == "png":
        import imagecodecs

        return bytes(imagecodecs.png_encode(np.ascontiguousarray(plane.T), level=1))
    import tifffile

    file = memory.BytesIO()
    tifffile.imwrite(file, np.ascontiguousarray(plane.T), photometric="minisblack", metadata=None, software=False)
    return file.getvalue()
