"""Contacts of segments: counted in cells, brought together by segment, and written as tables that join a graph's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import building, words
from igneous_ng.adjacency import TABLES, Plan, Version
from igneous_ng.census import Shuffle
from igneous_ng.connectome import part_name
from igneous_ng.desks import agree
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns, parquet_tables, remaps
from igneous_ng.formats.arrow import arrow
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.graph_versions import check_date, is_name
from igneous_ng.io import IO
from igneous_ng.kernels import faces
from igneous_ng.kernels.faces import ROW_BYTES, Place
from igneous_ng.labelled import beyond, unsigned
from igneous_ng.renaming import Renaming
from igneous_ng.shuffled_rows import Portions
from igneous_ng.stage import Chain, Layer, LayerUrl, Stage, arg, opt

Array = npt.NDArray[Any]
_SMALL = 64_000_000  # bytes that libraries and lists take at any rate
_COPIES = 8  # of rows held at once: as read, together, sorted, summed, packed
_PAIR_BYTES = 1200  # of a pair of a cell, in all its forms
_LEAST_PAIRS = 1 << 16
_VOXELS_PER_PAIR = 64
_MOST_PARTS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Of(building.Versioned):
    """The fields that say which contacts are meant."""

    def made(self, io: IO) -> Version:
        """The version."""
        return Version(io, self.graph, self.tag)

    def shuffle(self, io: IO) -> Shuffle:
        """How rows come from cells to parts."""
        plan = self.made(io).plan
        return Shuffle(plan.tasks, plan.parts)

    def portions(self, io: IO) -> Portions:
        """The rows on their way."""
        made = self.made(io)
        return Portions(io, f"{made.url}/rows", self.shuffle(io), "contacts", made.again)


@dataclass(frozen=True, kw_only=True)
class From(Stage):
    """The field that says whose segments touch."""

    segmentation: LayerUrl = arg("Layer of segments; 0 is none.")


@dataclass(frozen=True, kw_only=True)
class Deciding(Of, From):
    """The fields that say what is counted."""

    mip: int = opt(0, "Level of the segmentation.")
    remap: Layer | None = opt(None, "What segments become: a file (.json, .csv, .npz, .npy) or folder of labels.")
    base: str = opt("", "Rename the segments of this version of the contacts, by --remap, and count nothing.")
    date: str = opt("", "Day of the version, such as 2026-07-01: the last one is what readers take to be the newest.")
    cell: Vec3 = opt((256, 256, 256), "Voxels of one task.")
    parts: int = opt(16, "Files by segment, a power of two, as of `graph build`; one for each million pairs is good.")
    fill_missing: bool = opt(False, "Read missing chunks as 0.")

    def check(self) -> None:
        """Sizes are sizes, dates are dates, and a base is another version under other names."""
        super().check()
        if min(self.cell) < 1:
            raise SpecError(f"{self.name}.cell: {self.cell}; each side must be at least 1 voxel")
        if not 1 <= self.parts <= _MOST_PARTS or self.parts & self.parts - 1:
            raise SpecError(f"{self.name}.parts: {self.parts}; give a power of two, at most {_MOST_PARTS}")
        check_date(f"{self.name}.date", self.date)
        if self.base and (not is_name(self.base) or self.base == self.tag or self.remap is None):
            raise SpecError(
                f"{self.name}.base: {self.base!r}; name a version other than {self.tag}, and a --remap for it"
            )

    def asked(self, io: IO) -> Plan:
        """The plan; SpecError or DataError where there is nothing to do it with."""
        names = ("segmentation", "mip", "fill_missing", "base", "remap", "date", "cell", "parts")
        fields = {name: getattr(self, name) for name in names}
        if not self.base:
            volume = io.volume(self.segmentation, self.mip, self.fill_missing)
            if volume.dtype.kind == "f" or volume.channels != 1:
                raise SpecError(
                    f"{self.name}: {volume.path} is no layer of labels; give one of a single integer a voxel"
                )
            return Plan(base_parts=0, bounds=volume.bounds, resolution=volume.resolution, **fields)
        plan = self._base(io).plan
        if (plan.segmentation, plan.mip) != (self.segmentation, self.mip):
            raise SpecError(
                f"{self.name}.base: version {self.base} is of {plan.segmentation} mip {plan.mip}, and "
                f"{self.segmentation} mip {self.mip} is asked for; name the same, or count without --base"
            )
        return Plan(base_parts=plan.parts, bounds=plan.bounds, resolution=plan.resolution, **fields)

    def prepare(self, io: IO) -> None:
        """Write the plan, or accept the same; refuse to begin without what writes the tables."""
        arrow()
        building.check_remap(io, self.remap)
        if self.base and not io.exists(f"{self._base(io).home}/manifest.json"):
            raise DataError(f"{self._base(io).home}: version {self.base} is not finished; wait for it, or run it")
        otherwise = "these contacts were counted"
        agree(io, f"{self.made(io).home}/plan.json", self.asked(io).to_json(), otherwise, "give another --tag")

    def _base(self, io: IO) -> Version:
        return Version(io, self.graph, self.base)


@dataclass(frozen=True, kw_only=True)
class Rename(Deciding, name="graph rename"):
    """Put a file that says what segments become in parts, for `graph touch`; `graph contacts` runs it where needed.

    The file is as for `graph build`: each label once, and what it becomes; to become 0 is to be background.
    """

    example = "./seg ./graph --remap ./corrections.csv"

    def units(self, io: IO) -> range:
        """The file."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The file, and its rows."""
        return building.labels_bytes(io, self.remap)

    def prepare(self, io: IO) -> None:
        """Refuse what is no table before anything is written."""
        building.labels(io, self.remap, f"{self.name}.remap")
        super().prepare(io)

    def execute(self, unit: int, io: IO) -> None:
        """Write all parts."""
        old, new = building.labels(io, self.remap, f"{self.name}.remap")
        Renaming(io, f"{self.made(io).url}/remap").split(old, new)
        io.note(rows=len(old))


