"""Tables of new labels for old ones, in parts by hash: who renames a cell reads the parts that its labels are in.

A folder holds ``table.json``, which says how many parts there are and what they are like, and tables of columns
``part-K`` with ``old``, ascending, and ``new``, uint64; a part may have other columns beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats import columns
from igneous_ng.formats.fragments import bucket_of
from igneous_ng.io import IO

Array = npt.NDArray[Any]
_ROWS = 1 << 16  # of a part, about


@dataclass(frozen=True)
class Facts:
    """How many parts a table has, a power of two; the type that holds its new labels; bytes of its largest part."""

    parts: int
    dtype: str
    bytes: int


@dataclass(frozen=True)
class Renaming:
    """The table in the folder ``url``."""

    io: IO
    url: str

    @cached_property
    def facts(self) -> Facts:
        """What the table is like; DataError where there is none."""
        url = f"{self.url}/table.json"
        raw = self.io.get_json(url)
        if raw is None:
            raise DataError(f"{self.url}: there is no table of labels; run `segment filter`, or name a file")
        try:
            return Facts(int(raw["parts"]), np.dtype(raw["dtype"]).name, int(raw["bytes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{url}: not a table of labels ({error}); make it again") from error

    def finish(self, facts: Facts) -> None:
        """Let the table be found."""
        self.io.put_json(f"{self.url}/table.json", vars(facts))

    def put(self, part: int, arrays: Mapping[str, Array]) -> None:
        """Write a part."""
        self.io.put(self._name(part), columns.pack(arrays))

    def read(self, part: int, names: tuple[str, ...] = ("old", "new")) -> dict[str, Array]:
        """What :meth:`put` wrote, or only the columns called ``names``; DataError if it is not there."""
        return columns.unpack(self._get(part), self._name(part), names)

    def size(self, part: int) -> int:
        """Bytes of all columns of a part."""
        return columns.size(self._get(part, columns.HEAD_SPAN), self._name(part))

    def split(self, old: Array, new: Array) -> None:
        """Write the whole table: labels ``old``, ascending, without repeats, and what they become."""
        parts = 1 << (len(old) // _ROWS).bit_length()
        home = bucket_of(old, parts)
        order = np.argsort(home, kind="stable")
        ends = np.searchsorted(home[order], np.arange(parts + 1))
        for part in range(parts):
            own = order[ends[part] : ends[part + 1]]
            self.put(part, {"old": old[own], "new": new[own]})
        largest = int(np.diff(ends).max()) * 2 * old.itemsize
        self.finish(Facts(parts, np.min_scalar_type(int(new.max(initial=0))).name, largest))

    def of(self, labels: Array) -> tuple[Array, Array]:
        """Those of ``labels``, ascending, without repeats, that are in the table, and what they become."""
        home, became = bucket_of(labels, self.facts.parts), np.zeros(len(labels), np.uint64)
        known = np.zeros(len(labels), bool)
        for part in np.unique(home).tolist():
            table, mine = self.read(part), np.flatnonzero(home == part)
            at = np.searchsorted(table["old"], labels[mine])
            there = at < len(table["old"])
            there[there] = table["old"][at[there]] == labels[mine][there]
            became[mine[there]], known[mine[there]] = table["new"][at[there]], True
        return labels[known], became[known]

    def renamed(self, *columns: Array) -> list[Array]:
        """Columns of labels under their new names; those that are not in the table keep theirs."""
        old, new = self.of(np.unique(np.concatenate(columns)))
        found = []
        for labels in columns:
            at = np.searchsorted(old, labels)
            known = at < len(old)
            known[known] = old[at[known]] == labels[known]
            became = labels.copy()
            became[known] = new[at[known]]
            found.append(became)
        return found

    def _get(self, part: int, span: tuple[int, int] | None = None) -> bytes:
        data = self.io.get(self._name(part), span)
        if data is None:
            raise DataError(f"{self._name(part)} is missing; make the table of labels again")
        return data

    def _name(self, part: int) -> str:
        return f"{self.url}/part-{part}"
