"""Chunk encodings of Precomputed volumes: an array ``[x, y, z, c]`` to bytes and back, exact where lossless.

Sources: Neuroglancer's "Precomputed volume" specification for the layouts; compressed_segmentation
(Google) and compresso (Matejek et al. 2017, MICCAI) through the Seung lab's libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3, ceil_div

Array = npt.NDArray[Any]
Shape4 = tuple[int, int, int, int]
BLOCK = (8, 8, 8)
"""Block of compressed_segmentation, in voxels, where a layer does not name its own."""
_BITS = (0, 1, 2, 4, 8, 16, 32)
_JPEG_QUALITY = 90
_PNG_END = b"IEND\xaeB`\x82"
_COMPRESSO_HEADER = 36  # bytes


def encode(array: Array, encoding: str, block: Vec3 = BLOCK) -> bytes:
    """The bytes of one chunk, ``[x, y, z, c]``, in ``encoding``; the same array gives the same bytes.

    ``block`` is that of compressed_segmentation; other encodings have none.
    """
    return _codec(encoding, block)[0](array)


def decode(data: bytes, encoding: str, shape: Shape4, dtype: np.dtype[Any], block: Vec3 = BLOCK) -> Array:
    """The chunk ``[x, y, z, c]`` of ``shape`` that ``data`` holds; DataError where it does not."""
    try:
        array = _codec(encoding, block)[1](data, shape, dtype)
        return array.reshape(shape, order="F") if array.shape != shape else array
    except SpecError:
        raise
    except Exception as error:  # each library has its own; a chunk that cannot be decoded is bad data
        raise DataError(
            f"{len(data)} bytes are no {encoding} chunk of {shape} {dtype.name} "
            f"({type(error).__name__}: {error}); write this chunk again"
        ) from error


def _raw_encode(array: Array) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes("F")


def _raw_decode(data: bytes, shape: Shape4, dtype: np.dtype[Any]) -> Array:
    return np.frombuffer(data, dtype.newbyteorder("<")).reshape(shape, order="F").astype(dtype, copy=False)


def _plane(array: Array) -> Array:
    """The chunk as one picture: rows y and z, columns x, then the channels."""
    x, y, z, c = array.shape
    return np.ascontiguousarray(array.transpose(2, 1, 0, 3).reshape(z * y, x, c))


def _unplane(plane: Array, shape: Shape4) -> Array:
    x, y, z, c = shape
    return plane.reshape(z, y, x, c).transpose(2, 1, 0, 3)


def _jpeg_encode(array: Array) -> bytes:
    import simplejpeg

    plane = _plane(array)
    space = "GRAY" if plane.shape[2] == 1 else "RGB"
    subsampling = "Gray" if space == "GRAY" else "444"
    return bytes(simplejpeg.encode_jpeg(plane, _JPEG_QUALITY, space, subsampling))


def _jpeg_decode(data: bytes, shape: Shape4, dtype: np.dtype[Any]) -> Array:
    import simplejpeg

    space = "GRAY" if shape[3] == 1 else "RGB"
    return _unplane(simplejpeg.decode_jpeg(data, space), shape).astype(dtype, copy=False)


def _png_encode(array: Array) -> bytes:
    from imagecodecs import png_encode

    return bytes(png_encode(np.squeeze(_plane(array), 2) if array.shape[3] == 1 else _plane(array)))


def _png_decode(data: bytes, shape: Shape4, dtype: np.dtype[Any]) -> Array:
    from imagecodecs import png_decode

    if not data.endswith(_PNG_END):
        raise ValueError("it ends before its last part does")
    plane = png_decode(data)
    if plane.dtype != dtype:
        raise ValueError(f"the picture is {plane.dtype}")
    return _unplane(plane, shape)


def _cseg_encode(array: Array, block: Vec3 = BLOCK) -> bytes:
    import compressed_segmentation

    channels = [  # one by one: between channels, version 2.3 steps by a stride that nobody set
        compressed_segmentation.compress(np.asfortranarray(array[..., [c]]), block_size=block, order="F")[4:]
        for c in range(array.shape[3])
    ]
    lengths = [len(channels), *(len(coded) // 4 for coded in channels[:-1])]
    return np.cumsum(lengths).astype("<u4").tobytes() + b"".join(channels)


def _cseg_decode(data: bytes, shape: Shape4, dtype: np.dtype[Any], block: Vec3 = BLOCK) -> Array:
    import compressed_segmentation

    _check_cseg(data, shape, dtype, block)
    array: Array = compressed_segmentation.decompress(data, shape, dtype, block_size=block, order="F")
    return array


def _check_cseg(data: bytes, shape: Shape4, dtype: np.dtype[Any], block: Vec3) -> None:
    """The decoder trusts its input: refuse what would lead it out of the data."""
    words = np.frombuffer(data, "<u4").astype(np.int64)
    blocks = prod(ceil_div(n, b) for n, b in zip(shape[:3], block, strict=True))
    starts = words[: shape[3]]
    if len(starts) < shape[3]:
        raise ValueError("it ends before its channel offsets do")
    for start in starts:
        headers = words[start : start + 2 * blocks]
        if len(headers) < 2 * blocks:
            raise ValueError("it ends before its block headers do")
        bits, values = headers[::2] >> 24, start + headers[1::2]
        ends = values + (bits * prod(block) + 31) // 32
        labels = (len(words) - start - (headers[::2] & 0xFFFFFF)) // (dtype.itemsize // 4)
        if not np.isin(bits, _BITS).all() or ends.max() > len(words):
            raise ValueError("it ends before its voxels do")
        for i in np.flatnonzero(labels < 1 << bits):  # elsewhere no index can leave the data
            if _highest(words[values[i] : ends[i]], int(bits[i])) >= labels[i]:
                raise ValueError("it ends before its labels do")


def _highest(words: Array, bits: int) -> int:
    """The largest of the numbers of ``bits`` bits that are packed in 32-bit words."""
    if not bits:
        return 0
    return int((words[:, np.newaxis] >> np.arange(0, 32, bits) & (1 << bits) - 1).max())


def _compresso_encode(array: Array) -> bytes:
    import compresso

    coded: bytes = compresso.compress(np.asfortranarray(array[..., 0]).copy(order="F"))
    return coded


def _compresso_decode(data: bytes, shape: Shape4, dtype: np.dtype[Any]) -> Array:
    import compresso

    header = compresso.header(data)
    _check_compresso(data, header, shape, dtype, compresso.zindex_byte_width(*shape[:2]))
    return np.asarray(compresso.decompress(data))[..., np.newaxis]


def _check_compresso(data: bytes, header: dict[str, Any], shape: Shape4, dtype: np.dtype[Any], index: int) -> None:
    """The decoder trusts its input: refuse another chunk's, and one whose boundary windows are not all there."""
    width, found = header["data_width"], tuple(header[key] for key in ("sx", "sy", "sz"))
    steps = tuple(header[key] for key in ("xstep", "ystep", "zstep"))
    if (*found, 1) != shape or width != dtype.itemsize or not 0 < prod(steps) <= 64:
        raise ValueError(f"it holds {found} voxels of {width} bytes")
    window = np.dtype(next(f"<u{bits // 8}" for bits in (16, 32, 64) if prod(steps) <= bits))
    start = _COMPRESSO_HEADER + header["value_size"] * window.itemsize
    start += (header["id_size"] + header["location_size"]) * width
    stop = len(data) - (2 * shape[2] * index if header["format_version"] else 0)
    coded = np.frombuffer(data[start : max(start, stop)], window)
    runs, values = coded[coded & 1 == 1] >> 1, coded[coded & 1 == 0] >> 1
    windows = prod(ceil_div(n, step) for n, step in zip(found, steps, strict=True))
    if int(runs.sum(dtype=np.uint64)) + len(values) != windows or (values >= header["value_size"]).any():
        raise ValueError("it holds fewer or more voxels than it says")


_Codec = tuple[Callable[[Array], bytes], Callable[[bytes, Shape4, "np.dtype[Any]"], Array]]
_CODECS: dict[str, _Codec] = {
    "raw": (_raw_encode, _raw_decode),
    "jpeg": (_jpeg_encode, _jpeg_decode),
    "png": (_png_encode, _png_decode),
    "compressed_segmentation": (_cseg_encode, _cseg_decode),
    "compresso": (_compresso_encode, _compresso_decode),
}


def _codec(encoding: str, block: Vec3) -> _Codec:
    if encoding == "compressed_segmentation":
        return partial(_cseg_encode, block=block), partial(_cseg_decode, block=block)
    try:
        return _CODECS[encoding]
    except KeyError:
        raise SpecError(f"no encoding is called {encoding!r}; there are: {', '.join(_CODECS)}") from None