@dataclass(frozen=True, kw_only=True)
class Touch(Deciding, name="graph touch"):
    """Count where segments touch in each cell, or take a part of another version; under the segments' present names.

    Of each two segments it counts neighbouring voxels along 13 directions. Two voxels of two cells are counted by one.
    """

    example = "./seg ./graph"

    def units(self, io: IO) -> range:
        """The numbers of the cells, or of the parts of another version."""
        return range(self.asked(io).tasks)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The labels of a cell and the most pairs that it may have; or a part; and a part of the table of labels."""
        plan, renaming = self.asked(io), building.renaming_bytes(io, self.made(io), self.remap)
        if plan.base:
            url = _sums(self._base(io), unit)
            return _SMALL + renaming + _COPIES * columns.size(self._base(io).get(url, columns.HEAD_SPAN), url)
        volume = io.volume(self.segmentation, self.mip, self.fill_missing)
        labels = beyond(plan.grid[unit], volume).voxels * volume.voxel_bytes
        return _SMALL + renaming + 3 * labels + _PAIR_BYTES * _most(plan.grid[unit])

    def execute(self, unit: int, io: IO) -> None:
        """Count one cell, or take one part."""
        made = self.made(io)
        rows = self._taken(io, unit) if made.plan.base else self._counted(io, made.plan, made.plan.grid[unit])
        renaming = building.renaming(io, made, self.remap)
        if renaming is not None:
            rows = faces.named(rows, *renaming.renamed(rows["segment"], rows["partner"]))
        directed = faces.both_ways(rows)
        self.portions(io).store(0, unit, directed["segment"], directed)
        io.note(
            pairs=int((rows["segment"] > 0).sum()), faces=int(sum(rows[f"faces_{axis}"].sum() for axis in faces.AXES))
        )

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        self.made(io).done("level-0")

    def _taken(self, io: IO, unit: int) -> dict[str, Array]:
        made = self._base(io)
        url = _sums(made, unit)
        return columns.unpack(made.get(url), url)

    def _counted(self, io: IO, plan: Plan, cell: Box) -> dict[str, Array]:
        volume = io.volume(self.segmentation, self.mip, self.fill_missing)
        box = beyond(cell, volume)
        labels = unsigned(io.read(volume, box), volume, box)
        start = vec(a - b for a, b in zip(cell.lo, plan.bounds.lo, strict=True))
        rows = faces.found(labels, Place(start, cell.shape), plan.measure, _most(cell))
        if rows is None:
            raise DataError(
                f"{volume.path} mip {volume.mip}: more than {_most(cell):,} pairs of labels touch in {cell}, one for "
                f"each {cell.voxels // _most(cell)} voxels; that is noise, not a segmentation: name another layer"
            )
        return rows


@dataclass(frozen=True, kw_only=True)
class Tally(Of, name="graph tally"):
    """Add up what 64 groups of cells have of one part of the segments, one level after the other."""

    example = "./graph --level 1"

    level: int = opt(1, "Level of the shuffle; 1 reads what `graph touch` left.")

    def prepare(self, io: IO) -> None:
        """Refuse to begin before the level below is finished."""
        last = self.shuffle(io).top - 1
        if not 1 <= self.level <= last:
            raise SpecError(f"{self.name}.level: {self.level}; this version has levels 1 to {last}")
        self.made(io).need(f"level-{self.level - 1}", f"{self.name} {self.graph} --level {self.level - 1}")

    def units(self, io: IO) -> range:
        """Each part of each group."""
        return range(self.shuffle(io).units(self.level))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The rows of a part."""
        return _SMALL + _COPIES * ROW_BYTES * self.portions(io).rows_below(self.level, unit)

    def execute(self, unit: int, io: IO) -> None:
        """Add up one part."""
        portions = self.portions(io)
        rows = faces.summed(portions.below(self.level, unit))
        portions.store(self.level, unit, rows["segment"], rows)
        io.note(rows=len(rows["segment"]))

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        self.made(io).done(f"level-{self.level}")


