"""Rows on their way through a shuffle (`census`): files of columns, of which tasks of the next level read portions.

A file holds where each portion begins that a task of the next level reads, how many rows each has, and the portions, as
columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.census import Shuffle
from igneous_ng.errors import DataError
from igneous_ng.formats import columns
from igneous_ng.io import IO

Array = npt.NDArray[Any]
_WORD = 8  # bytes


@dataclass(frozen=True)
class Portions:
    """The files in the folder ``url``; ``what`` they hold, in the plural, and what to do where they are missing,
    ``again``, are for people.
    """

    io: IO
    url: str
    shuffle: Shuffle
    what: str
    again: str

    @property
    def parts(self) -> int:
        """Parts of the last level."""
        return 1 << self.shuffle.depth(self.shuffle.top)

    def store(self, level: int, unit: int, labels: Array, table: Mapping[str, Array]) -> None:
        """Write the rows that a task found, each where its label belongs."""
        portions, home = self.shuffle.portions(level), self.shuffle.homes(level, labels)
        chosen = [np.flatnonzero(home == portion) for portion in range(portions)]
        packed = [columns.pack({name: column[rows] for name, column in table.items()}) for rows in chosen]
        ends = itertools.accumulate(map(len, packed), initial=_WORD * (2 * portions + 1))
        head = np.array([*ends, *map(len, chosen)], "<u8")
        self.io.put(self._name(level, *self.shuffle.of(level, unit)), b"".join([head.tobytes(), *packed]))

    def below(self, level: int, unit: int) -> Iterator[dict[str, Array]]:
        """What the level below has for a task, file by file."""
        return (self._read(*place) for place in self.shuffle.below(level, unit))

    def rows_below(self, level: int, unit: int) -> int:
        """How many rows :meth:`below` gives."""
        return sum(self._span(*place)[2] for place in self.shuffle.below(level, unit))

    def part(self, number: int) -> dict[str, Array]:
        """A part of the last level."""
        return self._read(self.shuffle.top, 0, number, 0)

    def rows(self, number: int) -> int:
        """Rows of a part of the last level."""
        return self._span(self.shuffle.top, 0, number, 0)[2]

    def _span(self, level: int, group: int, part: int, portion: int) -> tuple[int, int, int]:
        """Where a portion of a file starts and stops, and its rows."""
        portions = self.shuffle.portions(level)
        url = self._name(level, group, part)
        words = np.frombuffer(self._get(url, (0, _WORD * (2 * portions + 1))), "<u8").astype(np.int64)
        if len(words) != 2 * portions + 1:
            raise DataError(f"{url}: these {self.what} are damaged; {self.again}")
        start, stop = words[portion : portion + 2].tolist()
        return start, stop, int(words[portions + 1 + portion])

    def _read(self, level: int, group: int, part: int, portion: int) -> dict[str, Array]:
        start, stop, _ = self._span(level, group, part, portion)
        url = self._name(level, group, part)
        return columns.unpack(self._get(url, (start, stop)), url)

    def _get(self, url: str, span: tuple[int, int]) -> bytes:
        data = self.io.get(url, span)
        if data is None:
            raise DataError(f"{url}: these {self.what} are missing; {self.again}")
        return data

    def _name(self, level: int, group: int, part: int) -> str:
        return f"{self.url}/level-{level}/{group}-{part}"
