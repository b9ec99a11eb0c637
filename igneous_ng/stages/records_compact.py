"""Records of finished runs, each folder of them as one file."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from igneous_ng import folders, history, records, sheets
from igneous_ng.errors import DataError, SpecError, TransientError
from igneous_ng.formats import ledgers
from igneous_ng.formats.arrow import arrow
from igneous_ng.formats.ledgers import Line
from igneous_ng.io import IO
from igneous_ng.records import Run
from igneous_ng.sheets import ROWS, File
from igneous_ng.spans import gaps
from igneous_ng.stage import LayerUrl, Stage, arg, opt, sampled
from igneous_ng.store import Store

_COPIES = 16  # of the text of lines that are read at once, as objects of Python, twice, and as columns
_LEAST = 1 << 24  # bytes that a task takes anyhow
Unit = tuple[str, int]
"""A run, by its id, and the number of one of its folders of records."""


@dataclass(frozen=True, kw_only=True)
class RecordsCompact(Stage, name="records compact"):
    """Make the records of finished runs small: one Parquet file for each folder of lines.

    Whoever reads records gets the same lines from it, and reads of all of them only the columns that are wanted. The
    lines are removed when the file was read back and has each of them. Runs of this stage itself stay as they are.
    """

    example = "./seg"
    makes_data: ClassVar[bool] = False

    layer: LayerUrl = arg("Layer whose runs these are.")
    runs: tuple[str, ...] = opt((), "Ids of the runs; all that are finished where none is given.")

    def home(self) -> str:
        """Records lie with the layer."""
        return self.layer

    def steps(self, io: IO) -> Iterator[Stage]:
        """This stage with the runs named that there is something to do for, so that others may finish meanwhile."""
        open_ones = tuple(run.id for run in self._runs(io) if self._loose(io, run))
        yield replace(self, runs=open_ones or self.runs)

    def prepare(self, io: IO) -> None:
        """Refuse where the library is lacking."""
        arrow()

    def units(self, io: IO) -> Sequence[Unit]:
        """The folders of the runs, those too that are compacted already."""
        return [(run.id, number) for run in self._runs(io) for number in range(records.groups(run))]

    def peak_bytes(self, unit: Unit, io: IO) -> int:
        """The new file, and the lines of so many units as are read at once."""
        folder, lo, hi = self._group(unit, io)
        files = [file for file in sheets.loose(io.store, folder) if file.whole]
        each = [(folders.size(file.url) or 0) / (file.hi - file.lo) for file in sampled(files)] or [0.0]
        return _LEAST + int(sum(each) / len(each) * (hi - lo) + _COPIES * max(each) * min(ROWS, hi - lo))

    def execute(self, unit: Unit, io: IO) -> None:
        """Store one file, read it back, and remove the lines.

        By a store of its own: these are no data of the layer, nothing of them is kept, and no ledger has them.
        """
        (folder, lo, hi), store = self._group(unit, io), Store()
        url, found = sheets.compacted(folder), sheets.loose(store, folder)
        whole = [file for file in found if file.whole]
        if not gaps([(file.lo, file.hi) for file in whole], lo, hi):  # nothing of it was removed
            if not store.exists(url):
                store.put(url, ledgers.pack(_batches(store, whole, lo, hi)))
                store.flush()
            _compare(store, url, _batches(store, whole, lo, hi))
        elif not store.exists(url):
            raise DataError(f"{folder}: records of a finished run are missing; restore them, or run its stage again")
        for file in found:
            store.delete(file.url)
        store.flush()
        io.note(lines=hi - lo, bytes=folders.size(url))

    def _group(self, unit: Unit, io: IO) -> tuple[str, int, int]:
        return records.group(records.load(io.store, f"{self.layer}/runs/{unit[0]}"), unit[1])

    def _runs(self, io: IO) -> list[Run]:
        """The runs that are meant, the oldest first."""
        if not self.runs:
            found = [run for run in history.runs(io.store, self.layer) if run.name != self.name]
            return [run for run in reversed(found) if records.finished(io.store, run)]
        named = [records.load(io.store, f"{self.layer}/runs/{ident}") for ident in sorted(set(self.runs))]
        if unfinished := [run.id for run in named if not records.finished(io.store, run)]:
            raise SpecError(f"{self.name}.runs: {unfinished[0]} is not finished; its records may still change")
        return named

    def _loose(self, io: IO, run: Run) -> bool:
        return any(sheets.loose(io.store, records.group(run, n)[0]) for n in range(records.groups(run)))


def _batches(store: Store, files: list[File], lo: int, hi: int) -> Iterator[list[Line]]:
    """The first line of each of the units ``[lo, hi)``, of so many units at once; ``files`` ascend."""
    pending: dict[int, Line] = {}
    left = deque(files)
    for first in range(lo, hi, ROWS):
        units = range(first, min(first + ROWS, hi))
        while left and left[0].lo < units.stop:
            for line in sheets.lines(store, [left.popleft()]):
                pending.setdefault(line["unit"], line)
        if lacking := set(units) - pending.keys():
            raise DataError(f"{files[0].url} and others there: no line of unit {min(lacking)}; restore them")
        yield [pending.pop(unit) for unit in units]


def _compare(store: Store, url: str, batches: Iterator[list[Line]]) -> None:
    """Read back what was stored; where it is not what it should be it is removed, and a TransientError is raised."""
    for lines in batches:
        part = File(url, lines[0]["unit"], lines[-1]["unit"] + 1, True)
        if list(map(_spelt, sheets.lines(store, [part]))) != list(map(_spelt, lines)):
            store.delete(url)
            raise TransientError(f"{url}: read back, it was not what had been stored; it will be made again")


def _spelt(line: Line) -> str:
    """A line in the one spelling that tells 1 from 1.0, and finds nan equal to itself."""
    return json.dumps(line, sort_keys=True)
