"""Encodings of plain numbers: raw voxels of any type, and floats by fpzip and zfp.

Sources: fpzip (Lindstrom & Isenburg 2006) and zfp (Lindstrom 2014); the container of several zfp streams is that of
the Seung lab's zfpc.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from igneous_ng.formats.codecs.base import Array, Parameters, Shape4, optional

_FPZIP_HEADER = 24  # bytes, of which the shape and the precision decide
_FPZIP_PRECISIONS = range(33)
_APART = (True, True, True, False)  # each channel by itself; blocks of four channels would be padding, mostly
ZFPC_MODES = ("zfpc_tolerance", "zfpc_precision", "zfpc_rate")


def encode_raw(array: Array, parameters: Parameters) -> bytes:
    """Little endian, x fastest."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes("F")


def decode_raw(data: bytes, shape: Shape4, dtype: np.dtype[Any], parameters: Parameters) -> Array:
    """Little endian, x fastest."""
    return np.frombuffer(data, dtype.newbyteorder("<")).reshape(shape, order="F").astype(dtype, copy=False)


def encode_fpzip(array: Array, parameters: Parameters) -> bytes:
    """fpzip; precision 0 keeps every bit."""
    return _fpzipped(array, parameters.get("fpzip_precision", 0))


def _fpzipped(array: Array, precision: int) -> bytes:
    own = np.require(array, requirements=["F", "W"])  # it refuses others
    return bytes(optional("fpzip").compress(own, precision=precision, order="F"))


@lru_cache(maxsize=256)
def _fpzip_header(shape: Shape4, precision: int) -> bytes:
    return _fpzipped(np.zeros(shape, np.float32), precision)[:_FPZIP_HEADER]


def decode_fpzip(data: bytes, shape: Shape4, dtype: np.dtype[Any], parameters: Parameters) -> Array:
    """fpzip.

    Its decoder believes what it reads and knows no end, so a header of another chunk is refused. A stream carries no
    sum: the gzip around it does, which chunks of this encoding have unless they were stored plain.
    """
    precisions = (parameters.get("fpzip_precision", 0), *_FPZIP_PRECISIONS)
    if not any(data[:_FPZIP_HEADER] == _fpzip_header(shape, precision) for precision in precisions):
        raise ValueError("its header is not that of such a chunk")
    found: Array = optional("fpzip").decompress(data, order="F")
    return found


def encode_zfpc(array: Array, parameters: Parameters) -> bytes:
    """zfp, of one tolerance, precision or rate; with none it keeps every bit."""
    settings = {key.removeprefix("zfpc_"): parameters[key] for key in ZFPC_MODES if key in parameters}
    correlated = [bool(b) for b in parameters.get("zfpc_correlated_dims", _APART)]
    return bytes(optional("zfpc").compress(np.asfortranarray(array), correlated_dims=correlated, **settings))


def zfpc_is_exact(parameters: Parameters) -> bool:
    """Whether zfp keeps every bit."""
    return not any(parameters.get(key, -1) >= 0 for key in ZFPC_MODES)


def decode_zfpc(data: bytes, shape: Shape4, dtype: np.dtype[Any], parameters: Parameters) -> Array:
    """zfp."""
    zfpc = optional("zfpc")
    header = zfpc.ZfpcHeader.frombytes(data)
    if tuple(header.shape()) != shape or header.data_type != dtype.type:
        raise ValueError(f"it holds {tuple(header.shape())} voxels")
    sizes = np.frombuffer(data, "<u8", 1 + header.num_streams(), header.header_size)
    if int(sizes.sum()) != len(data):
        raise ValueError("it ends before or after its streams do")
    found: Array = zfpc.decompress(data)
    return found
