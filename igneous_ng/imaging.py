"""What the image stages share: several levels of a layer made in one pass, and reads that count what is missing."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from math import gcd, lcm, prod
from typing import Any, Literal

import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.codecs import CODECS
from igneous_ng.formats.codecs.base import Parameters
from igneous_ng.formats.info import SEGMENTATION, Info, Scale, check_encoding, coarser
from igneous_ng.formats.sharding import Packing, spec_for
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import pyramid
from igneous_ng.kernels.pooling import Method
from igneous_ng.store import Compression
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
Pooling = Literal["auto", "average", "mode", "min", "max", "stride"]

TASK_VOXELS = 2**26  # of the finest level; larger tasks save little and are harder to balance
_COPIES = 4  # of the finest voxels held at once: chunks as stored, the array, pooling's own, coarser levels
_WIDE_COPIES = 6  # 64-bit integers are summed as two halves


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


def settings_of(texts: tuple[str, ...]) -> Parameters:
    """The settings of encodings written as ``name=value``; SpecError where no encoding has such a setting."""
    found = {}
    known = sorted({name for codec in CODECS.values() for name in codec.settings})
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            raise SpecError(f"setting {text!r}: write name=value, such as jpeg_quality=85") from None
        if name.strip() not in known:
            raise SpecError(f"no encoding has the setting {name.strip()!r}; there are: {', '.join(known)}")
    return found


def fitting(settings: Parameters, encoding: str) -> Parameters:
    """Those of ``settings`` that ``encoding`` has."""
    return {name: value for name, value in settings.items() if encoding in CODECS and name in CODECS[encoding].settings}


def tuned(scale: Scale, settings: Parameters) -> Scale:
    """``scale`` with those of ``settings`` that its encoding has."""
    return replace(scale, extra={**scale.extra, **fitting(settings, scale.encoding)})


def raised(
    info: Info, mip: int, factor: Vec3, encodings: tuple[str | None, ...], settings: Parameters, where: str
) -> Info:
    """``info`` with a level above ``mip`` for each of ``encodings`` (None: as below it); those that are there stand."""
    for level, encoding in enumerate(encodings, mip + 1):
        new = tuned(coarser(info.scales[level - 1], factor, encoding=encoding), settings)
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


def read(io: IO, volume: Volume, box: Box) -> Array:
    """The voxels of ``box``; missing chunks are counted, in the error, or in the record where they are filled."""
    try:
        array = io.read(volume, box)
    except DataError as error:
        refuse_missing(volume, box, volume.absent(box), error)
        raise
    if volume.fill_missing:
        note_missing(io, len(volume.absent(box)))
    return array


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


@dataclass(frozen=True)
class Pass:
    """Level ``mip`` of a layer, and ``count`` levels pooled from it, cell by cell of the coarsest.

    ``base`` says whether level ``mip`` is written, too, or was there. Cells are anchored to the volume and made of
    whole chunks of every level that is written, so tasks never share an object.
    """

    layer: str
    info: Info
    mip: int
    count: int
    factor: Vec3
    method: Method
    sparse: bool
    base: bool
    memory: int

    @property
    def scales(self) -> tuple[Scale, ...]:
        """The levels, the finest first."""
        return self.info.scales[self.mip : self.mip + self.count + 1]

    def units(self, roi: Box | None = None) -> Grid:
        """Cells of the coarsest level; only those that touch ``roi``, in voxels of the finest."""
        return Grid(self.scales[-1].bounds, self._cell(), roi // self._ratio(0) if roi else None)

    def peak_bytes(self, unit: Box) -> int:
        """The most that :meth:`write` and the read before it hold."""
        return self.needed(unit)[0].voxels * self._voxel_bytes() * self._copies()

    def source(self, unit: Box) -> Box:
        """What must be known of the finest level."""
        return self.needed(unit)[0]

    def write(self, io: IO, unit: Box, array: Array, compress: Compression, delete_background: bool = False) -> None:
        """Pool ``array``, which covers :meth:`source`, and write this unit's part of each level."""
        needed = self.needed(unit)
        level = pyramid.begin(array, needed[0].lo, self.method, self.sparse)
        for number, scale in enumerate(self.scales):
            if number:
                window = (needed[number] * self.factor) & self.scales[number - 1].bounds
                level = level.crop(window).coarser(self.factor)
            own = self.owned(unit, number)
            if own.voxels and (number or self.base):
                volume = io.volume(self.layer, self.mip + number, info=self.info)
                assert volume.scale == scale
                io.write(volume, own, level.crop(own).values(), compress, delete_background)

    def owned(self, unit: Box, level: int) -> Box:
        """The whole chunks of a level that the task of ``unit`` writes; they tile the level."""
        top, scale, ratio = self.scales[-1], self.scales[level], self._ratio(level)
        index = unit.shift(vec(-o for o in top.bounds.lo)) * ratio
        cell = vec(c * r for c, r in zip(self._cell(), ratio, strict=True))
        lo = vec(a + o for a, o in zip(index.lo, scale.bounds.lo, strict=True))
        return Box.sized(lo, cell) & scale.bounds

    def needed(self, unit: Box) -> list[Box]:
        """What must be known of each level: its own part, and what the level above is pooled from."""
        needed = [self.owned(unit, self.count)]
        for level in range(self.count - 1, -1, -1):
            below = (needed[0] * self.factor) & self.scales[level].bounds
            own = self.owned(unit, level) if level or self.base else below
            needed.insert(0, below | own if own.voxels else below)
        return needed

    def in_shards(self, have: int, packing: Packing) -> Pass:
        """This pass with the levels from ``have`` on in shards, as large as memory allows; they are packed so."""
        budget = self.memory // self._copies()
        while True:
            made = self._with_shards(have, packing, budget)
            least = [made._least(axis) for axis in range(3)]
            chunk = self._voxel_bytes() * prod(self.scales[0].chunk)
            if made._fine_voxels(least) * self._voxel_bytes() <= self.memory // self._copies() or budget < chunk:
                return made
            budget //= 2

    def _with_shards(self, have: int, packing: Packing, budget: int) -> Pass:
        """Shards of each level that come from about ``budget`` bytes of the finest; at least a chunk each."""
        scales = list(self.info.scales)
        for level in range(have, len(scales)):
            scale, below = scales[level], prod(self.factor) ** (level - self.mip)
            limit = max(budget // below, self._voxel_bytes() * prod(scale.chunk))
            spec = spec_for(scale.bounds.shape, scale.chunk, self._voxel_bytes(), limit, packing)
            scales[level] = scale.with_sharding(spec)
        return replace(self, info=replace(self.info, scales=tuple(scales)))

    def placed(self, old: Info) -> Pass:
        """This pass in the layer that ``old`` describes; SpecError where other levels are in the place of its own."""
        new, keys = self.scales, [scale.key for scale in old.scales]
        mip = keys.index(new[0].key) if new[0].key in keys else len(keys)
        there = old.scales[mip : mip + len(new)]
        same = (old.kind, old.dtype, old.channels) == (self.info.kind, self.info.dtype, self.info.channels)
        ends = len(there) == len(new) or mip + len(there) == len(keys)
        coarser_than_all = all(a <= b for a, b in zip(old.scales[-1].resolution, new[-1].resolution, strict=True))
        if same and there == new[: len(there)] and ends and (there or coarser_than_all):
            scales = (*old.scales[:mip], *new, *old.scales[mip + len(new) :])
            return replace(self, info=replace(old, scales=scales), mip=mip)
        raise SpecError(
            f"{self.layer}: another layer is already here, of another shape, type or encoding, or without room for "
            f"a level of {new[0].resolution} nm; choose another place or remove it"
        )

    def _ratio(self, level: int) -> Vec3:
        """The factor between a level and the coarsest."""
        return vec(f ** (self.count - level) for f in self.factor)

    def _voxel_bytes(self) -> int:
        return self.info.dtype.itemsize * self.info.channels

    def _copies(self) -> int:
        return _WIDE_COPIES if self.info.dtype.itemsize == 8 and self.method == "average" else _COPIES

    def _cell(self) -> Vec3:
        """The least that is whole chunks of every level, doubled along the shorter sides while memory allows."""
        cell = [self._least(axis) for axis in range(3)]
        limit = min(TASK_VOXELS, self.memory // self._copies() // self._voxel_bytes())
        whole, total = self.scales[-1].bounds.shape, self._ratio(0)
        while True:
            wider = [axis for axis in range(3) if cell[axis] < whole[axis]]
            if not wider:
                return vec(cell)
            shortest = min(wider, key=lambda axis: cell[axis] * total[axis])
            grown = [2 * side if axis == shortest else side for axis, side in enumerate(cell)]
            if self._fine_voxels(grown) > limit:
                return vec(cell)
            cell = grown

    def _least(self, axis: int) -> int:
        """The shortest side of a cell: whole chunks, or shards, of each level that is written."""
        sides = (
            scale.granularity[axis] // gcd(scale.granularity[axis], self._ratio(level)[axis])
            for level, scale in enumerate(self.scales)
            if level or self.base
        )
        return lcm(*sides)

    def _fine_voxels(self, cell: list[int]) -> int:
        """Voxels of the finest level under a cell of the coarsest, at most."""
        ratio, whole = self._ratio(0), self.scales[0].bounds.shape
        return prod(min(side * r, n + r) for side, r, n in zip(cell, ratio, whole, strict=True))
