"""Runs and records: what was asked, and what each task did. Completion is read from here, never from a queue.

Below ``<home>/runs/<run id>/``::

    run.json                                  the request, and about it: code, inputs, who and when
    prepared.json                             what preparing read and wrote
    subset.json                               which units of the stage these are, where they are not all
    queue.json                                where it was enqueued last, and how urgent
    records/<group>/<lo>-<hi>.jsonl           one line for each unit of [lo, hi), all of them
    records/<group>/<lo>-<hi>.<owner>.part    a checkpoint: lines of the units finished so far by one holder
    records/<group>.parquet                   the same lines as in all of the folder, compacted
    failures/<unit>-<n>.json                  how attempt n of a unit failed
    dead/<lo>-<hi>.json                       units that were given up, with the reason
    cancelled.json, paused.json               what the user wants of workers
    stopped.json                              who executed it himself has ended before it did
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
from collections.abc import Collection, Iterator
from dataclasses import asdict
from typing import Any

from igneous_ng import sheets
from igneous_ng.errors import DataError, SpecError, VersionError
from igneous_ng.formats.ledgers import Line as Line
from igneous_ng.geometry import ceil_div
from igneous_ng.messages import FORMAT, check_format, folder_of
from igneous_ng.messages import Message as Message
from igneous_ng.messages import Run as Run
from igneous_ng.sheets import File as File
from igneous_ng.spans import Span, Spans, gaps, size, without
from igneous_ng.store import Store, digest
from igneous_ng.subsets import Subset

_RANGE_S = 600.0  # work in one message, where the time of a unit is known
_MOST_UNITS = 1000  # in one message, where it is not
_LEAST_MESSAGES = 1000  # of a run, units permitting


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


def makes_data(store: Store, run: Run) -> bool:
    """Whether the run is of a stage that makes data, and does not only say something about data."""
    return bool(about(store, run).get("makes_data", True))


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
        check_format(raw.pop("igneous_ng", 1), f"{folder}: a run")
        raw.pop("about", None)
        run = Run(**raw)
        run.check()
    except VersionError:
        raise
    except (TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{folder}/run.json: not a run ({error}); restore it or remove the folder") from error
    return run


def check_planned(store: Store, run: Run) -> None:
    """SpecError where the run was not planned as it stands here: a message alone makes no run."""
    if not store.exists(f"{run.folder}/run.json"):
        raise SpecError(f"{run.folder}: no such run was planned (no run.json); enqueue its command again")
    planned = load(store, run.folder)
    for what in ("id", "home", "stage", "units", "subset"):
        if getattr(planned, what) != getattr(run, what):
            raise SpecError(f"{run.folder}: this run was planned with another {what}; enqueue its command again")


def stored(store: Store, run: Run) -> Iterator[File]:
    """All files of records of a run, folder by folder, in each the whole ranges first."""
    for first in _groups(run):
        yield from _files(store, run, first)


def lines_of(store: Store, file: File, only: Collection[str] | None = None) -> list[Line]:
    """The records in a file, or of each what is named in ``only``; none where a holder took it away meanwhile."""
    return list(sheets.lines(store, [file], only))


def read(store: Store, message: Message) -> dict[int, Line]:
    """The records of a message's finished units, by unit, whoever made them and in whatever ranges."""
    lines: dict[int, Line] = {}
    files = _files(store, message.run, message.lo)
    for line in sheets.lines(store, (file for file in files if file.touches([(message.lo, message.hi)]))):
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


def all_lines(
    store: Store, run: Run, within: Span | None = None, only: Collection[str] | None = None
) -> Iterator[Line]:
    """Every record of a run, one for each finished unit, in the order of their files; only of units ``within``.

    With ``only``, of each line ``unit`` and what is named there.
    """
    low, high = within or (0, run.units)
    for first in _groups(run):
        if first >= high or first + run.grouped <= low:
            continue
        seen: set[int] = set()
        files = (file for file in _files(store, run, first) if file.touches([(low, high)]))
        for line in sheets.lines(store, files, only):
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
    start = near - near % run.grouped
    for first in (start, *(group for group in _groups(run) if group != start)):
        folder = folder_of(run, first)
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
    end = min(run.units, first + run.grouped)
    return gaps([(file.lo, file.hi) for file in files if file.whole], first, end)


def group(run: Run, number: int) -> tuple[str, int, int]:
    """One of the :func:`groups`: a folder of records, and the range of its units."""
    first = number * run.grouped
    return folder_of(run, first), first, min(run.units, first + run.grouped)


def groups(run: Run) -> int:
    """How many folders of records there are, once all are."""
    return len(_groups(run))


def _groups(run: Run) -> range:
    """The first unit of each folder of records."""
    return range(0, run.units, run.grouped)


def _part(message: Message, owner: str) -> str:
    return f"{message.folder}/{message.lo}-{message.hi}.{owner}.part"


def _files(store: Store, run: Run, unit: int) -> list[File]:
    """The files that have the records of the folder of ``unit``: whole ranges first, each kind in order."""
    return sheets.files(store, *group(run, unit // run.grouped))


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
    found = (sheets.span_of(name.removesuffix(".json")) for name in store.list(f"{run.folder}/dead"))
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


def finished_at(store: Store, run: Run) -> float | None:
    """When a run was finished, in seconds since 1970; None where it was not."""
    found = store.get_json(f"{run.folder}/finished.json")
    return None if found is None else float(found["time"])


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
