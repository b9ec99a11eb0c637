"""A connectome graph from a table of synapses: cells of the volume, a shuffle by segments, sorted parts, a manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import building
from igneous_ng.building import FATES, SIDES
from igneous_ng.connectome import WAYS, Plan, Version, cell_name, column_name, flat, part_name
from igneous_ng.desks import agree
from igneous_ng.errors import SpecError
from igneous_ng.figures import Figure
from igneous_ng.formats import numpy_columns, parquet_tables, remaps
from igneous_ng.formats.arrow import arrow
from igneous_ng.geometry import Box
from igneous_ng.graph_versions import check_date
from igneous_ng.io import IO
from igneous_ng.kernels import edges
from igneous_ng.kernels.edges import ROW_BYTES, Side
from igneous_ng.renaming import Renaming
from igneous_ng.stage import Chain, Layer, LayerUrl, Stage, arg, opt
from igneous_ng.store import digest
from igneous_ng.synapses import AUTAPSE, COLUMNS, Frame, Synapses, empty

Array = npt.NDArray[Any]
_SMALL = 64_000_000  # bytes that libraries and lists take at any rate
_COPIES = 6  # of rows held at once: as read, together, sorted, packed
_MOST_PARTS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Of(building.Versioned):
    """The fields that say which version of which graph is meant."""

    def made(self, io: IO) -> Version:
        """The version."""
        return Version(io, self.graph, self.tag)


@dataclass(frozen=True, kw_only=True)
class From(Stage):
    """The field that says which table is meant."""

    table: LayerUrl = arg("Table of synapses, by `synapse assign` or `synapse import`.")


@dataclass(frozen=True, kw_only=True)
class Deciding(Of, From):
    """The fields that say what a version is made of."""

    remap: Layer | None = opt(None, "What segments become: a file (.json, .csv, .npz, .npy) or folder of labels.")
    min_confidence: int = opt(0, "Leave out synapses whose confidence, 0 to 255, is below this.")
    min_voxels: int = opt(0, "Leave out synapses of fewer voxels.")
    roi: Box | None = opt(None, "Only synapses whose middle lies here, in voxels of the table; by default all.")
    date: str = opt("", "Day of the version, such as 2026-07-01: the last one is what readers take to be the newest.")
    cell: int = opt(2048, "Voxels along each side of a task and file of places, a power of two, at least a block.")
    parts: int = opt(16, "Files by segment, a power of two; one for each million synapses is good.")

    def check(self) -> None:
        """Sizes are powers of two, and dates are dates."""
        super().check()
        for name, value in (("cell", self.cell), ("parts", self.parts)):
            if value < 1 or value & value - 1:
                raise SpecError(f"{self.name}.{name}: {value}; give a power of two")
        if self.parts > _MOST_PARTS:
            raise SpecError(f"{self.name}.parts: {self.parts}; give at most {_MOST_PARTS}")
        if not 0 <= self.min_confidence <= 255 or self.min_voxels < 0:
            raise SpecError(
                f"{self.name}: a confidence of at least {self.min_confidence} and {self.min_voxels} voxels; give 0 to "
                "255, and 0 or more"
            )
        check_date(f"{self.name}.date", self.date)

    def asked(self, io: IO) -> Plan:
        """The plan; SpecError or DataError where there is nothing to do it with."""
        frame = Synapses(io, self.table).frame
        if self.roi is not None and not (self.roi & frame.bounds).voxels:
            raise SpecError(f"{self.name}.roi: {self.roi} has no part of the table, {frame.bounds}")
        own = ("table", "date", "remap", "min_confidence", "min_voxels", "roi", "parts")
        theirs = ("bounds", "resolution", "segmentation", "mip")
        fields = {name: getattr(self, name) for name in own} | {name: getattr(frame, name) for name in theirs}
        return Plan(cell=max(self.cell, frame.block), **fields)

    def prepare(self, io: IO) -> None:
        """Write the plan, or accept the same; refuse to begin without what writes the tables."""
        arrow()
        building.check_remap(io, self.remap)
        otherwise = "this version was made"
        agree(io, f"{self.made(io).home}/plan.json", self.asked(io).to_json(), otherwise, "give another --tag")


@dataclass(frozen=True, kw_only=True)
class Remap(Deciding, name="graph remap"):
    """Put a file that says what segments become in parts, for `graph take`; `graph build` runs it where it is needed.

    The file has each label once: .json is an object of label to label, .csv two columns, .npz the arrays old and new,
    .npy one array [n, 2]. Segments that it does not name stay; to become 0 is to be left out.
    """

    example = "./synapses ./graph --remap ./corrections.csv"

    def units(self, io: IO) -> range:
        """The file."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The file, and its rows."""
        return building.labels_bytes(io, self.remap)

    def prepare(self, io: IO) -> None:
        """Refuse what is no table before anything is written."""
        self._read(io)
        super().prepare(io)

    def execute(self, unit: int, io: IO) -> None:
        """Write all parts."""
        old, new = self._read(io)
        Renaming(io, f"{self.made(io).url}/remap").split(old, new)
        io.note(rows=len(old))

    def _read(self, io: IO) -> tuple[Array, Array]:
        return building.labels(io, self.remap, f"{self.name}.remap")


