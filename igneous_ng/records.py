"""Runs and records: what was asked, and what each task did. Completion is read from here, never from a queue.

``<home>/runs/<run id>/run.json`` holds the request; ``records/<lo>-<hi>.jsonl`` has one line for each
finished unit of one message, so a file with lines missing is a checkpoint; ``finished.json`` says that
every unit was recorded and the result published.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import ceil_div
from igneous_ng.store import Store, digest

FORMAT = 1
_RANGES = 1000


@dataclass(frozen=True)
class Run:
    """One planned stage: its JSON, the number of its units, and how many of them a message carries."""

    id: str
    home: str
    stage: dict[str, Any]
    units: int
    span: int

    @property
    def folder(self) -> str:
        """The URL of the run's own folder."""
        return f"{self.home}/runs/{self.id}"

    def messages(self) -> Iterator[Message]:
        """One message for each range of units."""
        return (Message(self, lo, min(lo + self.span, self.units)) for lo in range(0, self.units, self.span))


@dataclass(frozen=True)
class Message:
    """A run and the range ``[lo, hi)`` of its units: what a queue carries."""

    run: Run
    lo: int
    hi: int

    @property
    def url(self) -> str:
        """Where the records of this range are."""
        return f"{self.run.folder}/records/{self.lo}-{self.hi}.jsonl"

    def to_json(self) -> str:
        """The body of the message."""
        return json.dumps({"igneous_ng": FORMAT, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Message:
        """The message of ``text``; SpecError where it is none."""
        try:
            raw = json.loads(text)
            if raw["igneous_ng"] != FORMAT:
                raise SpecError(f"a message of format {raw['igneous_ng']!r}; this program reads format {FORMAT}")
            message = cls(Run(**raw["run"]), raw["lo"], raw["hi"])
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, SpecError):
                raise
            raise SpecError(f"not a message of igneous_ng ({error!r}): {text[:120]!r}; purge it") from error
        run = message.run
        whole = all(type(n) is int for n in (message.lo, message.hi, run.units, run.span))
        if not whole or not 0 <= message.lo < message.hi <= run.units:
            raise SpecError(f"units {message.lo}-{message.hi} of {run.units} are no range; purge this message")
        return message


def new_run(stage: dict[str, Any], home: str, units: int) -> Run:
    """A run of ``units`` units; its id sorts by time."""
    now = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}"
    mark = digest(json.dumps(stage, sort_keys=True).encode())[:8]
    return Run(f"{stamp}-{mark}", home, stage, units, max(1, ceil_div(units, _RANGES)))


def save(store: Store, run: Run) -> None:
    """Store the request."""
    store.put_json(f"{run.folder}/run.json", asdict(run))


def load(store: Store, folder: str) -> Run:
    """The run whose folder is at ``folder``; DataError where there is none."""
    raw = store.get_json(f"{folder}/run.json")
    if raw is None:
        raise DataError(f"{folder}: there is no run here (no run.json); runs are in LAYER/runs/")
    return Run(**raw)


def read(store: Store, message: Message) -> dict[int, dict[str, Any]]:
    """The records of a message's finished units, by unit."""
    text = (store.get(message.url) or b"").decode()
    return {line["unit"]: line for line in map(json.loads, text.splitlines())}


def write(store: Store, message: Message, lines: dict[int, dict[str, Any]]) -> None:
    """Store the records of a message's finished units."""
    text = "".join(json.dumps(lines[unit]) + "\n" for unit in sorted(lines))
    store.put(message.url, text.encode())


def done(store: Store, run: Run) -> int:
    """How many units have a record."""
    return sum(len(read(store, message)) for message in _stored(store, run))


def _stored(store: Store, run: Run) -> Iterator[Message]:
    for name in store.list(f"{run.folder}/records"):
        lo, _, hi = name.removesuffix(".jsonl").partition("-")
        yield Message(run, int(lo), int(hi))


def complete(store: Store, run: Run) -> bool:
    """Whether every unit has a record. Files are counted first: most answers cost one listing."""
    if len(store.list(f"{run.folder}/records")) < ceil_div(run.units, run.span):
        return False
    return done(store, run) == run.units


def finished(store: Store, run: Run) -> bool:
    """Whether the run was completed and its result published."""
    return store.exists(f"{run.folder}/finished.json")


def mark_finished(store: Store, run: Run) -> None:
    """Say that the run was completed and its result published."""
    store.put_json(f"{run.folder}/finished.json", {"time": time.time(), "units": run.units})