@dataclass(frozen=True, kw_only=True)
class Areas(Of, name="graph areas"):
    """Write the tables of each part of the segments: contacts with their areas, and the surface of each segment."""

    example = "./graph"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before all is added up."""
        last = self.shuffle(io).top - 1
        self.made(io).need(f"level-{last}", f"graph {'tally' if last else 'touch'} ... {self.graph}")

    def units(self, io: IO) -> range:
        """The parts."""
        return range(self.made(io).plan.parts)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The rows of a part, and the tables."""
        return _SMALL + _COPIES * ROW_BYTES * self.portions(io).rows_below(self.shuffle(io).top, unit)

    def execute(self, unit: int, io: IO) -> None:
        """Write one part."""
        made = self.made(io)
        rows = faces.summed(self.portions(io).below(self.shuffle(io).top, unit))
        io.put(_sums(made, unit), columns.pack(faces.once(rows)))
        touch = faces.contacts(rows, made.plan.measure, made.plan.bounds.lo)
        for what, table in zip(TABLES, (touch, faces.surfaces(rows)), strict=True):
            io.put(f"{made.home}/{part_name(what, unit)}", parquet_tables.write(table))
        low = touch["segment"] < touch["partner"]
        edges = ~faces.touching(rows) & (rows["segment"] < rows["partner"])
        counts = {
            "contacts": int(low.sum()),
            "segments": len(np.unique(rows["segment"])),
            "area": int(touch["area"][low].sum()),
            "face_area": int(touch["face_area"][low].sum()),
            "edges_or_corners_only": int(edges.sum()),
        }
        io.put_json(f"{made.url}/counts/{unit}.json", counts)
        io.note(**counts)

    def finish(self, io: IO) -> None:
        """Let the version be found: what it is made of, and how much it has."""
        made = self.made(io)
        found = [io.get_json(f"{made.url}/counts/{part}.json") or {} for part in range(made.plan.parts)]
        if not all(found):
            raise DataError(f"{made.url}/counts: some are missing; {made.again}")
        plan = {name: value for name, value in made.plan.to_json().items() if name != "cell"}
        totals = {name: sum(one[name] for one in found) for name in found[0]}
        io.put_json(
            f"{made.home}/manifest.json", {"version": self.tag, **plan, **totals, "flat": made.plan.measure.flat}
        )

    def said(self, io: IO) -> str:
        """How much there is."""
        raw: Any = io.get_json(f"{self.made(io).home}/manifest.json")
        pairs, segments = words.count(raw["contacts"], "pair"), words.count(raw["segments"], "segment")
        return (
            f"contacts {self.tag}: {pairs} of {segments} touch over {raw['area'] / 1e6:,.2f} um^2; "
            f"{raw['edges_or_corners_only']:,} more meet at edges or corners alone"
        )

    def spent(self, io: IO) -> tuple[str, ...]:
        """All that the steps told each other."""
        return (self.made(io).url,)


@dataclass(frozen=True, kw_only=True)
class Contacts(Deciding, Chain, name="graph contacts"):
    """Measure which segments touch, over what area and where; the tables join those of `graph build` by segment.

    With --remap the segments are renamed; with --base, too, the counts are those of another version: proofreading needs
    no voxel again. Voxels of 0 and the border of the volume are no segment.
    """

    example = "./seg ./graph -p 4"

    def steps(self, io: IO) -> Iterator[Stage]:
        """A file of labels in parts, cells, the levels of the shuffle, parts."""
        if self.remap is not None and self.remap.endswith(remaps.SUFFIXES):
            yield self.step(Rename)
        yield self.step(Touch)
        for level in range(1, self.shuffle(io).top):
            yield self.step(Tally, level=level)
        yield self.step(Areas)


def _most(cell: Box) -> int:
    """The most pairs that a cell may have."""
    return _LEAST_PAIRS + cell.voxels // _VOXELS_PER_PAIR


def _sums(made: Version, part: int) -> str:
    """What other versions are made of: the rows of all pairs whose lower segment, or only one, is in a part."""
    return f"{made.home}/sums/part-{part}"
