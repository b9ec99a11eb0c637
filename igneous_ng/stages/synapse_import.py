"""Tables of synapses that others made, as ours: the file is read in parts, and its rows sorted by where they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.block_groups import coarse
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import synapse_tables
from igneous_ng.formats.synapse_tables import Columns, Reading
from igneous_ng.geometry import Box, Vec3f, vec
from igneous_ng.importing import ROW, Desk, Plan, Source
from igneous_ng.io import IO
from igneous_ng.kernels import locations
from igneous_ng.stage import Chain, Layer, LayerUrl, Stage, arg, opt
from igneous_ng.synapses import AUTAPSE, NO_POST, NO_PRE, Frame, Synapses, empty

Array = npt.NDArray[Any]
_SMALL = 64_000_000  # bytes of lists, at any rate
_BLOCK = 64  # voxels, the least


@dataclass(frozen=True, kw_only=True)
class Importing(Stage):
    """The fields that say what is read, and how."""

    source: LayerUrl = arg("File to read: Parquet, Feather, CSV, npz or JSON; the first two in parts.")
    layer: LayerUrl = arg("Folder of the table to create.")
    columns: tuple[str, ...] = opt(
        (), "Columns and what they say, such as pre=pre_pt_root_id or place=x/y/z; those of usual names are known."
    )
    keys: Literal["root", "supervoxel"] = opt("root", "Which labels partners are, of tables that have both.")
    unit: Literal["", "nm", "voxel"] = opt("", "Of places; by default as the names of columns have it, or voxel.")
    axes: Literal["", "xyz", "zyx"] = opt("", "Order of the numbers of a place; by default zyx of synful, or xyz.")
    resolution: Vec3f | None = opt(None, "Size of a voxel in nm; by default as the file tells.")
    bounds: Box | None = opt(None, "Voxels that the table covers; by default those between the outermost synapses.")
    block: int = opt(
        0, "Voxels along each side of a block of rows, a power of two; by default 64, or as 1,024 hold all."
    )
    sure: float | None = opt(None, "Score of full confidence; by default 1 of fractions, 255 of whole numbers.")
    neuron: int = opt(0, "Segment that the sites belong to, of a table whose column type tells pre or post.")
    nothing: tuple[int, ...] = opt((), "Labels that mean no segment beside 0, such as -2 of synful.")
    segmentation: Layer | None = opt(None, "Layer whose labels the partners are, for those who use the table.")
    mip: int = opt(0, "Level of the segmentation.")

    def check(self) -> None:
        """Columns are named, and numbers are real."""
        self._asked()
        if self.block < 0 or self.block & self.block - 1:
            raise SpecError(f"{self.name}.block: {self.block} voxels; give a power of two, or 0")
        if self.resolution is not None and min(self.resolution) <= 0:
            raise SpecError(f"{self.name}.resolution: {self.resolution}; voxels have a size")
        if self.sure is not None and self.sure <= 0:
            raise SpecError(f"{self.name}.sure: {self.sure:g}; give a positive number")
        if not 0 <= self.neuron < 1 << 64 or self.mip < 0:
            raise SpecError(f"{self.name}: neuron and mip are not negative, and labels are below 2**64")
        if self.source == self.layer:
            raise SpecError(f"{self.name}: {self.layer} is what is read; give another folder for the table")

    def home(self) -> str:
        """Records lie with the table."""
        return self.layer

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The file; the segmentation is named, not read."""
        return (self.source,)

    def reading(self, source: Source) -> Reading:
        """How rows are read; SpecError where the file cannot be read like that."""
        columns = synapse_tables.chosen(source.names, self._asked(), self.keys)
        unit, axes = synapse_tables.measured(columns, self.unit, self.axes)
        resolution = self.resolution or source.resolution
        if resolution is None:
            raise SpecError(f"{self.name}: {self.source} does not tell the size of a voxel; give --resolution in nm")
        return Reading(columns, axes, unit, resolution, self.sure, self.neuron, self.nothing)

    def _asked(self) -> dict[str, tuple[str, ...]]:
        found = {}
        for text in self.columns:
            role, equals, names = text.partition("=")
            if not equals or not names:
                raise SpecError(f"{self.name}.columns: {text!r}; write pre=NAME, or place=X/Y/Z")
            found[role.strip()] = tuple(name.strip() for name in names.split("/"))
        return found


