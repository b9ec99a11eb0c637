"""Sections in another order."""

from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from igneous_ng.deriving import Deriving
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.stage import Layer, opt
from igneous_ng.volume import Volume

Order = tuple[int, list[int | None]]
"""The first section of the new layer, and for each of them the source's section that it shows; None: black."""


@dataclass(frozen=True, kw_only=True)
class Reorder(Deriving, name="image reorder"):
    """Write the sections of a layer in another order.

    The order is a list of sections of the source, of which the first becomes the first of the new layer, at the z of
    the source's first. Or it is a JSON file: such a list, with null for a black section, or an object that names for
    each new z the old one, or null. It is copied into the new layer, so later changes of the file do no harm.
    """

    example = "./em ./ordered --order 0,2,1,3"

    order: tuple[int, ...] = opt((), "The z of the source's sections, in their new order.")
    mapping: Layer | None = opt(None, "URL or path of a JSON file that says the order.")
    repeat: bool = opt(False, "Allow sections of the source to appear more than once.")
    drop: bool = opt(False, "Allow sections of the source to appear nowhere.")

    def check(self) -> None:
        """The order is said once."""
        super().check()
        if bool(self.order) == (self.mapping is not None):
            raise SpecError(f"{self.name}: give either --order or --mapping")

    def prepare(self, io: IO) -> None:
        """Keep the order, and write the layer's info."""
        order = self._wanted(io)
        if io.get_json(self._kept_url()) not in (None, list(order)):
            raise SpecError(f"{self.layer}: sections were written here in another order; choose another place")
        super().prepare(io)
        io.put_json(self._kept_url(), list(order))

    def made(self, io: IO) -> Info:
        """The new layer: as many sections as the order has."""
        read = self.volume(io)
        begin, sections = self._order(io)
        lo, hi = (*read.bounds.lo[:2], begin), (*read.bounds.hi[:2], begin + len(sections))
        return self.made_as(read, read.dtype, read.channels, Box(lo, hi))

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The new cell, and as much of the source as lies in one row of chunks."""
        volume = self.volume(io)
        row = Box(unit.lo, (*unit.hi[:2], unit.lo[2] + volume.chunk[2]))
        return 3 * (unit.voxels + row.voxels) * volume.voxel_bytes + self.mask_bytes(io, row, volume.resolution)

    def execute(self, unit: Box, io: IO) -> None:
        """Gather the sections of one cell; the source's rows of chunks are read once each."""
        volume, target = self.volume(io), self.target(io)
        begin, sections = self._order(io)
        out = np.zeros((*unit.shape, target.channels), target.dtype, order="F")
        wanted = [(z, at) for at in range(unit.shape[2]) if (z := sections[unit.lo[2] - begin + at]) is not None]
        for _, row in groupby(sorted(wanted), lambda pair: (pair[0] - volume.bounds.lo[2]) // volume.chunk[2]):
            pairs = list(row)
            lo, hi = pairs[0][0], pairs[-1][0] + 1
            array = self.read(io, Box((*unit.lo[:2], lo), (*unit.hi[:2], hi)))
            for z, at in pairs:
                out[:, :, at] = array[:, :, z - lo]
        io.note(black=unit.shape[2] - len(wanted))
        io.write(target, unit, out, self.compress)

    def _kept_url(self) -> str:
        return f"{self.layer}/order.json"

    def _order(self, io: IO) -> Order:
        """The order as it was kept; before that, as it is wanted."""
        kept = io.get_json(self._kept_url())
        return (kept[0], kept[1]) if kept is not None else self._wanted(io)

    def _wanted(self, io: IO) -> Order:
        volume = self.volume(io)
        if self.mapping is None:
            found: Order = volume.bounds.lo[2], list(self.order)
        else:
            raw = io.get_json(self.mapping)
            if raw is None:
                raise SpecError(f"{self.name}: there is no file {self.mapping}")
            found = _parse(raw, volume.bounds.lo[2], self.mapping)
        self._check_sections(found[1], volume)
        return found

    def _check_sections(self, sections: list[int | None], volume: Volume) -> None:
        lo, hi = volume.bounds.lo[2], volume.bounds.hi[2]
        used = sorted(z for z in sections if z is not None)
        if bad := [z for z in used if not lo <= z < hi]:
            raise SpecError(f"{self.name}: {self.source} has no section {bad[0]}; there are {lo} to {hi - 1}")
        if not self.repeat and (again := [a for a, b in pairwise(used) if a == b]):
            raise SpecError(f"{self.name}: section {again[0]} appears more than once; if that is meant, give --repeat")
        if not self.drop and (left := sorted(set(range(lo, hi)) - set(used))):
            raise SpecError(f"{self.name}: section {left[0]} appears nowhere; if that is meant, give --drop")


def _parse(raw: Any, begin: int, where: str) -> Order:
    """The order that a JSON file says."""
    try:
        if isinstance(raw, dict):
            named = {int(key): value for key, value in raw.items()}
            begin, end = min(named), max(named) + 1
            if gap := [z for z in range(begin, end) if z not in named]:
                raise SpecError(f"{where}: the new section {gap[0]} is not named; name the old one, or null for black")
            raw = [named[z] for z in range(begin, end)]
        if isinstance(raw, list) and raw and all(z is None or type(z) is int for z in raw):
            return begin, raw
    except (ValueError, TypeError) as error:
        raise SpecError(f"{where}: not an order of sections ({error})") from error
    raise SpecError(f"{where}: not an order of sections; write a list of numbers, or an object of new and old ones")
