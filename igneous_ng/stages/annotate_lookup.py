"""Segments under the rows of an annotation table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.annotation_lookups import Lookup
from igneous_ng.annotation_tables import Table
from igneous_ng.desks import agree
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import remaps
from igneous_ng.formats.arrow import arrow
from igneous_ng.formats.info import SEGMENTATION, chunk_box
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.labelled import unsigned
from igneous_ng.renaming import Renaming
from igneous_ng.stage import Chain, Layer, LayerUrl, Stage, arg, opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_SMALL = 48_000_000  # bytes that libraries, pyarrow above all, and lists take at any rate
_ROW = 32  # bytes of an id and a voxel
_PER_VALUE = 100  # bytes of a value of a row, text with them, while all versions are read
_PER_ROW = 400  # bytes, while the rows of a block are found and written
_COPIES = 4  # of a chunk, as stored, decoded, as labels of 64 bits


@dataclass(frozen=True, kw_only=True)
class Looking(Stage):
    """The fields that say what is looked up, and where."""

    table: LayerUrl = arg("Annotation table.")
    layer: LayerUrl = arg("Segmentation.")
    as_of: int = arg("Version of the table whose rows are looked up.")
    dir: str = opt("default", "Name of the lookup.")
    mip: int = opt(0, "Level to look in.")
    at: Literal["centre", "start", "end"] = opt("centre", "Where a line or box is looked up.")
    remap: Layer | None = opt(None, "Table of labels: a file, or a folder of `segment table`, `segment filter`.")
    block: Vec3 = opt((2048, 2048, 2048), "Voxels of one task.")
    fill_missing: bool = opt(False, "Read missing chunks as background.")

    def check(self) -> None:
        """Names and sizes are real."""
        super().check()
        if not self.dir or not self.dir.replace("-", "").replace("_", "").isalnum():
            raise SpecError(f"{self.name}.dir: {self.dir!r} names no folder; use letters, digits, - and _")
        if min(self.block) < 1:
            raise SpecError(f"{self.name}.block: {self.block}; each side must be at least 1 voxel")
        if self.as_of < 0:
            raise SpecError(f"{self.name}.as_of: {self.as_of}; versions are numbers from 0 on")

    def home(self) -> str:
        """The table has the lookup."""
        return self.table

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the lookup."""
        return (self.lookup(io).url,)

    def about(self) -> dict[str, Any]:
        """What the result is of."""
        return {"table": self.table, "version": self.as_of, "layer": self.layer, "mip": self.mip, "at": self.at,
                "remap": self.remap, "block": list(self.block)}  # fmt: skip

    def volume(self, io: IO) -> Volume:
        """The level that is looked in; SpecError where it holds no labels."""
        volume = io.volume(self.layer, self.mip, self.fill_missing)
        if volume.info.kind != SEGMENTATION or volume.channels != 1:
            raise SpecError(f"{self.name}: {self.layer} is of the type {volume.info.kind}; name a segmentation")
        return volume

    def lookup(self, io: IO) -> Lookup:
        """The folder of the result."""
        return Lookup(io, self.table, self.dir)


