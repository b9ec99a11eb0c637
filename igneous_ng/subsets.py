"""Some units of a stage, each with the record that it is to replace: what a run that redoes them is made of."""

from __future__ import annotations

import itertools
import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from igneous_ng.errors import DataError
from igneous_ng.store import digest

Former = tuple[str, int]
"""A run, by its id, and the number of a unit there."""
Span = tuple[int, int, str, int]
"""Units ``[lo, hi)`` of the stage, whose records are those of a run from a unit on."""


@dataclass(frozen=True)
class Subset:
    """The units in ``spans``, which ascend, of a stage that has ``of`` of them; ``why`` they are done again.

    There may be none: then the stage only prepares and publishes.
    """

    of: int
    spans: tuple[Span, ...]
    why: str = ""

    @classmethod
    def of_units(cls, of: int, units: Iterable[tuple[int, Former]], why: str = "") -> Subset:
        """The subset of ``units`` of the stage, each with its former record; in any order."""
        spans: list[Span] = []
        for unit, (run, number) in sorted(units):
            if spans and spans[-1][1] == unit and (run, number - unit) == (spans[-1][2], spans[-1][3] - spans[-1][0]):
                spans[-1] = (spans[-1][0], unit + 1, *spans[-1][2:])
            else:
                spans.append((unit, unit + 1, run, number))
        return cls(of, tuple(spans), why)

    @classmethod
    def parse(cls, raw: Any, where: str) -> Subset:
        """The subset that :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            spans = tuple((int(lo), int(hi), str(run), int(number)) for lo, hi, run, number in raw["spans"])
            return cls(int(raw["of"]), spans, str(raw.get("why", "")))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: not a list of units ({error}); redo again") from error

    def to_json(self) -> dict[str, Any]:
        """The subset in JSON's types."""
        return {"of": self.of, "why": self.why, "spans": [list(span) for span in self.spans]}

    @cached_property
    def name(self) -> str:
        """The digest by which it is known."""
        return digest(json.dumps(self.to_json()).encode())

    @cached_property
    def _starts(self) -> list[int]:
        """The place of each span's first unit among all, and behind them their number."""
        return [0, *itertools.accumulate(hi - lo for lo, hi, *_ in self.spans)]

    def __len__(self) -> int:
        return self._starts[-1]

    def unit(self, place: int) -> int:
        """Which unit of the stage is the one at ``place``."""
        span, start = self._find(place)
        return span[0] + place - start

    def former(self, place: int) -> Former:
        """The record that is to be replaced by that of the unit at ``place``."""
        span, start = self._find(place)
        return span[2], span[3] + place - start

    def _find(self, place: int) -> tuple[Span, int]:
        if not 0 <= place < len(self):
            raise IndexError(place)
        number = bisect_right(self._starts, place) - 1
        return self.spans[number], self._starts[number]


@dataclass(frozen=True)
class Picked(Sequence[Any]):
    """The units of a stage that are in a subset."""

    units: Sequence[Any]
    subset: Subset

    def __len__(self) -> int:
        return len(self.subset)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.units[self.subset.unit(index)]
