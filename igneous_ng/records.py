"""Runs and records: what was asked, and what each task did. Completion is read from here, never from a queue.

Below ``<home>/runs/<run id>/``::

    run.json                                  the request, and about it: code, inputs, who and when
    prepared.json                             what preparing read and wrote
    subset.json                               which units of the stage these are, where they are not all
    queue.json                                where it was enqueued last, and how urgent
    records/<group>/<lo>-<hi>.jsonl           one line for each unit of [lo, hi), all of them
    records/<group>/<lo>-<hi>.<owner>.part    a checkpoint: lines of the units finished so far by one holder
    failures/<unit>-<n>.json                  how attempt n of a unit failed
    dead/<lo>-<hi>.json                       units that were given up, with the reason
    cancelled.json, paused.json               what the user wants of workers
    finished.json                             every unit is recorded and the result published; what that wrote
    replaced/<scheme>/<path>                  objects as they were before the run
    rolledback.json                           nothing of it holds any more
    names                                     an index of what its units wrote (igneous_ng/names.py)

Beside the runs, ``cleaned.json`` says which folders of intermediates were removed, and when.

A checkpoint belongs to the holder of one lease, so a holder who was thought dead and comes back cannot take away
what another recorded meanwhile. Whether a run is complete is seen from names alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from igneous_ng.errors import DataError, SpecError, VersionError
from igneous_ng.geometry import ceil_div
from igneous_ng.spans import Span, Spans, gaps, size, without
from igneous_ng.store import Store, digest
from igneous_ng.subsets import Subset

FORMAT = 3
GROUP = 1000  # planned messages whose records share a folder
_RANGE_S = 600.0  # work in one message, where the time of a unit is known
_MOST_UNITS = 1000  # in one message, where it is not
_LEAST_MESSAGES = 1000  # of a run, units permitting

Line = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One planned stage: its JSON, the number of its units, how many a message carries, and what a unit needs.

    ``subset`` is the digest of which units of the stage they are, where they are not all of them.
    """

    id: str
    home: str
    stage: dict[str, Any]
    units: int
    span: int
    peak_bytes: int = 0
    device_bytes: int = 0
    subset: str = ""

    @property
    def folder(self) -> str:
        """The URL of the run's own folder."""
        return f"{self.home}/runs/{self.id}"

    @property
    def name(self) -> str:
        """The name of the stage."""
        return str(self.stage.get("stage"))

    def messages(self, spans: Iterable[tuple[int, int]] | None = None) -> Iterator[Message]:
        """One message for each planned range of units, or for what of it lies in ``spans``."""
        for lo, hi in spans if spans is not None else [(0, self.units)]:
            while lo < hi:
                end = min(hi, (lo // self.span + 1) * self.span)
                yield Message(self, lo, end)
                lo = end


@dataclass(frozen=True)
class Message:
    """A run and the range ``[lo, hi)`` of its units: what a queue carries.

    ``tried`` counts the failures that a single unit has had; ``alone``: nothing may run beside it; ``memory``:
    bytes to set aside for it, where that is more than the run's ``peak_bytes``; ``after``: the time (seconds since
    1970) before which it should not be tried again; ``verdict``: why it is to become a dead letter, and not be run.
    """

    run: Run
    lo: int
    hi: int
    tried: int = 0
    alone: bool = False
    memory: int = 0
    after: float = 0.0
    priority: Literal["high", "normal", "low"] = "normal"
    verdict: str = ""

    @property
    def folder(self) -> str:
        """Where the records of this range are, beside others'."""
        return _group(self.run, self.lo)

    @property
    def needs(self) -> int:
        """Bytes of memory to set aside for one unit."""
        return max(self.memory, self.run.peak_bytes)

    def renewed(self) -> Message:
        """The message as if its units had never failed; what was learnt of their memory is kept."""
        return replace(self, tried=0, after=0.0, verdict="")

    def to_json(self) -> str:
        """The body of the message."""
        return json.dumps({"igneous_ng": FORMAT, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Message:
        """The message of ``text``; SpecError where it is none, VersionError where another version made it."""
        try:
            raw = json.loads(text)
            _check_format(raw.pop("igneous_ng"), "a message")
            message = cls(Run(**raw.pop("run")), **raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, SpecError):
                raise
            raise SpecError(f"not a message of igneous_ng ({error!r}): {text[:120]!r}; purge it") from error
        run = message.run
        whole = all(type(n) is int for n in (message.lo, message.hi, message.tried, run.units, run.span))
        if not whole or not 0 <= message.lo < message.hi <= run.units or run.span < 1:
            raise SpecError(f"units {message.lo}-{message.hi} of {run.units} are no range; purge this message")
        return message

    @classmethod
    def known(cls, text: str) -> Message | None:
        """The message of ``text``; None where this program cannot read it."""
        try:
            return cls.parse(text)
        except SpecError:
            return None


def _check_format(found: Any, what: str) -> None:
    if type(found) is int and found != FORMAT:
        raise VersionError(f"{what} of format {found}; this program reads format {FORMAT}")


def new_run(
    stage: dict[str, Any],
    home: str,
    units: int,
    *,
    seconds: float | None = None,
    peaks: tuple[int, int] = (0, 0),
    subset: str = "",
) -> Run:
    """A run of ``units`` units of about ``seconds`` each, that take ``peaks`` bytes of memory and of device memory.

    Its id sorts by time, and ends in the digest of the request.
    """
    now = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}"
    return Run(f"{stamp}-{mark(stage, subset)}", home, stage, units, span(units, seconds), *peaks, subset)


def mark(stage: dict[str, Any], subset: str = "") -> str:
    """The digest of a request, by which equal ones are known."""
    return digest((json.dumps(stage, sort_keys=True) + subset).encode())[:8]


def span(units: int, seconds: float | None = None) -> int:
    """Units in one message: ten minutes of work where the time of one is known, and enough messages to share."""
    most = max(1, int(_RANGE_S / max(seconds, 1e-6))) if seconds is not None else _MOST_UNITS
    return min(most, max(1, ceil_div(units, _LEAST_MESSAGES)))


def save(store: Store, run: Run, about: dict[str, Any] | None = None) -> None:
    """Store the request, and what else is known when it is made."""
    store.put_json(f"{run.folder}/run.json", {"igneous_ng": FORMAT, **asdict(run), "about": about or {}})


def about(store: Store, run: Run) -> dict[str, Any]:
    """What was known when the run was made: code, environment, inputs and their versions, who and when."""
    raw = store.get_json(f"{run.folder}/run.json") or {}
    return dict(raw.get("about", {}))


def save_prepared(store: Store, run: Run, ledger: dict[str, Any]) -> None:
    """Store what preparing the run read and wrote."""
    store.put_json(f"{run.folder}/prepared.json", ledger)


def frame(store: Store, run: Run) -> dict[str, Line]:
    """What was read and written beside the units: when the run was ``prepared``, and when it was ``finished``."""
    found = {name: store.get_json(f"{run.folder}/{name}.json") for name in ("prepared", "finished")}
    return {name: ledger for name, ledger in found.items() if ledger is not None}


def save_subset(store: Store, run: Run, subset: Subset) -> None:
    """Store which units of the stage are the run's."""
    store.put_json(f"{run.folder}/subset.json", subset.to_json())


def subset(store: Store, run: Run) -> Subset | None:
    """Which units of the stage are the run's, if not all; DataError where that is lost."""
    if not run.subset:
        return None
    url = f"{run.folder}/subset.json"
    return Subset.parse(store.get_json(url), url)


def load(store: Store, folder: str) -> Run:
    """The run whose folder is at ``folder``; DataError where there is none, VersionError where it is another's."""
    raw = store.get_json(f"{folder}/run.json")
    if raw is None:
        raise DataError(f"{folder}: there is no run here (no run.json); runs are in LAYER/runs/")
    try:
        _check_format(raw.pop("igneous_ng", 1), f"{folder}: a run")
        raw.pop("about", None)
        return Run(**raw)
    except (TypeError, AttributeError) as error:
        raise DataError(f"{folder}/run.json: not a run ({error}); restore it or remove the folder") from error


@dataclass(frozen=True)
class File:
    """One file of records: the range in its name, and whether all of it is inside."""

    url: str
    lo: int
    hi: int
    whole: bool

    def touches(self, spans: Iterable[tuple[int, int]]) -> bool:
        """Whether it may hold units of ``spans``."""
        return any(self.lo < hi and self.hi > lo for lo, hi in spans)


def stored(store: Store, run: Run) -> Iterator[File]:
    """All files of records of a run, folder by folder, in each the whole ranges first."""
    for first in _groups(run):
        yield from _files(store, run, first)


def lines_of(store: Store, file: File) -> list[Line]:
    """The records in a file; none where a holder took it away meanwhile."""
    return list(map(json.loads, (store.get(file.url) or b"").splitlines()))


def read(store: Store, message: Message) -> dict[int, Line]:
    """The records of a message's finished units, by unit, whoever made them and in whatever ranges."""
    lines: dict[int, Line] = {}
    for file in _files(store, message.run, message.lo):
        if file.touches([(message.lo, message.hi)]):
            for line in lines_of(store, file):
                if message.lo <= line["unit"] < message.hi:
                    lines.setdefault(line["unit"], line)
    return lines


def checkpoint(store: Store, message: Message, lines: dict[int, Line], owner: str) -> None:
    """Store what the holder ``owner`` of this message has finished so far."""
    store.put(_part(message, owner), _text(lines))


def write(store: Store, message: Message, lines: dict[int, Line]) -> None:
    """Store the records of a whole message, unless somebody did already."""
    if absent := set(range(message.lo, message.hi)) - lines.keys():
        raise ValueError(f"no record of the units {sorted(absent)[:8]}")
    url = f"{message.folder}/{message.lo}-{message.hi}.jsonl"
    if not store.exists(url):
        store.put(url, _text(lines))


def drop_checkpoints(store: Store, message: Message) -> None:
    """Remove the checkpoints within a message whose records are all stored."""
    for file in _files(store, message.run, message.lo):
        if not file.whole and file.lo >= message.lo and file.hi <= message.hi:
            store.delete(file.url)


def all_lines(store: Store, run: Run, within: Span | None = None) -> Iterator[Line]:
    """Every record of a run, one for each finished unit, in the order of their files; only of units ``within``."""
    low, high = within or (0, run.units)
    for first in _groups(run):
        if first >= high or first + run.span * GROUP <= low:
            continue
        seen: set[int] = set()
        for file in _files(store, run, first):
            for line in lines_of(store, file) if file.touches([(low, high)]) else ():
                if low <= line["unit"] < high and line["unit"] not in seen:
                    seen.add(line["unit"])
                    yield line


def done(store: Store, run: Run) -> int:
    """How many units have a record."""
    return run.units - size(missing(store, run))


def missing(store: Store, run: Run) -> Spans:
    """The ranges of units without a record. Only checkpoints are opened; of whole ranges the name says enough."""
    return [gap for first in _groups(run) for gap in _missing(store, run, first)]


def unwritten(store: Store, run: Run) -> Spans:
    """The ranges of units that no whole range covers, from names alone: what a run lacks to be complete."""
    return [gap for first in _groups(run) for gap in _unwritten(run, first, _files(store, run, first))]


def complete(store: Store, run: Run, near: int = 0, full: set[str] | None = None) -> bool:
    """Whether every unit has a record. The folder of unit ``near`` is looked at first: most answers need no other.

    ``full`` remembers folders that were seen full, for they stay so: hand in the same set each time.
    """
    full = set() if full is None else full
    start = near - near % (run.span * GROUP)
    for first in (start, *(group for group in _groups(run) if group != start)):
        folder = _group(run, first)
        if folder not in full:
            if _unwritten(run, first, _files(store, run, first)):
                return False
            full.add(folder)
    return True


def _missing(store: Store, run: Run, first: int) -> Spans:
    files = _files(store, run, first)
    left = _unwritten(run, first, files)
    parts = [file for file in files if not file.whole and file.touches(left)]
    return without(left, {(line["unit"], line["unit"] + 1) for file in parts for line in lines_of(store, file)})


def _unwritten(run: Run, first: int, files: list[File]) -> Spans:
    end = min(run.units, first + run.span * GROUP)
    return gaps([(file.lo, file.hi) for file in files if file.whole], first, end)


def _groups(run: Run) -> range:
    """The first unit of each folder of records."""
    return range(0, run.units, run.span * GROUP)


def _group(run: Run, unit: int) -> str:
    return f"{run.folder}/records/{unit // (run.span * GROUP)}"


def _part(message: Message, owner: str) -> str:
    return f"{message.folder}/{message.lo}-{message.hi}.{owner}.part"


def _files(store: Store, run: Run, unit: int) -> list[File]:
    """The files in the folder that has the records of ``unit``: whole ranges first, each kind in order."""
    folder, found = _group(run, unit), []
    for name in store.list(folder):
        stem, _, kind = name.rpartition(".")
        span = _range(stem.partition(".")[0])
        if span and kind in ("jsonl", "part"):
            found.append(File(f"{folder}/{name}", *span, kind == "jsonl"))
    return sorted(found, key=lambda file: (not file.whole, file.lo, file.hi, file.url))


def _range(stem: str) -> tuple[int, int] | None:
    """The range in a file's name; None where it says none."""
    lo, _, hi = stem.partition("-")
    return (int(lo), int(hi)) if lo.isdecimal() and hi.isdecimal() else None


def _text(lines: dict[int, Line]) -> bytes:
    return "".join(json.dumps(lines[unit]) + "\n" for unit in sorted(lines)).encode()


def note_failure(store: Store, run: Run, unit: int, failure: dict[str, Any]) -> None:
    """Keep how an attempt at a unit failed; ``failure["tried"]`` is its number."""
    store.put_json(f"{run.folder}/failures/{unit}-{failure['tried']}.json", {"unit": unit, **failure})


def failures(store: Store, run: Run, unit: int) -> list[dict[str, Any]]:
    """How attempts at a unit failed, in their order."""
    folder = f"{run.folder}/failures"
    names = [name for name in store.list(folder) if name.startswith(f"{unit}-")]
    found = [store.get_json(f"{folder}/{name}") for name in names]
    return sorted((f for f in found if f is not None), key=lambda f: int(f["tried"]))


def give_up(store: Store, message: Message, failure: dict[str, Any]) -> None:
    """Say that the units of ``message`` became a dead letter."""
    store.put_json(f"{message.run.folder}/dead/{message.lo}-{message.hi}.json", failure)


def take_up(store: Store, message: Message) -> None:
    """Undo :func:`give_up`: the units are to be tried again."""
    store.delete(f"{message.run.folder}/dead/{message.lo}-{message.hi}.json")


def dead(store: Store, run: Run) -> Spans:
    """The ranges of units that were given up, recorded meanwhile or not."""
    found = (_range(name.removesuffix(".json")) for name in store.list(f"{run.folder}/dead"))
    return sorted(span for span in found if span)


def verdict(store: Store, run: Run, lo: int, hi: int) -> dict[str, Any]:
    """Why the units of this very range were given up, as :func:`give_up` was told."""
    return store.get_json(f"{run.folder}/dead/{lo}-{hi}.json") or {}


def settled(store: Store, run: Run) -> bool:
    """Whether nothing is left to do: the run was finished or cancelled, or all that it lacks was given up."""
    if finished(store, run) or marked(store, run, "cancelled"):
        return True
    left = missing(store, run)
    return bool(left) and not without(left, dead(store, run))


def finished(store: Store, run: Run) -> bool:
    """Whether the run was completed and its result published."""
    return marked(store, run, "finished")


def mark_finished(store: Store, run: Run, ledger: dict[str, Any] | None = None) -> None:
    """Say that the run was completed and its result published, which read and wrote what ``ledger`` says."""
    set_mark(store, run, "finished", units=run.units, **(ledger or {}))


def marked(store: Store, run: Run, word: str) -> bool:
    """Whether the run was marked ``finished``, ``cancelled``, ``paused`` or ``rolledback``."""
    return store.exists(f"{run.folder}/{word}.json")


def set_mark(store: Store, run: Run, word: str, **details: Any) -> None:
    """Mark a run ``finished``, ``cancelled``, ``paused`` or ``rolledback``."""
    store.put_json(f"{run.folder}/{word}.json", {"time": time.time(), **details})


def clear_mark(store: Store, run: Run, word: str) -> None:
    """Take a mark away."""
    store.delete(f"{run.folder}/{word}.json")


def set_queue(store: Store, run: Run, url: str, priority: str) -> None:
    """Say on which queue a run was put."""
    store.put_json(f"{run.folder}/queue.json", {"queue": url, "priority": priority})


def queue_of(store: Store, run: Run) -> str | None:
    """The queue that a run was put on last; None: it was executed where it was asked for."""
    found = store.get_json(f"{run.folder}/queue.json")
    return None if found is None else str(found["queue"])