@dataclass(frozen=True, kw_only=True)
class Place(Looking, name="annotate place"):
    """Find out which rows of an annotation table lie in which block of a segmentation, for `annotate look`."""

    example = "./notes ./seg 3"

    def prepare(self, io: IO) -> None:
        """Refuse what cannot be looked up."""
        arrow()
        table = Table(self.table, io)
        table.history.at(self.as_of)
        table.schema.nm({name: np.zeros(0) for name in table.schema.places}, self.at)
        self.volume(io)

    def units(self, io: IO) -> range:
        """The table."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """All rows of all versions."""
        table = Table(self.table, io)
        values = (table.history.at(self.as_of).next_id - 1) * len(table.schema.types)
        return _SMALL + values * _PER_VALUE

    def execute(self, unit: int, io: IO) -> None:
        """Write the voxels of the rows of each block."""
        volume, table, lookup = self.volume(io), Table(self.table, io), self.lookup(io)
        rows = table.read(self.as_of)
        voxels = np.floor(table.schema.nm(rows, self.at) / volume.resolution)
        inside = np.all((voxels >= volume.bounds.lo) & (voxels < volume.bounds.hi), axis=1)
        ids, voxels = rows["id"][inside], voxels[inside].astype(np.int64)
        places, which = np.unique((voxels - volume.bounds.lo) // self.block, axis=0, return_inverse=True)
        if not len(ids):
            places = np.zeros((1, 3), np.int64)  # so that there is something to do
        agree(io, f"{lookup.url}/plan.json", {**self.about(), "blocks": places.tolist()}, "rows were looked up",
              "name another --dir")  # fmt: skip
        for number, at in enumerate(places):
            own = which.ravel() == number
            lookup.put("points", vec(at), {"id": ids[own], "voxel": voxels[own]})
        io.note(rows=len(inside), outside=int((~inside).sum()))

    def finish(self, io: IO) -> None:
        """Let them be looked up."""
        self.lookup(io).done("place")


@dataclass(frozen=True, kw_only=True)
class Look(Looking, name="annotate look"):
    """Look up the segments under rows that `annotate place` put in blocks; `annotate lookup` does both."""

    example = "./notes ./seg 3"

    def units(self, io: IO) -> range:
        """The blocks that have rows."""
        lookup = self.lookup(io)
        lookup.need("place", "annotate place")
        return range(len(lookup.blocks()))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A chunk, the rows of a block, and the table of labels."""
        lookup, volume = self.lookup(io), self.volume(io)
        rows = lookup.size("points", lookup.blocks()[unit]) // _ROW
        chunk = Box.sized((0, 0, 0), volume.chunk).voxels * (volume.voxel_bytes + 8)
        return _SMALL + rows * _PER_ROW + _COPIES * chunk + self._remap_bytes(io)

    def execute(self, unit: int, io: IO) -> None:
        """Look up the rows of one block, chunk by chunk."""
        lookup = self.lookup(io)
        at = lookup.blocks()[unit]
        points = lookup.read("points", at)
        labels = self._labels(io, points["voxel"])
        if self.remap is None:
            found = {"id": points["id"], "segment": labels}
        else:
            found = {"id": points["id"], "supervoxel": labels, "segment": self._renamed(io, labels)}
        lookup.keep(at, found)
        io.note(rows=len(labels), background=int((found["segment"] == 0).sum()))

    def finish(self, io: IO) -> None:
        """Say of what this is."""
        self.lookup(io).finish(self.about())

    def spent(self, io: IO) -> tuple[str, ...]:
        """Where the rows were."""
        return (f"{self.lookup(io).url}/points",)

    def _labels(self, io: IO, voxels: Array) -> Array:
        """The label of each of ``voxels``; each chunk is read once."""
        volume = self.volume(io)
        found = np.zeros(len(voxels), np.uint64)
        cells = (voxels - volume.bounds.lo) // volume.chunk
        chunks, which = np.unique(cells, axis=0, return_inverse=True)
        for number, cell in enumerate(chunks):
            own = np.flatnonzero(which.ravel() == number)
            box = chunk_box(volume.scale, vec(cell))
            labels = unsigned(io.read(volume, box), volume, box)
            found[own] = labels[tuple((voxels[own] - box.lo).T)]
        return found

    def _renamed(self, io: IO, labels: Array) -> Array:
        assert self.remap is not None
        every, which = np.unique(labels, return_inverse=True)
        if self.remap.endswith(remaps.SUFFIXES):
            old, new = remaps.parse(self._file(io), self.remap)
        else:
            old, new = Renaming(io, self.remap).of(every)
        became, here = every.copy(), np.isin(every, old)
        became[here] = new[np.searchsorted(old, every[here])]
        found: Array = became[which]
        return found

    def _remap_bytes(self, io: IO) -> int:
        if self.remap is None:
            return 0
        if not self.remap.endswith(remaps.SUFFIXES):
            return _COPIES * Renaming(io, self.remap).facts.bytes
        return remaps.held_bytes(io.peek(self.remap) or b"", self.remap)

    def _file(self, io: IO) -> bytes:
        assert self.remap is not None
        data = io.get(self.remap)
        if data is None:
            raise DataError(f"{self.remap}: this table of labels is missing; name a file that is there")
        return data


@dataclass(frozen=True, kw_only=True)
class LookUp(Looking, Chain, name="annotate lookup"):
    """Look up in which segments the rows of an annotation table lie, for one version of it.

    The rows of TABLE that lived in the version AS_OF get the label of LAYER at their place, and what that becomes by a
    table of labels, as after proofreading. A row outside of the layer gets 0. The result is in lookups/DIR of the
    table, a Parquet file for each block, and `annotate table read TABLE --lookup DIR` shows it beside the rows.
    """

    example = "./notes ./seg 3"

    def steps(self, io: IO) -> Iterator[Stage]:
        """Rows by block, then their segments."""
        yield self.step(Place)
        yield self.step(Look)
