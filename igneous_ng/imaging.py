"""What the image stages share: several levels of a layer made in one pass, and reads that count what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import settings
from igneous_ng.formats.codecs.base import Parameters
from igneous_ng.formats.info import SEGMENTATION, Info, Scale, check_encoding, coarser
from igneous_ng.formats.sharding import Packing
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.kernels import pyramid
from igneous_ng.kernels.pooling import Method
from igneous_ng.store import Compression
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
Pooling = Literal["auto", "average", "mode", "min", "max", "stride"]


def check_pooling(name: str, factor: Vec3, method: str, sparse: bool) -> None:
    """SpecError where pooling so would shrink nothing, grow something, or mean nothing; ``name`` is the stage's."""
    if min(factor) < 1 or max(factor) == 1:
        raise SpecError(f"{name}: factor {factor} must shrink an axis and grow none")
    pyramid.check(method, sparse)


def method_of(info: Info, asked: Pooling) -> Method:
    """What ``auto`` means for a layer."""
    if asked == "auto":
        return "mode" if info.kind == SEGMENTATION else "average"
    return asked


def encoding_of(encodings: tuple[str, ...], level: int) -> str | None:
    """The encoding of the ``level``-th of several levels: the last one named is that of all above."""
    return encodings[min(level, len(encodings) - 1)] if encodings else None


def tuned(scale: Scale, parameters: Parameters) -> Scale:
    """``scale`` with those of ``parameters`` that its encoding has."""
    return replace(scale, extra={**scale.extra, **settings.fitting(parameters, scale.encoding)})


def raised(
    info: Info, mip: int, factor: Vec3, encodings: tuple[str | None, ...], parameters: Parameters, where: str
) -> Info:
    """``info`` with a level above ``mip`` for each of ``encodings`` (None: as below it); those that are there stand."""
    for level, encoding in enumerate(encodings, mip + 1):
        new = tuned(coarser(info.scales[level - 1], factor, encoding=encoding), parameters)
        check_encoding(new.encoding, info.dtype.name, info.channels, new.chunk, info.kind, new.parameters)
        if level >= len(info.scales):
            info = replace(info, scales=(*info.scales, new))
        else:
            _check_same(info.scales[level], new, f"{where}: mip {level}", encoding)
    return info


def _check_same(old: Scale, new: Scale, where: str, encoding: str | None) -> None:
    if (old.bounds, old.resolution) != (new.bounds, new.resolution):
        raise SpecError(
            f"{where} is there already, {old.resolution} nm over {old.bounds}; by the factor asked for "
            f"it would be {new.resolution} nm over {new.bounds}. Use the factor that made it, or another --mip"
        )
    if encoding not in (None, old.encoding):
        raise SpecError(f"{where} is there already, as {old.encoding}; leave --encoding out, or name that one")


def packing_of(name: str, compress: Compression) -> Packing:
    """How chunks are packed in shards; SpecError, for the stage called ``name``, where shards cannot."""
    if compress == "gzip":
        return "gzip"
    if compress == "none":
        return "raw"
    raise SpecError(f"{name}: shards know no {compress}; use gzip or none, or leave --sharded out")


Read = Callable[[Box], Array]
"""The voxels of a box of one level."""


def reader(io: IO, volume: Volume) -> Read:
    """What reads ``volume`` for one task: missing chunks are counted, in the error, or in the record where filled."""
    missing: set[Box] = set()

    def read(box: Box) -> Array:
        try:
            array = io.read(volume, box)
        except DataError as error:
            refuse_missing(volume, box, volume.absent(box), error)
            raise
        if volume.fill_missing:
            missing.update(volume.absent(box))
            note_missing(io, len(missing))
        return array

    return read


def refuse_missing(volume: Volume, box: Box, absent: list[Box], cause: Exception | None = None) -> None:
    """DataError that counts the chunks of ``box`` that are missing, if there are any."""
    if absent:
        raise DataError(
            f"{volume.path} mip {volume.mip}: the chunk {absent[0]} is missing (read for {box}), {len(absent)} in all "
            "there; write them first, or pass --fill-missing to read them as zeros"
        ) from cause


def note_missing(io: IO, count: int) -> None:
    """Enter in the record how many chunks were filled."""
    io.note(missing_chunks=count)
