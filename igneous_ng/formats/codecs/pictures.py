"""Encodings of pictures: a chunk is one picture of x columns and y times z rows, with its channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from igneous_ng.formats.codecs.base import Array, Parameters, Shape4

JPEG_QUALITY, PNG_LEVEL, JXL_QUALITY, JXL_EFFORT = 90, 6, 90, 3
_PNG_END = b"IEND\xaeB`\x82"
_JXL_LOSSLESS = 100


def _plane(array: Array) -> Array:
    """The chunk as one picture: rows y and z, columns x, then the channels."""
    x, y, z, c = array.shape
    return np.ascontiguousarray(array.transpose(2, 1, 0, 3).reshape(z * y, x, c))


def _unplane(plane: Array, shape: Shape4) -> Array:
    x, y, z, c = shape
    return plane.reshape(z, y, x, c).transpose(2, 1, 0, 3)


def encode_jpeg(array: Array, parameters: Parameters) -> bytes:
    """JPEG."""
    import simplejpeg

    plane = _plane(array)
    space = "GRAY" if plane.shape[2] == 1 else "RGB"
    subsampling = "Gray" if space == "GRAY" else "444"
    return bytes(simplejpeg.encode_jpeg(plane, parameters.get("jpeg_quality", JPEG_QUALITY), space, subsampling))


def decode_jpeg(data: bytes, shape: Shape4, dtype: np.dtype[Any], parameters: Parameters) -> Array:
    """JPEG."""
    import simplejpeg

    space = "GRAY" if shape[3] == 1 else "RGB"
    return _unplane(simplejpeg.decode_jpeg(data, space), shape).astype(dtype, copy=False)


def encode_png(array: Array, parameters: Parameters) -> bytes:
    """PNG."""
    from imagecodecs import png_encode

    plane = np.squeeze(_plane(array), 2) if array.shape[3] == 1 else _plane(array)
    room = 2 * (plane.nbytes + len(plane)) + 4096  # left to itself it takes too little, and may then cut the picture
    return bytes(png_encode(plane, parameters.get("png_level", PNG_LEVEL), out=room))


def decode_png(data: bytes, shape: Shape4, dtype: np.dtype[Any], parameters: Parameters) -> Array:
    """PNG."""
    from imagecodecs import png_decode

    if not data.endswith(_PNG_END):
        raise ValueError("it ends before its last part does")
    plane = png_decode(data)
    if plane.dtype != dtype:
        raise ValueError(f"the picture is {plane.dtype}")
    return _unplane(plane, shape)


def encode_jxl(array: Array, parameters: Parameters) -> bytes:
    """JPEG XL; at quality 100 without loss."""
    from imagecodecs import jpegxl_encode

    quality = parameters.get("jxl_quality", JXL_QUALITY)
    coded = jpegxl_encode(
        _plane(array)[..., 0],
        level=quality,
        lossless=jxl_is_lossless(parameters),
        effort=parameters.get("jxl_effort", JXL_EFFORT),
        decodingspeed=parameters.get("jxl_decodingspeed", 0),
        photometric="GRAY",
        numthreads=1,
    )
    return bytes(coded)


def jxl_is_lossless(parameters: Parameters) -> bool:
    """Whether JPEG XL keeps every bit."""
    return bool(parameters.get("jxl_quality", JXL_QUALITY) >= _JXL_LOSSLESS)


def decode_jxl(data: bytes, shape: Shape4, dtype: np.dtype[Any], parameters: Parameters) -> Array:
    """JPEG XL."""
    from imagecodecs import jpegxl_decode

    plane = jpegxl_decode(data, numthreads=1)
    if plane.dtype != dtype:
        raise ValueError(f"the picture is {plane.dtype}")
    return _unplane(plane, shape)
