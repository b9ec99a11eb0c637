"""Points of a volume in the frame of another that it is brought to, or the other way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from igneous_ng.coregistration import Coregistration, Through
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import points
from igneous_ng.io import IO
from igneous_ng.stage import LayerUrl, Stage, arg, opt

_BASE = 60_000_000
_LINE = 1_500  # bytes of each point while it is read, moved and written
_NODE = 200  # bytes of each node of the field, if all are read
_LINE_LENGTH = 8  # bytes of a line at least


@dataclass(frozen=True, kw_only=True)
class Points(Stage, name="coregister points"):
    """Bring the points of a table from one volume to the other, by the map of a round.

    Tables have the columns x, y, z in nm, and perhaps label and type, which are kept. A point of MOVING at which the
    field folds, so that it lies nowhere, becomes nan.
    """

    example = "./to-light synapses.csv moved.csv --to fixed"

    folder: LayerUrl = arg("Folder of the two volumes.")
    file: LayerUrl = arg("Table of points.")
    out: LayerUrl = arg("Table to write.")
    to: Literal["fixed", "moving"] = opt(
        "fixed", "The volume in whose frame they are wanted; they come from the other."
    )
    round: int = opt(2, "The round whose map is applied; 0 is the first guess.")

    def check(self) -> None:
        """What is read stays as it is."""
        if self.file == self.out:
            raise SpecError(f"coregister points: {self.out} is the table that is read; name another file")
        if self.round < 0:
            raise SpecError(f"coregister points.round: {self.round}; rounds are counted from 1, 0 is the first guess")

    def home(self) -> str:
        """The folder keeps the records."""
        return self.folder

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The folder alone is a layer."""
        return (self.folder,)

    def places(self, io: IO) -> tuple[str, ...]:
        """The new table."""
        return (self.out,)

    def prepare(self, io: IO) -> None:
        """The table and the map must be there."""
        self._table(io)
        Coregistration.open(io, self.folder).affine(io, self.round)

    def units(self, io: IO) -> Sequence[int]:
        """One."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The table, and the nodes of the field around its points: all, at most."""
        known, size = Coregistration.open(io, self.folder), len(io.store.get(self.file) or b"")
        nodes = known.round(io, self.round).box.voxels if self.round else 0
        return _BASE + size // _LINE_LENGTH * _LINE + nodes * _NODE

    def execute(self, unit: int, io: IO) -> None:
        """Bring all of them."""
        table = self._table(io)
        through = Through(io, Coregistration.open(io, self.folder), self.round)
        if len(table):
            at = table["at"].copy()
            table["at"] = through.fixed(at) if self.to == "fixed" else through.moving(at)
        io.put(self.out, points.encode(table))
        io.note(points=len(table), nowhere=int(np.isnan(table["at"]).any(axis=1).sum()))

    def _table(self, io: IO) -> points.Array:
        data = io.get(self.file)
        if data is None:
            raise DataError(f"{self.file}: there is no such file; give a table with the columns x, y, z")
        return points.parse(data, self.file)
