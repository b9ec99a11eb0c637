"""Voxels per label, exactly, for any number of labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from igneous_ng.census import Census, Shuffle, folder
from igneous_ng.counting import Counting, Level
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.masks import Masked
from igneous_ng.native.labels import count
from igneous_ng.stage import Chain, Stage
from igneous_ng.volume import Volume


@dataclass(frozen=True, kw_only=True)
class Voxels(Masked, Counting):
    """What is counted: the voxels of labels that no mask leaves out."""

    def census(self, io: IO, cells: int) -> Census:
        """The counts of a level of the layer."""
        return Census(io, folder(self.layer, self.mip), Shuffle(cells))

    def volume(self, io: IO) -> Volume:
        """Any integers."""
        volume = io.volume(self.layer, self.mip, self.fill_missing)
        if volume.dtype.kind == "f":
            raise SpecError(f"{self.name}: {self.layer} is {volume.dtype.name}; give a layer of integers")
        return volume


@dataclass(frozen=True, kw_only=True)
class Count(Voxels, Level, name="image count"):
    """Count the voxels of every label, one level of the shuffle at a time; `image census` runs them all.

    Level 0 counts cells; the levels above add up, each task a part of the labels. The last level is the table, beside
    the layer, that labels are looked up in. The background is counted as label 0. What a mask leaves out is not
    counted.
    """

    example = "./seg --mip 1"

    def cell_bytes(self, cell: Box, io: IO) -> int:
        """The voxels, sorted, and the mask."""
        volume = self.volume(io)
        masked = self.mask_bytes(io, cell, volume.resolution)
        return cell.voxels * (4 * volume.dtype.itemsize + 24) + masked

    def count(self, unit: int, cell: Box, io: IO) -> None:
        """Count what the mask leaves."""
        volume = self.volume(io)
        values, left_out = self.seen(io, volume.info, volume.mip, cell, partial(io.read, volume))
        cells = values.reshape((*values.shape[:2], -1), order="F")
        if left_out is not None:
            cells = values[~left_out].reshape((-1, 1, 1))
        labels, counts = count(cells)
        wide = labels.view(values.dtype).astype(np.int64 if values.dtype.kind == "i" else np.uint64)
        self.table(io).store(0, unit, wide.view(np.uint64), counts.astype(np.int64))

    def plan(self, io: IO) -> dict[str, Any]:
        """Also the mask."""
        return {**super().plan(io), "mask": self.mask_parameters()}


@dataclass(frozen=True, kw_only=True)
class CountAll(Voxels, Chain, name="image census"):
    """Count the voxels of every label, exactly, into a table beside the layer: all levels of `image count`."""

    example = "./seg --mip 1 -p 4"

    def steps(self, io: IO) -> Iterator[Stage]:
        """Cells, then each level of the shuffle."""
        return (self.step(Count, level=level) for level in self.levels(io))
