"""Points and meshes carried from sections to the aligned volume, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import folders, mapping, words
from igneous_ng.alignment import Alignment
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import mesh as legacy
from igneous_ng.formats import multires, point_tables
from igneous_ng.formats.point_tables import Table
from igneous_ng.io import IO
from igneous_ng.mapping import Stack
from igneous_ng.meshes import Folder, coded, part_of
from igneous_ng.stage import LayerUrl, Stage, arg, opt

Array = npt.NDArray[Any]
_BATCH = 1 << 18  # points that are moved at once
_POINT = 1000  # bytes of each of them meanwhile
_TEXT = 40  # times its size is what a table of text takes
_NODES = 24  # bytes of a node of a field while it is read
_PARTS = 64  # tasks in which a folder is gone through: each lists it
_OBJECT = 1_000_000_000  # bytes of a mesh that a task may meet; none tells before it is read


@dataclass(frozen=True, kw_only=True)
class Moving(Stage):
    """The fields of a stage that carries things from sections to the volume, or back, and what they mean."""

    to: Literal["volume", "sections"] = opt("volume", "Which way: from sections to the volume, or back.")
    round: int = opt(-1, "Round whose maps are used, 0 being the rough ones; by default the last that was inverted.")

    def check(self) -> None:
        """Rounds are counted from 0."""
        super().check()
        if self.round < -1:
            raise SpecError(f"{self.name}: round {self.round}; rounds are counted from 0, which is the rough maps")

    def steps(self, io: IO) -> Iterator[Stage]:
        """Itself, of a round that is named: a later one changes nothing."""
        yield replace(self, round=self.stack(io).number)

    def stack(self, io: IO) -> Stack:
        """The maps that are used."""
        found = Alignment.open(io, self.home())
        return Stack(io, found, mapping.last_round(io, found) if self.round < 0 else self.round)

    def nodes_bytes(self, io: IO) -> int:
        """The most that the field of a section takes."""
        stack = self.stack(io)
        if not stack.number:
            return 0
        x, y, _ = stack.alignment.round(io, stack.number).box.shape
        return x * y * 2 * _NODES


@dataclass(frozen=True, kw_only=True)
class AlignPoints(Moving, name="align points"):
    """Carry a table of points to the aligned volume, or back to the sections.

    A point between two sections moves as both say, each by how near it is. Points of sections that the volume does
    not show become nan, and are counted. Columns other than x, y and z stay as they are.
    """

    example = "./alignment synapses.csv moved.csv --to volume"

    alignment: LayerUrl = arg("Folder of the alignment.")
    file: LayerUrl = arg("Table: .csv whose first line names the columns, x, y and z among them, or .npy of [n, 3].")
    out: LayerUrl = arg("Table to write, of the same format.")
    unit: Literal["voxels", "nm"] = opt(
        "voxels", "Unit: voxels of mip 0, whose centres are whole numbers, or nm, in which they are half a voxel more."
    )

    def check(self) -> None:
        """A table is not written over the one that is read."""
        super().check()
        if self.file == self.out:
            raise SpecError(f"{self.name}: {self.out} is read; name another file to write")

    def home(self) -> str:
        """Records lie with the alignment."""
        return self.alignment

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The alignment and the table."""
        return (self.alignment, self.file)

    def places(self, io: IO) -> tuple[str, ...]:
        """The table that is written."""
        return (self.out,)

    def prepare(self, io: IO) -> None:
        """Refuse a table that is not there, and two of different formats."""
        ends = [one.rpartition(".")[2] for one in (self.file, self.out)]
        if ends[0] not in ("csv", "npy") or ends[0] != ends[1]:
            raise SpecError(f"{self.name}: {self.file} and {self.out}; give two files, both .csv or both .npy")
        if not io.exists(self.file):
            raise DataError(f"{self.file}: there is no such table; check the path")

    def units(self, io: IO) -> Sequence[int]:
        """The table."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The table as text and numbers, what moves a batch of it, and the field of a section."""
        return (folders.size(self.file) or 0) * _TEXT + _BATCH * _POINT + self.nodes_bytes(io)

    def execute(self, unit: int, io: IO) -> None:
        """Carry the points, batch by batch."""
        table = point_tables.decode(io.get(self.file) or b"", self.file)
        stack, moved = self.stack(io), np.empty(table.points.shape)
        for low in range(0, len(moved), _BATCH):
            part = slice(low, low + _BATCH)
            moved[part] = self._moved(stack, table.points[part])
        io.put(self.out, point_tables.encode(Table(moved, table.rows)))
        io.note(points=len(moved), nowhere=_nowhere(moved))

    def said(self, io: IO) -> str:
        """How many there are, and how many are nowhere."""
        points = point_tables.decode(io.peek(self.out) or b"", self.out).points
        lost = _nowhere(points)
        more = f"; {words.count(lost, 'point')} of sections that are not shown became nan" if lost else ""
        return f"{words.count(len(points), 'point')} carried to the {self.to}{more}"

    def _moved(self, stack: Stack, points: Array) -> Array:
        return stack.moved_nm(points, self.to) if self.unit == "nm" else stack.moved(points, self.to)


