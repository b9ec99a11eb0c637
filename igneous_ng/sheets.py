"""The files that hold the lines of a run's units: written range by range, and made into one when the run is finished.

In a folder of records lie ``<lo>-<hi>.jsonl``, a line of JSON for each unit of the range, and checkpoints,
``<lo>-<hi>.<owner>.part``. Beside the folder may lie ``<folder>.parquet``, with the first line of each of its units. It
is stored before the files in the folder go, one by one. So who misses some of them looks for it, and finds each line
once at any moment; and a file that goes after it was listed is found there, too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from igneous_ng import folders
from igneous_ng.errors import DataError
from igneous_ng.formats.ledgers import Line, Reader, picked
from igneous_ng.spans import gaps
from igneous_ng.store import Store

ROWS = 1000
"""Units of which the lines are read at once where many are in one file."""
_PARQUET = ".parquet"


@dataclass(frozen=True)
class File:
    """A file of records, or a part of one: a range of units, and whether the lines of all of them are inside."""

    url: str
    lo: int
    hi: int
    whole: bool

    def touches(self, spans: Iterable[tuple[int, int]]) -> bool:
        """Whether it may hold units of ``spans``."""
        return any(self.lo < hi and self.hi > lo for lo, hi in spans)


def compacted(folder: str) -> str:
    """The URL of the one file that may stand for all of ``folder``."""
    return folder + _PARQUET


def files(store: Store, folder: str, lo: int, hi: int) -> list[File]:
    """The files of ``folder``, which is for the units ``[lo, hi)``: whole ranges first, each kind in order.

    Where one stands for all of them, it is told in parts of so many units as should be read at once.
    """
    found = loose(store, folder)
    if gaps([(file.lo, file.hi) for file in found if file.whole], lo, hi) and store.exists(url := compacted(folder)):
        parts = [File(url, first, min(first + ROWS, hi), True) for first in range(lo, hi, ROWS)]
        return parts + [file for file in found if not file.whole]
    return found


def loose(store: Store, folder: str) -> list[File]:
    """As :func:`files`, those that lie in the folder itself."""
    found = []
    for name in store.list(folder):
        stem, _, kind = name.rpartition(".")
        span = span_of(stem.partition(".")[0])
        if span and kind in ("jsonl", "part"):
            found.append(File(f"{folder}/{name}", *span, kind == "jsonl"))
    return sorted(found, key=lambda file: (not file.whole, file.lo, file.hi, file.url))


def span_of(stem: str) -> tuple[int, int] | None:
    """The range in a file's name; None where it says none."""
    lo, _, hi = stem.partition("-")
    return (int(lo), int(hi)) if lo.isdecimal() and hi.isdecimal() else None


def lines(store: Store, found: Iterable[File], only: Collection[str] | None = None) -> Iterator[Line]:
    """The lines in ``found``, file after file; with ``only``, of each line ``unit`` and what is named there.

    Memory holds those of one file, or part of one, at a time. A checkpoint that somebody took away has none.
    """
    opened: dict[str, Reader] = {}
    for file in found:
        url, data = file.url, None
        if not url.endswith(_PARQUET):
            data = store.get(url)
            url = compacted(url.rpartition("/")[0]) if data is None and file.whole else url
        if data is not None:
            parsed = map(json.loads, data.splitlines())
            yield from parsed if only is None else (picked(line, only) for line in parsed)
        elif url.endswith(_PARQUET) and (file.url == url or store.exists(url)):
            if url not in opened:
                opened = {url: _reader(store, url)}
            yield from opened[url].lines(file.lo, file.hi, only)


def _reader(store: Store, url: str) -> Reader:
    """A reader of the object ``url``, which asks only for what it needs."""

    def read(start: int, stop: int) -> bytes:
        data = store.get(url, (start, stop))
        if data is None:
            raise DataError(f"{url}: these records are gone; restore them")
        return data

    return Reader(read, folders.size(url) or 0, url)
