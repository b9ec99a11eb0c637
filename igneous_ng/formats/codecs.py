"""Chunk encodings of Precomputed volumes: an array ``[x, y, z, c]`` to bytes and back, exact where lossless.

Sources: Neuroglancer's "Precomputed volume" specification for the layouts; compressed_segmentation
(Google) and compresso (Matejek et al. 2017, MICCAI) through the Seung lab's libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError

Array = npt.NDArray[Any]
Shape4 = tuple[int, int, int, int]
_BLOCK = (8, 8, 8)
_JPEG_QUALITY = 90


def encode(array: Array, encoding: str) -> bytes:
    """The bytes of one chunk, ``[x, y, z, c]``, in ``encoding``; the same array gives the same bytes."""
    return _codec(encoding)[0](array)


def decode(data: bytes, encoding: str, shape: Shape4, dtype: np.dtype[Any]) -> Array:
    """The chunk ``[x, y, z, c]`` of ``shape`` that ``data`` holds; DataError where it does not."""
    try:
        array = _codec(encoding)[1](data, shape, dtype)
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
    coded: bytes = simplejpeg.encode_jpeg(plane, _JPEG_QUALITY, space, subsampling)
    return coded


def _jpeg_decode(data: bytes, shape: Shape4, dtype: np.dtype[Any]) -> Array:
    import simplejpeg

    space = "GRAY" if shape[3] == 1 else "RGB"
    return _unplane(simplejpeg.decode_jpeg(data, space), shape).astype(dtype, copy=False)


def _png_encode(array: Array) -> bytes:
    from imagecodecs import png_encode

    coded: bytes = png_encode(np.squeeze(_plane(array), 2) if array.shape[3] == 1 else _plane(array))
    return coded


def _png_decode(data: bytes, shape: Shape4, dtype: np.dtype[Any]) -> Array:
    from imagecodecs import png_decode

    plane = png_decode(data)
    if plane.dtype != dtype:
        raise ValueError(f"the picture is {plane.dtype}")
    return _unplane(plane, shape)


def _cseg_encode(array: Array) -> bytes:
    import compressed_segmentation

    coded: bytes = compressed_segmentation.compress(np.asfortranarray(array), block_size=_BLOCK, order="F")
    return coded


def _cseg_decode(data: bytes, shape: Shape4, dtype: np.dtype[Any]) -> Array:
    import compressed_segmentation

    _check_cseg(data, shape)
    array: Array = compressed_segmentation.decompress(data, shape, dtype, block_size=_BLOCK, order="F")
    return array


def _check_cseg(data: bytes, shape: Shape4) -> None:
    """The decoder trusts its input: refuse what is too short for its own headers."""
    blocks = int(np.prod([-(-n // b) for n, b in zip(shape[:3], _BLOCK, strict=True)]))
    offsets = np.frombuffer(data, "<u4", shape[3])
    if len(data) % 4 or any(4 * (int(o) + 2 * blocks) > len(data) for o in offsets):
        raise ValueError("it ends before its block headers do")


def _compresso_encode(array: Array) -> bytes:
    import compresso

    coded: bytes = compresso.compress(np.asfortranarray(array[..., 0]).copy(order="F"))
    return coded


def _compresso_decode(data: bytes, shape: Shape4, dtype: np.dtype[Any]) -> Array:
    import compresso

    array = compresso.decompress(data)
    if array.shape != shape[:3]:
        raise ValueError(f"it holds {array.shape}")
    return np.asarray(array).astype(dtype, copy=False)[..., np.newaxis]


_Codec = tuple[Callable[[Array], bytes], Callable[[bytes, Shape4, "np.dtype[Any]"], Array]]
_CODECS: dict[str, _Codec] = {
    "raw": (_raw_encode, _raw_decode),
    "jpeg": (_jpeg_encode, _jpeg_decode),
    "png": (_png_encode, _png_decode),
    "compressed_segmentation": (_cseg_encode, _cseg_decode),
    "compresso": (_compresso_encode, _compresso_decode),
}


def _codec(encoding: str) -> _Codec:
    try:
        return _CODECS[encoding]
    except KeyError:
        raise SpecError(f"no encoding is called {encoding!r}; there are: {', '.join(_CODECS)}") from None