@dataclass(frozen=True, kw_only=True)
class AlignMeshes(Moving, name="align meshes"):
    """Carry meshes to the aligned volume, or back to the sections.

    Vertices between two sections move as both say, each by how near it is; at sections that are not shown as the
    nearest that is says. Meshes are those of one folder, with or without levels of detail, in files of their own.
    """

    example = "./alignment ./seg/mesh ./aligned/mesh --to volume"

    alignment: LayerUrl = arg("Folder of the alignment.")
    meshes: LayerUrl = arg("Folder of the meshes.")
    out: LayerUrl = arg("Folder to write to.")

    def check(self) -> None:
        """Meshes are not written over those that are read."""
        super().check()
        if self.meshes == self.out:
            raise SpecError(f"{self.name}: {self.out} is read; name another folder to write to")

    def home(self) -> str:
        """Records lie with the alignment."""
        return self.alignment

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the new meshes."""
        return (self.out,)

    def prepare(self, io: IO) -> None:
        """Refuse shards, and a folder that holds meshes of another format."""
        source = Folder.open(io, self.meshes)
        if source.spec is not None:
            raise SpecError(f"{self.meshes}: these meshes are in shards; merge them with --format multires first")
        found = io.get_json(f"{self.out}/info")
        if found is not None and found != self._info(source):
            raise SpecError(f"{self.out} has meshes of another format; remove them, or name another folder")

    def units(self, io: IO) -> Sequence[int]:
        """Parts of the folder."""
        return range(_PARTS)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """One mesh, what moves a batch of its vertices, and the field of a section."""
        return _OBJECT + _BATCH * _POINT + self.nodes_bytes(io)

    def execute(self, unit: int, io: IO) -> None:
        """Carry the meshes of one part."""
        source, stack = Folder.open(io, self.meshes), self.stack(io)
        labels = [label for label in source.labels() if part_of(str(label), _PARTS) == unit]
        for label in labels:
            if source.several:
                self._levels(io, source, stack, label)
                continue
            vertices, faces = source.read(label) or (np.zeros((0, 3)), np.zeros((0, 3), np.uint32))
            io.put(
                f"{self.out}/{legacy.fragment_name(label)}", legacy.encode(self._moved(stack, vertices), faces), "gzip"
            )
            io.put(f"{self.out}/{legacy.manifest_name(label)}", legacy.manifest(label))
        io.note(meshes=len(labels))

    def finish(self, io: IO) -> None:
        """Show the meshes."""
        io.put_json(f"{self.out}/info", self._info(Folder.open(io, self.meshes)))

    def _levels(self, io: IO, source: Folder, stack: Stack, label: int) -> None:
        """Carry a mesh of several levels of detail, each by itself."""
        found = source.levels(label)
        if found is None:
            raise DataError(f"{source.url}: label {label} has a manifest and no data; merge it again")
        scales, chunk = found[0].scales, found[0].chunk
        made = []
        for level in range(len(scales)):
            vertices, faces = source.decoded(label, found, level)
            made.append((self._moved(stack, vertices), faces))
        manifest, data = coded(made, scales, chunk)
        io.put(f"{self.out}/{multires.data_name(label)}", data)
        io.put(f"{self.out}/{multires.manifest_name(label)}", manifest)

    def _moved(self, stack: Stack, vertices: Array) -> Array:
        found = np.empty(vertices.shape)
        for low in range(0, len(found), _BATCH):
            part = slice(low, low + _BATCH)
            found[part] = stack.moved_nm(vertices[part], self.to, nearest=True)
        return found

    def _info(self, source: Folder) -> dict[str, Any]:
        """Of the new folder: vertices are in nm already."""
        mip = int(source.info.get("mip", 0))
        return multires.info(mip, None) if source.several else legacy.info(mip)


def _nowhere(points: Array) -> int:
    return int(np.isnan(points[:, 0]).sum())
