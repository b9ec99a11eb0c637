"""The state of a layer, told from ledgers: which entry of which run is the newest of each object.

Runs count from their first record on until they are rolled back, in the order of their ids. Within one, preparing comes
before the units and publishing after. Where millions of objects were written, of each no more is held than 64 bits
of its name's digest.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from igneous_ng import history, records
from igneous_ng.records import Line, Run
from igneous_ng.store import Store

Entry = dict[str, Any]
_FRESH = 1 << 16
PREPARED, PUBLISHED = -2, -1
"""Stand for the number of a unit where preparing and publishing are meant."""


def runs(store: Store, layer: str) -> list[Run]:
    """The runs that made data at ``layer`` and were not rolled back, the oldest first."""
    found = (run for run in history.runs(store, layer) if not records.marked(store, run, "rolledback"))
    return [run for run in found if records.makes_data(store, run)][::-1]


def pages(store: Store, run: Run) -> Iterator[tuple[int, Line]]:
    """Every ledger of a run, what was written last first, and of which unit it is."""
    frame = records.frame(store, run)
    if "finished" in frame:
        yield PUBLISHED, frame["finished"]
    for line in records.all_lines(store, run):
        yield line["unit"], line
    if "prepared" in frame:
        yield PREPARED, frame["prepared"]


def writes(page: Line) -> list[Entry]:
    """What was written or removed, without what was there already."""
    return [entry for entry in page.get("writes", ()) if not entry.get("kept")]


class Names:
    """A set of URLs, held as 64 bits of each one's digest, in few sorted arrays of growing sizes."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.uint64]] = []
        self._fresh: set[int] = set()

    def add(self, urls: Iterable[str]) -> None:
        """Enter ``urls``."""
        self._fresh.update(map(key, urls))
        if len(self._fresh) > _FRESH:
            self._parts.append(np.sort(np.fromiter(self._fresh, np.uint64, len(self._fresh))))
            self._fresh = set()
            while len(self._parts) > 1 and len(self._parts[-2]) < 2 * len(self._parts[-1]):
                self._parts.append(np.union1d(self._parts.pop(), self._parts.pop()))

    def __contains__(self, url: str) -> bool:
        name = key(url)
        return name in self._fresh or any(_holds(part, name) for part in self._parts)


def _holds(part: npt.NDArray[np.uint64], name: int) -> bool:
    at = int(np.searchsorted(part, np.uint64(name)))
    return at < len(part) and int(part[at]) == name


def key(url: str) -> int:
    """The 64 bits that stand for a URL."""
    return int.from_bytes(blake3(url.encode()).digest(8), "little")


@dataclass(frozen=True)
class Page:
    """One ledger, and those of its entries that are the newest of their objects."""

    run: Run
    unit: int
    line: Line = field(repr=False)
    newest: list[Entry] = field(repr=False)


def state(store: Store, layer: str) -> Iterator[Page]:
    """All ledgers of a layer, the newest first, each with what of it holds."""
    later = Names()
    for run in reversed(runs(store, layer)):
        for unit, line in pages(store, run):
            entries = writes(line)
            yield Page(run, unit, line, [entry for entry in entries if entry["url"] not in later])
            later.add(entry["url"] for entry in entries)


def written(store: Store, those: Iterable[Run]) -> Names:
    """What runs wrote or removed."""
    names = Names()
    for run in those:
        for _, page in pages(store, run):
            names.add(entry["url"] for entry in writes(page))
    return names


def cleaned(store: Store, layer: str, run: Run) -> tuple[str, ...]:
    """The folders of intermediates, each with a slash, that were removed after ``run`` had begun."""
    found = store.get_json(_cleaned(layer)) or {}
    return tuple(f"{folder}/" for folder, then in found.items() if history.begun_at(run) < then)


def note_cleaned(store: Store, layer: str, folder: str) -> None:
    """Say that what was written into ``folder`` so far is not to be missed."""
    now = time.time()
    while (found := store.get_json(_cleaned(layer)) or {}).get(folder, 0.0) < now:  # again, if another wrote meanwhile
        store.put_json(_cleaned(layer), {**found, folder: now})


def _cleaned(layer: str) -> str:
    return f"{layer}/runs/cleaned.json"


def told(store: Store, layer: str) -> Iterator[Entry]:
    """What every run said of objects, the newest first, without what was cleaned away since.

    The first entry of an object is the one that holds.
    """
    for run in reversed(runs(store, layer)):
        gone = cleaned(store, layer, run)
        for _, page in pages(store, run):
            yield from (entry for entry in reversed(writes(page)) if not entry["url"].startswith(gone))
