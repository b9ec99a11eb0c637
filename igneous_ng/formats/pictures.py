"""Pictures that are whole files: their bytes to pixels ``[x, y, channel]``, never repaired and never stretched."""

from __future__ import annotations

import io as memory
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats import picture_heads as heads
from igneous_ng.formats import tiff_pages
from igneous_ng.formats.picture_heads import Size

Array = npt.NDArray[Any]
_HEADS = {"png": heads.png, "jpeg": heads.jpeg, "bmp": heads.bmp}


def size(data: bytes, kind: str, where: str) -> Size | None:
    """What the first bytes of a PNG, JPEG or BMP say; None where more are needed, DataError for another file."""
    try:
        return _HEADS[kind](data)
    except ValueError as error:
        raise _torn(where, kind, error) from None


def decode(data: bytes, kind: str, where: str) -> Array:
    """The pixels, x fastest in memory; DataError, naming ``where``, for a file that is torn or of another kind."""
    try:
        rows = _DECODERS[kind](data)
    except MemoryError:
        raise
    except Exception as error:  # each library has its own ways to say that a file is torn
        raise _torn(where, kind, error) from None
    return columns(rows)


def columns(rows: Array) -> Array:
    """``[y, x]`` or ``[y, x, channel]`` as ``[x, y, channel]``, x fastest in memory, read-only."""
    planes = rows[np.newaxis] if rows.ndim == 2 else np.moveaxis(rows, 2, 0)
    planes = np.ascontiguousarray(planes, planes.dtype.newbyteorder("="))
    planes.flags.writeable = False
    return planes.T


def _torn(where: str, kind: str, error: Exception) -> DataError:
    return DataError(f"{where}: cannot be read as {kind} ({str(error)[:200]}); the file is torn or of another kind")


def _known(found: Size | None, data: bytes) -> Size:
    """What the header says, where it can be true."""
    if found is None:
        raise ValueError("it ends in its header")
    return heads.check_room(found, len(data), heads.DEFLATED)


def _same(rows: Array, wanted: Size) -> Array:
    """What was decoded, where it is what the header says."""
    found = Size(rows.shape[1], rows.shape[0], rows.shape[2] if rows.ndim == 3 else 1, rows.dtype)
    if found != wanted:
        raise ValueError(f"its header says {tuple(wanted)} and its pixels are {tuple(found)}")
    return rows


def _tiff(data: bytes) -> Array:
    return tiff_pages.read(memory.BytesIO(data), "")


def _png(data: bytes) -> Array:
    import imagecodecs

    wanted = _known(heads.png(data), data)
    if b"tRNS" in heads.png_chunks(data):
        raise ValueError("one of its colours stands for transparent; save it without")
    return _same(np.asarray(imagecodecs.png_decode(data)), wanted)


def _jpeg(data: bytes) -> Array:
    import simplejpeg

    wanted = _known(heads.jpeg(data), data)
    rows = simplejpeg.decode_jpeg(data, "GRAY" if wanted.channels == 1 else "RGB")  # strict: nothing is filled in
    return _same(rows[..., 0] if wanted.channels == 1 else rows, wanted)


def _bmp(data: bytes) -> Array:
    layout = heads.bmp_layout(data)
    if layout is None:
        raise ValueError("it ends in its header")
    width, height, channels, dtype = layout.size
    if len(data) < layout.start + height * layout.stride or layout.start < layout.palette + 4 * layout.colours:
        raise ValueError(f"it has {len(data)} bytes, fewer than its {width} x {height} pixels need")
    lines = np.frombuffer(data, dtype, height * layout.stride, layout.start).reshape(height, layout.stride)
    rows = lines[:: 1 if layout.upright else -1, : width * channels].reshape(height, width, channels)
    if channels == 3:
        return rows[..., ::-1]  # stored as blue, green, red
    palette = np.frombuffer(data, dtype, 4 * layout.colours, layout.palette).reshape(-1, 4)[:, :3]
    if (palette != palette[:, :1]).any():
        raise ValueError("its pixels are numbers of colours; convert it to gray or RGB")
    if int(rows.max()) >= len(palette):
        raise ValueError(f"a pixel has the colour {int(rows.max())} of {len(palette)}")
    levels: Array = palette[:, 0][rows[..., 0]]
    return levels


_DECODERS = {"tiff": _tiff, "png": _png, "jpeg": _jpeg, "bmp": _bmp}
KINDS = tuple(_DECODERS)
"""What :func:`decode` reads: pictures that are whole files."""


def encode(plane: Array, kind: str) -> bytes:
    """A picture of pixels ``[x, y]``, as PNG or as TIFF without compression."""
    if kind == "png":
        import imagecodecs

        return bytes(imagecodecs.png_encode(np.ascontiguousarray(plane.T), level=1))
    import tifffile

    file = memory.BytesIO()
    tifffile.imwrite(file, np.ascontiguousarray(plane.T), photometric="minisblack", metadata=None, software=False)
    return file.getvalue()
