"""Labels of a layer through a table: proofread objects, or what is kept of a segmentation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from igneous_ng.deriving import Deriving
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import remaps
from igneous_ng.formats.info import SEGMENTATION, Info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.labelled import unsigned
from igneous_ng.native.labels import count
from igneous_ng.native.translate import translate
from igneous_ng.renaming import Renaming
from igneous_ng.stage import Chain, LayerUrl, Stage, arg, opt

_SMALL = 4_000_000  # bytes that lists of the labels of a cell may take at any rate
_COPIES = 4  # of a part of the table


@dataclass(frozen=True, kw_only=True)
class Table(Stage, name="segment table"):
    """Put a table of labels in parts, for `segment apply`; `segment remap` does both.

    The file has each label once: .json is an object of label to label, .csv two columns, .npz the arrays old and new,
    .npy one array [n, 2]. Rows are not followed one after the other: if a becomes b and b becomes c, a is b.
    """

    example = "corrections.csv ./corrected"

    table: LayerUrl = arg("File that says what labels become: .json, .csv, .npz or .npy.")
    layer: LayerUrl = arg("Layer to create; the parts are kept in its folder remap.")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the parts."""
        return (parts_of(self.layer),)

    def prepare(self, io: IO) -> None:
        """Refuse what is no table before anything is written."""
        self._read(io)

    def units(self, io: IO) -> range:
        """The table."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The file, and its rows."""
        data = io.peek(self.table)
        return 0 if data is None else remaps.held_bytes(data, self.table)

    def execute(self, unit: int, io: IO) -> None:
        """Write all parts."""
        old, new = remaps.parse(self._read(io), self.table)
        Renaming(io, parts_of(self.layer)).split(old, new)
        io.note(rows=len(old))

    def _read(self, io: IO) -> bytes:
        data = io.get(self.table)
        if data is None:
            raise DataError(f"{self.table}: this table of labels is missing; name a file that is there")
        return data


@dataclass(frozen=True, kw_only=True)
class Renamed(Deriving):
    """The fields of a layer whose labels are those of another through a table."""

    clear: bool = opt(False, "Labels that are not in the table become 0; by default they stay.")


@dataclass(frozen=True, kw_only=True)
class Apply(Renamed, name="segment apply"):
    """Write the labels of a layer through a table in parts, as `segment filter` and `segment table` make them.

    The new layer has the source's type of label, or the smallest one above that holds all of the table's.
    """

    example = "./seg ./cleaned ./seg/filters/default"

    table: LayerUrl = arg("Folder of the table.")

    def made(self, io: IO) -> Info:
        """The new layer, a segmentation of unsigned labels."""
        read = self.volume(io)
        if read.dtype.kind not in "ui" or read.channels != 1:
            raise SpecError(
                f"{self.name}: {self.source} holds {read.channels} channel(s) of {read.dtype.name}; give a layer of "
                "labels"
            )
        own = np.dtype(f"uint{8 * read.dtype.itemsize}")
        wide = np.promote_types(own, np.dtype(self._renaming(io).facts.dtype))
        return self.made_as(read, wide, 1, read.bounds, SEGMENTATION)

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """A cell as read and as written, its chunks, and a part of the table."""
        volume, target = self.volume(io), self.target(io)
        voxels = unit.voxels * 3 * (volume.voxel_bytes + target.voxel_bytes)
        masked = self.mask_bytes(io, unit, volume.resolution)
        return _SMALL + voxels + _COPIES * self._renaming(io).facts.bytes + masked

    def execute(self, unit: Box, io: IO) -> None:
        """Rename the labels of one cell."""
        volume, target = self.volume(io), self.target(io)
        labels = unsigned(self.read(io, unit), volume, unit)
        present = count(labels)[0].astype(np.uint64)
        old, new = self._renaming(io).of(present)
        out = np.empty((*unit.shape, 1), target.dtype, order="F")
        translate(labels, old, new, out[..., 0], not self.clear)
        io.note(labels=len(present), renamed=len(old))
        io.write(target, unit, out, self.compress)

    def spent(self, io: IO) -> tuple[str, ...]:
        """The parts, if they were made of a file for this layer."""
        return (self.table,) if self.table == parts_of(self.layer) else ()

    def _renaming(self, io: IO) -> Renaming:
        return Renaming(io, self.table)


@dataclass(frozen=True, kw_only=True)
class Remap(Renamed, Chain, name="segment remap"):
    """Write the labels of a layer through a table: from a file, or from a folder that `segment filter` made.

    The file has each label once: .json is an object of label to label, .csv two columns, .npz the arrays old and new,
    .npy one array [n, 2]; tables of millions of rows are npz. Rows are not followed one after the other: if a becomes
    b and b becomes c, a is b. To become 0 is to be dropped.
    """

    example = "./seg ./corrected corrections.csv"

    table: LayerUrl = arg("File (.json, .csv, .npz, .npy) or folder that says what labels become.")

    def steps(self, io: IO) -> Iterator[Stage]:
        """Parts of a file, then the layer."""
        if not self.table.endswith(remaps.SUFFIXES):
            yield self.step(Apply)
            return
        yield self.step(Table)
        fields: dict[str, Any] = {**vars(self), "table": parts_of(self.layer)}
        yield Apply(**fields)


def parts_of(layer: str) -> str:
    """Where the parts of a file are kept for a layer."""
    return f"{layer}/remap"
