"""Stages that make a table of labels beside a layer, one level of a shuffle at a time (:mod:`igneous_ng.census`)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from igneous_ng.census import Census, Shuffle
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Grid, Vec3
from igneous_ng.io import IO
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.volume import Volume

LISTS = 16_000_000  # bytes that adding up may take for its lists at any rate


@dataclass(frozen=True, kw_only=True)
class Counting(Stage):
    """The fields that say what is counted, or measured."""

    layer: LayerUrl = arg("Layer of labels.")
    mip: int = opt(0, "Level to count.")
    cell: Vec3 = opt((256, 256, 256), "Voxels of one task.")
    fill_missing: bool = opt(False, "Read missing chunks as background.")

    def check(self) -> None:
        """Cells are real."""
        super().check()
        if min(self.cell) < 1:
            raise SpecError(f"{self.name}.cell: {self.cell}; each side must be at least 1 voxel")

    def home(self) -> str:
        """The layer keeps what is known of its labels."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the table."""
        return (self.census(io, 1).url,)

    @abstractmethod
    def census(self, io: IO, cells: int) -> Census:
        """The table, for so many cells."""

    @abstractmethod
    def volume(self, io: IO) -> Volume:
        """The level that is read; SpecError where it holds no labels."""

    def grid(self, io: IO) -> Grid:
        """The cells."""
        return Grid(self.volume(io).bounds, self.cell)

    def levels(self, io: IO) -> range:
        """The levels of the shuffle: cells, then those that add up."""
        return range(Shuffle(len(self.grid(io))).top + 1)


@dataclass(frozen=True, kw_only=True)
class Level(Counting):
    """One level of the shuffle: level 0 counts cells, those above add up."""

    level: int = opt(0, "0 counts cells; 1 and above add up.")

    def check(self) -> None:
        """Levels are counted from 0."""
        super().check()
        if self.level < 0:
            raise SpecError(f"{self.name}.level: {self.level}; levels begin at 0")

    @abstractmethod
    def cell_bytes(self, cell: Box, io: IO) -> int:
        """The most bytes that :meth:`count` holds."""

    @abstractmethod
    def count(self, unit: int, cell: Box, io: IO) -> None:
        """Count one cell, and store it in the table."""

    def prepare(self, io: IO) -> None:
        """Write what is counted, or refuse to add up before the level below is finished."""
        url = self.table(io).url
        plan, found = self.plan(io), io.get_json(f"{url}/plan.json")
        if found is None and self.level == 0:
            io.put_json(f"{url}/plan.json", plan)
        elif found is not None and found != plan:
            raise SpecError(f"{url}: made otherwise ({found} there, {plan} asked for); ask for the same, or remove it")
        elif self.level and not io.exists(f"{url}/done-{self.level - 1}.json"):
            raise DataError(f"{url}: `{self.name} --level {self.level - 1}` has not finished; wait for it, or run it")

    def units(self, io: IO) -> Sequence[int]:
        """The cells, or the numbers of the tasks of a level."""
        shuffle = self.table(io).shuffle
        if self.level > shuffle.top:
            raise SpecError(f"{self.name}.level: {self.level}; this layer has levels 0 to {shuffle.top}")
        return range(shuffle.units(self.level))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A cell and its labels, or a part of the labels of many."""
        if self.level:
            return LISTS + self.table(io).merge_bytes(self.level, unit)
        return LISTS + self.cell_bytes(self.grid(io)[unit], io)

    def execute(self, unit: int, io: IO) -> None:
        """Count one cell, or add up one part."""
        if self.level:
            self.table(io).merge(self.level, unit)
        else:
            self.count(unit, self.grid(io)[unit], io)

    def finish(self, io: IO) -> None:
        """Allow the next level, or let the table be found."""
        table = self.table(io)
        io.put_json(f"{table.url}/done-{self.level}.json", {})
        if self.level == table.shuffle.top:
            io.put_json(f"{table.url}/table.json", {"cells": table.shuffle.cells})

    def spent(self, io: IO) -> tuple[str, ...]:
        """The levels below the table, once that is made."""
        table = self.table(io)
        below = range(table.shuffle.top) if self.level == table.shuffle.top else range(0)
        return tuple(f"{table.url}/level-{level}" for level in below)

    def plan(self, io: IO) -> dict[str, Any]:
        """What the counts depend on."""
        return {"bounds": str(self.volume(io).bounds), "cell": list(self.cell), "fill_missing": self.fill_missing}

    def table(self, io: IO) -> Census:
        """The table."""
        return self.census(io, len(self.grid(io)))