@dataclass(frozen=True, kw_only=True)
class Take(Deciding, name="graph take"):
    """Take the synapses of each cell that are in the graph, under the segments' present names.

    Writes the table of the cell, and its rows by the hash of either segment.
    """

    example = "./synapses ./graph"
    quality = MappingProxyType(
        {
            "synapses": Figure("synapses", counted=True),
            "confidence": Figure("how sure their partners are, of 255", of="synapses"),
        }
    )

    def units(self, io: IO) -> range:
        """The numbers of the cells."""
        return range(len(self.asked(io).grid))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The rows of a cell, and a part of the table of labels."""
        plan, table = self.asked(io), Synapses(io, self.table)
        rows = sum(
            table.size("rows", table.frame.grid.at(block)) for block in building.blocks(table.frame, plan.grid[unit])
        )
        return _SMALL + _COPIES * rows + building.renaming_bytes(io, self.made(io), self.remap)

    def execute(self, unit: int, io: IO) -> None:
        """Take one cell."""
        made = self.made(io)
        plan, box = made.plan, made.plan.grid[unit]
        frame, rows = self._rows(io, box)
        told = digest(b"".join(np.ascontiguousarray(rows[name]).data.tobytes() for name in COLUMNS))
        rows |= building.renamed(building.renaming(io, made, self.remap), rows)
        fate = building.fates(rows, plan)
        kept = {name: column[fate == 0] for name, column in rows.items() if name != "merged_into"}
        io.put(f"{made.home}/{cell_name(plan.grid.at(box))}", parquet_tables.write(flat(kept), parquet_tables.FINE))
        for side, last in zip(SIDES, (1, 0), strict=True):
            building.portions_of(made, side).store(0, unit, *building.narrow(rows, fate <= last, side))
        counts = dict(zip(FATES, np.bincount(fate, minlength=len(FATES)).tolist(), strict=True))
        io.put_json(f"{made.url}/sums/0/{unit}.json", {**counts, "reach": building.reach(frame, kept), "digest": told})
        size = box.voxels * float(np.prod(np.array(plan.resolution) / 1000))
        sure = float(np.mean(kept["confidence"])) if counts["synapses"] else 0.0
        io.note_place(box, plan.resolution)
        io.note(**counts, density=round(counts["synapses"] / size, 6), confidence=round(sure, 3))

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        self.made(io).done("shuffle-0")

    def _rows(self, io: IO, box: Box) -> tuple[Frame, dict[str, Array]]:
        """All rows whose clefts begin in a cell, by id."""
        table = Synapses(io, self.table)
        found = [table.rows(table.frame.grid.at(block)) for block in building.blocks(table.frame, box)]
        rows = {name: np.concatenate([one[name] for one in [empty(), *found]]) for name in COLUMNS}
        order = np.argsort(rows["id"], kind="stable")
        return table.frame, {name: column[order] for name, column in rows.items()}


@dataclass(frozen=True, kw_only=True)
class Shuffling(Of, name="graph shuffle"):
    """Bring together what 64 groups of cells have of one part of the segments, one level after the other."""

    example = "./graph --level 1"

    level: int = opt(1, "Level of the shuffle; 1 reads what `graph take` left.")

    def prepare(self, io: IO) -> None:
        """Refuse to begin before the level below is finished."""
        made = self.made(io)
        last = building.shuffle_of(made.plan).top - 1
        if not 1 <= self.level <= last:
            raise SpecError(f"{self.name}.level: {self.level}; this version has levels 1 to {last}")
        made.need(f"shuffle-{self.level - 1}", f"{self.name} {self.graph} --level {self.level - 1}")

    def units(self, io: IO) -> range:
        """Each part of each group, for either side."""
        return range(len(SIDES) * building.shuffle_of(self.made(io).plan).units(self.level))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The rows of a part."""
        side, which = self._of(unit, io)
        return _SMALL + _COPIES * ROW_BYTES * building.portions_of(self.made(io), side).rows_below(self.level, which)

    def execute(self, unit: int, io: IO) -> None:
        """Bring together one part; the first also adds up the counts of its group."""
        made, (side, which) = self.made(io), self._of(unit, io)
        portions = building.portions_of(made, side)
        rows = building.together(portions, self.level, which)
        portions.store(self.level, which, rows[side], rows)
        io.note(rows=len(rows["id"]))
        group, part = portions.shuffle.of(self.level, which)
        if side == SIDES[0] and part == 0:
            io.put_json(f"{made.url}/sums/{self.level}/{group}.json", building.total(made, self.level, group))

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        self.made(io).done(f"shuffle-{self.level}")

    def _of(self, unit: int, io: IO) -> tuple[Side, int]:
        side, which = divmod(unit, building.shuffle_of(self.made(io).plan).units(self.level))
        return SIDES[side], which


