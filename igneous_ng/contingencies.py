"""Which labels of two layers overlap, in the whole volume: a table in parts, by the hash of the first label.

It is made by the shuffle that counts labels are made by (`census`, `portions`), each part of a table being whole: all
pairs of a label lie in one part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.census import Shuffle
from igneous_ng.formats.fragments import bucket_of
from igneous_ng.io import IO
from igneous_ng.kernels import contingency
from igneous_ng.kernels.contingency import ROW, Table
from igneous_ng.shuffled_rows import Portions

Array = npt.NDArray[Any]
_COPIES = 6  # of the pairs held at once: as read, together, sorted, summed, packed


@dataclass(frozen=True)
class Contingency:
    """The pairs that are kept in the folder ``url``."""

    io: IO
    url: str
    shuffle: Shuffle

    @property
    def parts(self) -> int:
        """Parts of the table."""
        return self._files.parts

    def store(self, level: int, unit: int, table: Table) -> None:
        """Write what a task counted."""
        self._files.store(level, unit, table["one"], {name: table[name] for name in contingency.TYPES})
        self.io.note(pairs=len(table["one"]))

    def merge(self, level: int, unit: int) -> None:
        """Add up what the level below found of one part of the labels."""
        self.store(level, unit, contingency.summed(self._files.below(level, unit)))

    def merge_bytes(self, level: int, unit: int) -> int:
        """The most bytes that :meth:`merge` holds."""
        return _COPIES * ROW * self._files.rows_below(level, unit)

    def part(self, number: int) -> Table:
        """A part of the table of the whole volume."""
        return self._files.part(number)

    def pairs(self, number: int) -> int:
        """Pairs of a part."""
        return self._files.rows(number)

    def each(self, labels: Array, look: Callable[[Table, Array], None]) -> None:
        """Call ``look`` with each part that has some of ``labels``, and which of these."""
        home = bucket_of(labels, self.parts)
        for number in np.unique(home).tolist():
            look(self.part(number), np.flatnonzero(home == number))

    @property
    def _files(self) -> Portions:
        return Portions(self.io, self.url, self.shuffle, "overlaps", "evaluate again, from the first step on")