@dataclass(frozen=True, kw_only=True)
class Read(Importing, name="synapse read"):
    """Read a table of synapses that others made, part by part: the first step of `synapse import`.

    Rows that are none - a place that is no number, or outside of the bounds, a label below 0 - are refused with their
    number.
    """

    example = "synapses.csv ./synapses --resolution 4,4,40"

    def prepare(self, io: IO) -> None:
        """Find where synapses are, unless that is said, and write the plan."""
        source = Source(io, self.source)
        reading = self.reading(source)
        bounds = self.bounds or _found(source, reading)
        frame = Frame(
            bounds=bounds,
            resolution=reading.resolution,
            block=self.block or coarse(bounds, _BLOCK).cell[0],
            segmentation=self.segmentation,
            mip=self.mip,
            made={"by": "synapse import", "source": self.source, "keys": self.keys,
                  "columns": {role: "/".join(names) for role, names in reading.columns.items()}},
        )  # fmt: skip
        Desk(io, self.layer).begin(Plan(frame, reading, len(source)))

    def units(self, io: IO) -> range:
        """The parts of the file."""
        return range(len(Source(io, self.source)))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The part, and its rows."""
        return _SMALL + 4 * Source(io, self.source).bytes(unit)

    def execute(self, unit: int, io: IO) -> None:
        """Read one part."""
        desk, source = Desk(io, self.layer), Source(io, self.source)
        frame = desk.plan.frame
        rows = source.rows(unit, desk.plan.reading)
        if rows:
            outside = ((rows["voxel"] < frame.bounds.lo) | (rows["voxel"] >= frame.bounds.hi)).any(axis=1)
            if outside.any():
                row = int(np.flatnonzero(outside)[0])
                raise source.outside(unit, row, frame, rows["voxel"][row])
        desk.store(unit, rows)
        io.note(rows=len(rows.get("pre", ())))

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        Desk(io, self.layer).done("read")


def _found(source: Source, reading: Reading) -> Box:
    """The voxels between the outermost synapses; one where there are none."""
    found: Box | None = None
    for part in range(len(source)):
        rows = source.rows(part, reading)
        if rows:
            box = Box(vec(rows["voxel"].min(axis=0)), vec(rows["voxel"].max(axis=0) + 1))
            found = box | found if found else box
    return found or Box((0, 0, 0), (1, 1, 1))


@dataclass(frozen=True, kw_only=True)
class Sort(Stage, name="synapse sort"):
    """Write the rows that `synapse read` found, block by block: the last step of `synapse import`.

    A row's id is the location of the voxel of its cleft; of several at one voxel, the first of the file comes first.
    """

    example = "./synapses"

    layer: LayerUrl = arg("Folder of the table, as `synapse read` was given.")

    def home(self) -> str:
        """Records lie with the table."""
        return self.layer

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The file of which rows are sorted."""
        return (str(self._plan(io).frame.made["source"]),)

    def prepare(self, io: IO) -> None:
        """Refuse to begin before all is read."""
        Desk(io, self.layer).need("read", f"synapse read ... {self.layer}")

    def units(self, io: IO) -> range:
        """The portions of the blocks."""
        return range(len(self._plan(io).portions))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The rows of a portion."""
        return _SMALL + ROW * sum(Desk(io, self.layer).rows_in(unit))

    def execute(self, unit: int, io: IO) -> None:
        """Sort one portion."""
        desk, table = Desk(io, self.layer), Synapses(io, self.layer)
        plan = desk.plan
        found = desk.portion(unit)
        rows = _rows(found, plan.frame) if found else empty()
        blocks = plan.frame.blocks_of(rows["id"]) if found else np.zeros((0, 3), np.int64)
        for at in plan.portions.blocks(unit):
            mine = (blocks == at).all(axis=1)
            table.write(at, {name: column[mine] for name, column in rows.items()})
        partial = int(((rows["flags"] & (NO_PRE | NO_POST)) > 0).sum())
        io.note(rows=len(rows["id"]), partial=partial, autapses=int(((rows["flags"] & AUTAPSE) > 0).sum()))

    def finish(self, io: IO) -> None:
        """Let the table be found."""
        Synapses(io, self.layer).finish(self._plan(io).frame)

    def spent(self, io: IO) -> tuple[str, ...]:
        """What the steps told each other."""
        return (Desk(io, self.layer).url,)

    def _plan(self, io: IO) -> Plan:
        return Desk(io, self.layer).plan


def _rows(found: Columns, frame: Frame) -> dict[str, Array]:
    """The rows of a table, ascending by id."""
    first = frame.ids(found["voxel"])
    order = np.argsort(first, kind="stable")
    first = first[order]
    starts = np.flatnonzero(np.append(True, first[1:] != first[:-1]))
    ranks = np.arange(len(first)) - np.repeat(starts, np.diff(np.append(starts, len(first))))
    if ranks.max() >= locations.RANKS:
        voxel = vec(found["voxel"][order][ranks.argmax()])
        raise DataError(f"more than {locations.RANKS} synapses are at voxel {voxel}; give smaller voxels: --resolution")
    rows = empty(len(first))
    for name in ("pre", "post", "place", "pre_place", "post_place", "voxels", "confidence"):
        rows[name] = found[name][order]
    rows["id"] = first + ranks.astype(np.uint64)
    rows["lo"], rows["hi"] = found["voxel"][order], found["voxel"][order] + 1
    pre, post = rows["pre"], rows["post"]
    rows["flags"] = NO_PRE * (pre == 0) + NO_POST * (post == 0) + AUTAPSE * ((pre == post) & (pre > 0))
    return rows


@dataclass(frozen=True, kw_only=True)
class SynapseImport(Importing, Chain, name="synapse import"):
    """Make a table of synapses of one that others made: `synapse read`, then `synapse sort`.

    Rows go by the voxel of the cleft, or of the middle between both sides where there is no place for it. A row
    without a segment on a side, 0, is kept and flagged; a place that is not told is that of the cleft. Whole numbers
    in voxels mean the middles of voxels. The file itself is not changed.
    """

    example = "synapses.csv ./synapses --resolution 4,4,40"

    def steps(self, io: IO) -> Iterator[Stage]:
        """Read, sort."""
        yield self.step(Read)
        yield self.step(Sort)