@dataclass(frozen=True, kw_only=True)
class Sort(Of, name="graph sort"):
    """Write the tables of each part of the segments: synapses, edges and nodes, and compressed sparse rows."""

    example = "./graph"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before the shuffle is finished."""
        made = self.made(io)
        last = building.shuffle_of(made.plan).top - 1
        made.need(f"shuffle-{last}", f"graph {'shuffle' if last else 'take'} ... {self.graph}")

    def units(self, io: IO) -> range:
        """The parts."""
        return range(self.made(io).plan.parts)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The rows of either side, one after the other, and the edges."""
        made = self.made(io)
        top = building.shuffle_of(made.plan).top
        rows = [building.portions_of(made, side).rows_below(top, unit) for side in SIDES]
        return _SMALL + ROW_BYTES * (_COPIES * max(rows) + sum(rows))

    def execute(self, unit: int, io: IO) -> None:
        """Write one part."""
        made = self.made(io)
        found: dict[str, dict[str, Array]] = {}
        for way, side in WAYS.items():
            rows = building.together(building.portions_of(made, side), building.shuffle_of(made.plan).top, unit)
            alone = (rows["flags"] & AUTAPSE) > 0
            if side == SIDES[0]:
                autapses = rows["pre"][alone]
            rows = edges.ordered({name: column[~alone] for name, column in rows.items()}, side)
            found[way] = edges.edges(rows, side)
            self._put(made, part_name(f"by_{side}", unit), rows)
            self._put(made, part_name(f"edges_{side}", unit), found[way])
            for name, column in edges.sparse(found[way], side).items():
                io.put(f"{made.home}/{column_name(way, unit, name)}", numpy_columns.pack(column))
        nodes = edges.nodes(found["out"], found["in"], autapses)
        self._put(made, part_name("nodes", unit), nodes)
        counts = {"edges": len(found["out"]["n"]), "nodes": len(nodes["segment"])}
        io.put_json(f"{made.url}/counts/{unit}.json", counts)
        io.note(**counts)

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        self.made(io).done("sort")

    def _put(self, made: Version, name: str, columns: dict[str, Array]) -> None:
        made.io.put(f"{made.home}/{name}", parquet_tables.write(columns))


@dataclass(frozen=True, kw_only=True)
class Publish(Of, name="graph publish"):
    """Write the manifest of a version, by which readers find it: what it is made of, and how much it has."""

    example = "./graph --tag 2026-01"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before all parts are there."""
        self.made(io).need("sort", f"graph sort {self.graph}")

    def units(self, io: IO) -> range:
        """One."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The counts of all parts, and a part of the table of labels."""
        made = self.made(io)
        renaming = building.renaming(io, made, made.plan.remap)
        return _SMALL + 1000 * made.plan.parts + (4 * renaming.facts.bytes if renaming else 0)

    def execute(self, unit: int, io: IO) -> None:
        """Write it."""
        made = self.made(io)
        plan, total = made.plan, building.total(made, building.shuffle_of(made.plan).top, 0)
        parts = [made.counts(f"counts/{part}") for part in range(plan.parts)]
        counts = {name: sum(part[name] for part in parts) for name in ("edges", "nodes")}
        left_out = {name: total.pop(name) for name in FATES[2:]}
        digests = {"table": total.pop("digest"), "remap": building.identity(building.renaming(io, made, plan.remap))}
        manifest = {"version": self.tag, **plan.to_json(), "digests": digests, **total, **counts, "left_out": left_out}
        io.put_json(f"{made.home}/manifest.json", manifest)
        io.note(synapses=total["synapses"], **counts)

    def said(self, io: IO) -> str:
        """How much there is."""
        found = io.get_json(f"{self.made(io).home}/manifest.json") or {}
        left = ", ".join(f"{count:,} {name}" for name, count in found["left_out"].items())
        return (
            f"version {self.tag}: {found['synapses']:,} synapses in {found['edges']:,} edges of {found['nodes']:,} "
            f"segments; {found['autapses']:,} autapses; left out: {left}"
        )

    def spent(self, io: IO) -> tuple[str, ...]:
        """All that the steps told each other."""
        return (self.made(io).url,)


@dataclass(frozen=True, kw_only=True)
class Build(Deciding, Chain, name="graph build"):
    """Build a version of the graph of a table of synapses: tables by segment, by partner and by place, and a manifest.

    With --remap the segments are renamed, by a table as `segment remap` takes, so that proofreading needs a version
    more and no detection. Rows without a partner, doubles and autapses are no edges; autapses are counted.
    """

    example = "./synapses ./graph --tag 2026-01"

    def steps(self, io: IO) -> Iterator[Stage]:
        """A file of labels in parts, cells, the levels of the shuffle, parts, the manifest."""
        if self.remap is not None and self.remap.endswith(remaps.SUFFIXES):
            yield self.step(Remap)
        yield self.step(Take)
        for level in range(1, building.shuffle_of(self.made(io).plan).top):
            yield self.step(Shuffling, level=level)
        yield self.step(Sort)
        yield self.step(Publish)
