"""What a verification found, summed up from its records; and what lies in a layer that no record names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from igneous_ng import folders, ledger, names, records
from igneous_ng.records import Run
from igneous_ng.spans import Spans, without
from igneous_ng.store import Store

_NAMED = 20
_BATCH = 1 << 18  # names held at once
_OURS = ("runs", "provenance")


@dataclass
class Findings:
    """How many ``objects`` were looked for, of how many the bytes were ``read``; what is wrong, by cause and by run.

    ``wrong`` has ranges of units, where :data:`ledger.PREPARED` and :data:`ledger.PUBLISHED` stand for preparing and
    publishing. ``examples`` are the first objects, as records name them, each with its run.
    """

    objects: int = 0
    read: int = 0
    bytes: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, Spans] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, notes: dict[str, Any]) -> None:
        """Enter what one unit noted."""
        self.objects += notes.get("objects", 0)
        self.read += notes.get("read", 0)
        self.bytes += notes.get("bytes", 0)
        self.causes.update(notes["causes"])
        spans = [(int(lo), int(hi)) for lo, hi in notes["units"]]
        if spans:
            self.wrong[notes["run"]] = without([*self.wrong.get(notes["run"], []), *spans], ())
        left = _NAMED - len(self.examples)
        self.examples += [{**one, "run": notes["run"]} for one in notes["examples"][:left]]

    def to_json(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        return {**vars(self), "causes": dict(self.causes)}


def of(store: Store, run: Run) -> Findings:
    """What the run of a verification found."""
    found = Findings()
    for line in records.all_lines(store, run):
        found.add(line["notes"])
    return found


def strangers(store: Store, layer: str) -> Iterator[str]:
    """The objects below ``layer`` that no record names, in no order; what this program keeps for itself is left out."""
    runs, batch = ledger.runs(store, layer), list[str]()
    for url in _objects(store, layer):
        batch.append(url)
        if len(batch) == _BATCH:
            yield from _unknown(store, runs, batch)
            batch = []
    yield from _unknown(store, runs, batch)


def _objects(store: Store, layer: str) -> Iterator[str]:
    for name in store.list(layer):
        if name not in _OURS:
            url = f"{layer}/{name}"
            if store.exists(url):
                yield url
            yield from folders.urls(url)


def _unknown(store: Store, runs: list[Run], urls: list[str]) -> Iterator[str]:
    wanted = names.keys(urls)
    unknown = set(wanted[~names.known(store, runs, wanted)].tolist())
    return (url for url in urls if ledger.key(url) in unknown)
