"""Encodings of labels: exact, and small where objects are large.

Sources: compressed_segmentation (Neuroglancer's specification) in a kernel of our own; compresso (Matejek et al. 2017,
MICCAI) and crackle (Silversmith) through the Seung lab's libraries. Their decoders trust their input, so what would
lead them out of it is refused before.
"""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

import numpy as np

from igneous_ng.formats.codecs.base import Array, Parameters, Shape4
from igneous_ng.geometry import Vec3, ceil_div, vec
from igneous_ng.native import cseg

BLOCK = (8, 8, 8)
"""Block of compressed_segmentation, in voxels, where a layer does not name its own."""
_COMPRESSO_HEADER = 36  # bytes


def encode_segmentation(array: Array, parameters: Parameters) -> bytes:
    """compressed_segmentation."""
    return cseg.encode(array, _block(parameters))


def decode_segmentation(data: bytes, shape: Shape4, dtype: np.dtype[Any], parameters: Parameters) -> Array:
    """compressed_segmentation."""
    array = np.empty(shape, dtype, order="F")
    place_segmentation(data, shape[:3], parameters, (0, 0, 0), array)
    return array


def place_segmentation(data: bytes, shape: Vec3, parameters: Parameters, start: Vec3, out: Array) -> None:
    """compressed_segmentation, a part of a chunk."""
    cseg.decode(data, shape, _block(parameters), start, out)


def _block(parameters: Parameters) -> Vec3:
    return vec(parameters.get("compressed_segmentation_block_size", BLOCK))


def encode_compresso(array: Array, parameters: Parameters) -> bytes:
    """compresso."""
    import compresso

    coded: bytes = compresso.compress(np.asfortranarray(array[..., 0]).copy(order="F"))
    return coded


def decode_compresso(data: bytes, shape: Shape4, dtype: np.dtype[Any], parameters: Parameters) -> Array:
    """compresso."""
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


def encode_crackle(array: Array, parameters: Parameters) -> bytes:
    """crackle."""
    coded: bytes = _crackle().compress(np.asfortranarray(array[..., 0]), parallel=1)
    return coded


def decode_crackle(data: bytes, shape: Shape4, dtype: np.dtype[Any], parameters: Parameters) -> Array:
    """crackle."""
    crackle = _crackle()
    _check_crackle(data, shape, dtype)
    return np.asarray(crackle.decompress(data, parallel=1))[..., np.newaxis]


def _crackle() -> Any:
    with warnings.catch_warnings():  # it asks for another package, for functions that are not used here
        warnings.simplefilter("ignore")
        import crackle
    return crackle


def _check_crackle(data: bytes, shape: Shape4, dtype: np.dtype[Any]) -> None:
    """Refuse another chunk's, a torn one, and one whose labels are damaged; it looks at its own sums in part."""
    from crackle import codec
    from crackle.lib import crc32c

    header = codec.header(data)
    found = (header.sx, header.sy, header.sz, 1)
    if found != shape or header.data_width != dtype.itemsize or header.signed:
        raise ValueError(f"it holds {found[:3]} voxels of {header.data_width} bytes")
    sums = 4 * (header.sz + 1) if header.format_version else 0
    if int(codec.grid_index(data)[-1]) + _markov_bytes(header.markov_model_order) + sums != len(data):
        raise ValueError("it ends before or after its slices do")
    if header.format_version and codec.labels_crc(data) != crc32c(bytes(codec.raw_labels(data))):
        raise ValueError("its labels are not those that were stored")


def _markov_bytes(order: int) -> int:
    """Size of the model of crack codes: five bits for each of its states."""
    return ceil_div(5 * 4**order, 8) if order else 0
