"""Segments under the rows of an annotation table."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import words
from igneous_ng.annotation_lookups import Lookup
from igneous_ng.annotation_tables import Table
from igneous_ng.desks import agree
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import remaps
from igneous_ng.formats.info import SEGMENTATION, chunk_box
from igneous_ng.formats.sealed import arrow
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.labelled import unsigned
from igneous_ng.renaming import Renaming
from igneous_ng.stage import Layer, LayerUrl, Stage, arg, opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_SMALL = 48_000_000  # bytes that libraries, pyarrow above all, and lists take at any rate
_PER_ROW = 400  # bytes, while the rows of a block are found and written
_COPIES = 4  # of a chunk, as stored, decoded, as labels of 64 bits


@dataclass(frozen=True, kw_only=True)
class Look(Stage, name="annotate lookup"):
    """Look up in which segments the rows of an annotation table lie, for one version of both.

    The rows of TABLE that lived in VERSION get the label of LAYER at their place, and what that becomes by a table of
    labels, as after proofreading. A row outside of the layer gets 0. The result is in lookups/DIR of the table, a Parquet
    file for each block, and `annotate table read TABLE --lookup DIR` shows it beside the rows.
    """

    table: LayerUrl = arg("Annotation table.")
    layer: LayerUrl = arg("Segmentation.")
    version: int = arg("Version of the table whose rows are looked up.")
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
        if self.version < 0:
            raise SpecError(f"{self.name}.version: {self.version}; versions are numbers from 0 on")

    def home(self) -> str:
        """The table has the lookup."""
        return self.table

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the lookup."""
        return (self._lookup(io).url,)

    def prepare(self, io: IO) -> None:
        """Write which rows lie in which block."""
        arrow()
        volume, table, lookup = self._volume(io), Table(self.table, io), self._lookup(io)
        rows = table.read(self.version)
        voxels = np.floor(table.schema.nm(rows, self.at) / volume.resolution)
        inside = ((voxels >= volume.bounds.lo) & (voxels < volume.bounds.hi)).all(axis=1)
        ids, voxels = rows["id"][inside], voxels[inside].astype(np.int64)
        places, which = np.unique((voxels - volume.bounds.lo) // self.block, axis=0, return_inverse=True)
        plan = {**self._about(io), "rows": len(inside), "outside": int((~inside).sum()), "blocks": places.tolist()}
        agree(io, f"{lookup.url}/plan.json", plan, "rows were looked up", "name another --dir")
        for number, at in enumerate(places):
            own = which.ravel() == number
            lookup.put("points", vec(at), {"id": ids[own], "voxel": voxels[own]})

    def units(self, io: IO) -> range:
        """The blocks that have rows."""
        return range(len(self._lookup(io).blocks()))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A chunk, the rows of a block, and the table of labels."""
        lookup, volume = self._lookup(io), self._volume(io)
        rows = lookup.size("points", lookup.blocks()[unit]) // 32
        chunk = Box.sized((0, 0, 0), volume.chunk).voxels * (volume.voxel_bytes + 8)
        return _SMALL + rows * _PER_ROW + _COPIES * chunk + self._remap_bytes(io)

    def execute(self, unit: int, io: IO) -> None:
        """Look up the rows of one block, chunk by chunk."""
        lookup = self._lookup(io)
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
        self._lookup(io).finish(self._about(io))

    def said(self, io: IO) -> str:
        """How many rows there were."""
        plan = io.get_json(f"{self._lookup(io).url}/plan.json")
        return f"{words.count(plan['rows'], 'row')} looked up, {plan['outside']:,} of them outside of the layer"

    def _labels(self, io: IO, voxels: Array) -> Array:
        """The label of each of ``voxels``; each chunk is read once."""
        volume = self._volume(io)
        found = np.zeros(len(voxels), np.uint64)
        cells = (voxels - volume.bounds.lo) // volume.chunk
        chunks, which = np.unique(cells, axis=0, return_inverse=True)
        for number, cell in enumerate(chunks):
            own = np.flatnonzero(which.ravel() == number)
            box = chunk_box(volume.scale, vec(cell))
            labels = unsigned(io.read(volume, box), volume, box)[..., 0]
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

    def _about(self, io: IO) -> dict[str, Any]:
        return {"table": self.table, "version": self.version, "layer": self.layer, "mip": self.mip, "at": self.at,
                "remap": self.remap, "block": list(self.block)}  # fmt: skip

    def _volume(self, io: IO) -> Volume:
        volume = io.volume(self.layer, self.mip, self.fill_missing)
        if volume.info.kind != SEGMENTATION or volume.channels != 1:
            raise SpecError(f"{self.name}: {self.layer} is of the type {volume.info.kind}; name a segmentation")
        return volume

    def _lookup(self, io: IO) -> Lookup:
        return Lookup(io, self.table, self.dir)
