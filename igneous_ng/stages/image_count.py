"""Voxels per label, exactly, for any number of labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from igneous_ng.census import Census, Shuffle, folder
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Grid, Vec3
from igneous_ng.io import IO
from igneous_ng.masks import Masked
from igneous_ng.native.labels import count
from igneous_ng.stage import Chain, LayerUrl, Stage, arg, opt
from igneous_ng.volume import Volume

_SMALL = 16_000_000  # bytes that adding up may take for its lists at any rate


@dataclass(frozen=True, kw_only=True)
class Counting(Masked):
    """The fields that say what is counted."""

    layer: LayerUrl = arg("Layer of labels.")
    mip: int = opt(0, "Mip level to count.")
    cell: Vec3 = opt((256, 256, 256), "Voxels of one task.")
    fill_missing: bool = opt(False, "Read missing chunks as background.")

    def check(self) -> None:
        """Cells are real."""
        super().check()
        if min(self.cell) < 1:
            raise SpecError(f"{self.name}.cell: {self.cell}; each side must be at least 1 voxel")

    def home(self) -> str:
        """The layer keeps the counts."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the counts."""
        return (folder(self.layer, self.mip),)

    def _volume(self, io: IO) -> Volume:
        volume = io.volume(self.layer, self.mip, self.fill_missing)
        if volume.dtype.kind == "f":
            raise SpecError(f"{self.name}: {self.layer} is {volume.dtype.name}; give a layer of integers")
        return volume

    def _grid(self, io: IO) -> Grid:
        return Grid(self._volume(io).bounds, self.cell)

    def _census(self, io: IO) -> Census:
        return Census(io, folder(self.layer, self.mip), Shuffle(len(self._grid(io))))


@dataclass(frozen=True, kw_only=True)
class Count(Counting, name="image count"):
    """Count the voxels of every label, one level of the shuffle at a time; `image census` runs them all.

    Level 0 counts cells; the levels above add up, each task a part of the labels. The last level is the table, beside
    the layer, that labels are looked up in. The background is counted as label 0. What a mask leaves out is not
    counted.
    """

    level: int = opt(0, "0 counts cells; 1 and above add up.")

    def check(self) -> None:
        """Levels are counted from 0."""
        super().check()
        if self.level < 0:
            raise SpecError(f"image count.level: {self.level}; levels begin at 0")

    def prepare(self, io: IO) -> None:
        """Write what is counted, or refuse to add up before the level below is finished."""
        url = folder(self.layer, self.mip)
        plan, found = self._plan(io), io.get_json(f"{url}/plan.json")
        if found is None and self.level == 0:
            io.put_json(f"{url}/plan.json", plan)
        elif found is not None and found != plan:
            raise SpecError(
                f"{url}: counted otherwise ({found} there, {plan} asked for); ask for the same, or remove it"
            )
        elif self.level and not io.exists(f"{url}/done-{self.level - 1}.json"):
            raise DataError(f"{url}: `image count --level {self.level - 1}` has not finished; wait for it, or run it")

    def units(self, io: IO) -> Sequence[Any]:
        """The cells, or the numbers of the tasks of a level."""
        census = self._census(io)
        if self.level > census.shuffle.top:
            raise SpecError(f"image count.level: {self.level}; this layer has levels 0 to {census.shuffle.top}")
        return range(census.shuffle.units(self.level))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A cell and its labels, or a part of the labels of many."""
        if self.level:
            return _SMALL + self._census(io).merge_bytes(self.level, unit)
        volume, cell = self._volume(io), self._grid(io)[unit]
        masked = self.mask_bytes(io, cell, volume.resolution)
        return _SMALL + cell.voxels * (4 * volume.dtype.itemsize + 24) + masked

    def execute(self, unit: int, io: IO) -> None:
        """Count one cell, or add up one part."""
        census = self._census(io)
        if self.level:
            census.merge(self.level, unit)
            return
        volume = self._volume(io)
        values, left_out = self.seen(io, volume.info, volume.mip, self._grid(io)[unit], partial(io.read, volume))
        cells = values.reshape((*values.shape[:2], -1), order="F")
        if left_out is not None:
            cells = values[~left_out].reshape((-1, 1, 1))
        labels, counts = count(cells)
        wide = labels.view(values.dtype).astype(np.int64 if values.dtype.kind == "i" else np.uint64)
        census.store(0, unit, wide.view(np.uint64), counts.astype(np.int64))

    def finish(self, io: IO) -> None:
        """Allow the next level, or let the table be found."""
        census = self._census(io)
        io.put_json(f"{census.url}/done-{self.level}.json", {})
        if self.level == census.shuffle.top:
            io.put_json(f"{census.url}/table.json", {"cells": census.shuffle.cells})

    def spent(self, io: IO) -> tuple[str, ...]:
        """The levels below the table, once that is made."""
        census = self._census(io)
        below = range(census.shuffle.top) if self.level == census.shuffle.top else range(0)
        return tuple(f"{census.url}/level-{level}" for level in below)

    def _plan(self, io: IO) -> dict[str, Any]:
        counted = {"bounds": str(self._volume(io).bounds), "cell": list(self.cell), "fill_missing": self.fill_missing}
        return {**counted, "mask": self.mask_parameters()}


@dataclass(frozen=True, kw_only=True)
class CountAll(Counting, Chain, name="image census"):
    """Count the voxels of every label, exactly, into a table beside the layer: all levels of `image count`."""

    def steps(self, io: IO) -> Iterator[Stage]:
        """Cells, then each level of the shuffle."""
        for level in range(self._census(io).shuffle.top + 1):
            yield self.step(Count, level=level)
