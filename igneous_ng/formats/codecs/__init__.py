"""Chunk encodings of Precomputed volumes: an array ``[x, y, z, c]`` to bytes and back, exact where lossless.

Source of the layouts: Neuroglancer's "Precomputed volume" specification and, for what it does not know, CloudVolume.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from igneous_ng import spelling
from igneous_ng.errors import ConfigurationError, DataError, SpecError
from igneous_ng.formats.codecs import labels, numbers, pictures
from igneous_ng.formats.codecs.base import Array, Codec, Parameters, Setting, Shape4
from igneous_ng.formats.codecs.labels import BLOCK
from igneous_ng.geometry import Vec3

__all__ = [
    "BLOCK",
    "CODECS",
    "DTYPES",
    "Codec",
    "Parameters",
    "Setting",
    "check",
    "compact",
    "decode",
    "encode",
    "exact",
    "place",
]

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")
_LABELS = ("uint8", "uint16", "uint32", "uint64")
_BLOCK = {"compressed_segmentation_block_size": Setting(1, 64, True, "block of voxels, x,y,z", 3)}

CODECS: dict[str, Codec] = {
    "raw": Codec(numbers.encode_raw, numbers.decode_raw, DTYPES),
    "jpeg": Codec(
        pictures.encode_jpeg,
        pictures.decode_jpeg,
        ("uint8",),
        (1, 3),
        {"jpeg_quality": Setting(1, 100, True, "quality of the picture")},
        exact=lambda _: False,
        compact=True,
    ),
    "png": Codec(
        pictures.encode_png,
        pictures.decode_png,
        ("uint8", "uint16"),
        (1, 2, 3, 4),
        {"png_level": Setting(0, 9, True, "effort of deflate")},
        compact=True,
    ),
    "jxl": Codec(
        pictures.encode_jxl,
        pictures.decode_jxl,
        ("uint8",),
        (1,),
        {
            "jxl_quality": Setting(0, 100, True, "quality of the picture; 100 is without loss"),
            "jxl_effort": Setting(1, 10, True, "effort of the encoder"),
            "jxl_decodingspeed": Setting(0, 4, True, "how much size to give for fast decoding"),
        },
        exact=pictures.jxl_is_lossless,
        compact=True,
    ),
    "fpzip": Codec(
        numbers.encode_fpzip,
        numbers.decode_fpzip,
        ("float32",),
        settings={"fpzip_precision": Setting(0, 32, True, "bits of a number that are kept; 0 for all")},
        exact=lambda parameters: parameters.get("fpzip_precision", 0) in (0, 32),
    ),
    "zfpc": Codec(
        numbers.encode_zfpc,
        numbers.decode_zfpc,
        ("float32",),
        settings={
            "zfpc_tolerance": Setting(0, 1e30, False, "largest error"),
            "zfpc_precision": Setting(1, 64, True, "bit planes that are kept"),
            "zfpc_rate": Setting(1, 64, False, "bits of a voxel"),
            "zfpc_correlated_dims": Setting(0, 1, True, "along which of x,y,z,c values are alike", 4),
        },
        exact=numbers.zfpc_is_exact,
    ),
    "compressed_segmentation": Codec(
        labels.encode_segmentation,
        labels.decode_segmentation,
        ("uint32", "uint64"),
        settings=_BLOCK,
        place=labels.place_segmentation,
    ),
    "compresso": Codec(labels.encode_compresso, labels.decode_compresso, _LABELS, (1,)),
    "crackle": Codec(labels.encode_crackle, labels.decode_crackle, _LABELS, (1,)),
}
"""The encodings that this package reads and writes, and what each can hold."""


def encode(array: Array, encoding: str, parameters: Parameters | None = None) -> bytes:
    """The bytes of one chunk, ``[x, y, z, c]``, in ``encoding``; the same array gives the same bytes."""
    return _codec(encoding).encode(array, parameters or {})


def decode(
    data: bytes, encoding: str, shape: Shape4, dtype: np.dtype[Any], parameters: Parameters | None = None
) -> Array:
    """The chunk ``[x, y, z, c]`` of ``shape`` that ``data`` holds; DataError where it does not."""
    codec = _codec(encoding)
    with _blamed(data, encoding, shape, dtype):
        array = codec.decode(data, shape, dtype, parameters or {})
        return array.reshape(shape, order="F") if array.shape != shape else array


def place(data: bytes, encoding: str, shape: Vec3, parameters: Parameters, start: Vec3, out: Array) -> None:
    """Write the voxels of a chunk of ``shape`` from ``start`` on to ``out``, ``[x, y, z, c]``, or DataError."""
    codec, whole = _codec(encoding), (*shape, out.shape[3])
    if codec.place:
        with _blamed(data, encoding, whole, out.dtype):
            codec.place(data, shape, parameters, start, out)
    else:
        voxels = decode(data, encoding, whole, out.dtype, parameters)
        out[...] = voxels[tuple(slice(a, a + n) for a, n in zip(start, out.shape, strict=False))]


@contextmanager
def _blamed(data: bytes, encoding: str, shape: Shape4, dtype: np.dtype[Any]) -> Iterator[None]:
    """What fails inside as a DataError: each library has its own; a chunk that cannot be decoded is bad data."""
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        raise DataError(
            f"{len(data)} bytes are no {encoding} chunk of {shape} {dtype.name} "
            f"({type(error).__name__}: {error}); write this chunk again"
        ) from error


def exact(encoding: str, parameters: Parameters) -> bool:
    """Whether ``encoding`` keeps every bit, with such parameters."""
    return _codec(encoding).exact(parameters)


def compact(encoding: str) -> bool:
    """Whether the bytes of ``encoding`` gain nothing from being compressed again."""
    return _codec(encoding).compact


def check(encoding: str, dtype: str, channels: int, labels_only: bool, parameters: Parameters) -> None:
    """SpecError where ``encoding`` cannot hold such voxels, with those that can, or its parameters are wrong.

    Labels are kept exactly: with ``labels_only``, encodings that lose bits are refused.
    """
    if dtype not in DTYPES:
        raise SpecError(f"Precomputed volumes hold no {dtype}; convert to one of {', '.join(DTYPES)}")
    _codec(encoding)
    right = [name for name, codec in CODECS.items() if codec.holds(dtype, channels)]
    if labels_only:
        right = [name for name in right if CODECS[name].exact(parameters)]
    if encoding not in right:
        raise SpecError(
            f"encoding {encoding!r} cannot hold {'labels of ' if labels_only else ''}{dtype} of {channels} channel(s); "
            f"these can: {', '.join(right) or 'none'}"
        )
    settings = CODECS[encoding].settings
    for name, value in parameters.items():
        if name not in settings:
            known = ", ".join(settings) or "none"
            raise SpecError(f"{name} is no parameter of encoding {encoding!r}; there are: {known}")
        if not settings[name].allows(value):
            raise SpecError(f"{name} is {value!r}; give {settings[name]}")
    modes = [name for name in numbers.ZFPC_MODES if name in parameters]
    if len(modes) > 1:
        raise SpecError(f"{' and '.join(modes)} exclude each other; give one of them")


def _codec(encoding: str) -> Codec:
    try:
        return CODECS[encoding]
    except KeyError:
        raise SpecError(f"no encoding is called {encoding!r}; {spelling.choices(encoding, CODECS)}") from None
