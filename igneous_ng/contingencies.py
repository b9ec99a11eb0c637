"""Which labels of two layers overlap, in the whole volume: a table in parts, by the hash of the first label.

It is made by the shuffle that counts labels are made by (`census`), each part of a table being whole: all pairs of a
label lie in one part. A file holds where each portion begins that a task of the next level reads, how many pairs
each has, and the portions, as columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.census import Shuffle
from igneous_ng.errors import DataError
from igneous_ng.formats import columns
from igneous_ng.formats.fragments import bucket_of
from igneous_ng.io import IO
from igneous_ng.kernels import contingency
from igneous_ng.kernels.contingency import ROW, Table

Array = npt.NDArray[Any]
_WORD = 8  # bytes
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
        return 1 << self.shuffle.depth(self.shuffle.top)

    def store(self, level: int, unit: int, table: Table) -> None:
        """Write what a task counted."""
        portions, home = self.shuffle.portions(level), self.shuffle.homes(level, table["one"])
        chosen = [np.flatnonzero(home == portion) for portion in range(portions)]
        packed = [columns.pack({name: table[name][rows] for name in contingency.TYPES}) for rows in chosen]
        ends = itertools.accumulate(map(len, packed), initial=_WORD * (2 * portions + 1))
        head = np.array([*ends, *map(len, chosen)], "<u8")
        self.io.put(self._name(level, *self.shuffle.of(level, unit)), b"".join([head.tobytes(), *packed]))
        self.io.note(pairs=len(table["one"]))

    def merge(self, level: int, unit: int) -> None:
        """Add up what the level below found of one part of the labels."""
        self.store(level, unit, contingency.summed(self._read(*place) for place in self.shuffle.below(level, unit)))

    def merge_bytes(self, level: int, unit: int) -> int:
        """The most bytes that :meth:`merge` holds."""
        return _COPIES * ROW * sum(self._span(*place)[2] for place in self.shuffle.below(level, unit))

    def part(self, number: int) -> Table:
        """A part of the table of the whole volume."""
        return self._read(self.shuffle.top, 0, number, 0)

    def pairs(self, number: int) -> int:
        """Pairs of a part."""
        return self._span(self.shuffle.top, 0, number, 0)[2]

    def each(self, labels: Array, look: Callable[[Table, Array], None]) -> None:
        """Call ``look`` with each part that has some of ``labels``, and which of these."""
        home = bucket_of(labels, self.parts)
        for number in np.unique(home).tolist():
            look(self.part(number), np.flatnonzero(home == number))

    def _span(self, level: int, group: int, part: int, portion: int) -> tuple[int, int, int]:
        """Where a portion of a file starts and stops, and its pairs."""
        portions = self.shuffle.portions(level)
        url = self._name(level, group, part)
        words = np.frombuffer(self._get(url, (0, _WORD * (2 * portions + 1))), "<u8").astype(np.int64)
        if len(words) != 2 * portions + 1:
            raise DataError(f"{url}: this table of overlaps is damaged; evaluate again")
        start, stop = words[portion : portion + 2].tolist()
        return start, stop, int(words[portions + 1 + portion])

    def _read(self, level: int, group: int, part: int, portion: int) -> Table:
        start, stop, _ = self._span(level, group, part, portion)
        url = self._name(level, group, part)
        return columns.unpack(self._get(url, (start, stop)), url)

    def _get(self, url: str, span: tuple[int, int]) -> bytes:
        data = self.io.get(url, span)
        if data is None:
            raise DataError(f"{url}: these overlaps are missing; evaluate again, from the first step on")
        return data

    def _name(self, level: int, group: int, part: int) -> str:
        return f"{self.url}/level-{level}/{group}-{part}"
