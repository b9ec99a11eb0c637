"""How far a run is, or one unit of it. Counts come from records; only who holds what comes from the queue."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from igneous_ng import evidence, queues, records
from igneous_ng.errors import IgneousError, SpecError
from igneous_ng.evidence import Work
from igneous_ng.queues import Counts, Queue
from igneous_ng.records import Line, Message, Run
from igneous_ng.spans import Spans, shared, size, without
from igneous_ng.store import Store

_VERDICTS = 200  # read to tell why units were given up

State = Literal[
    "rolledback",
    "finished",
    "cancelled",
    "paused",
    "publishing",  # every unit is recorded; whoever recorded last publishes, or the next worker does
    "failed",  # every unit is recorded or given up
    "working",  # units are leased, or were recorded lately
    "waiting",  # nothing is leased, and nothing was recorded lately
    "unknown",  # as waiting, but nobody can say what is leased
]


@dataclass(frozen=True)
class Reason:
    """Why units were given up: the cause, how many units, and one of them with its text."""

    cause: str
    units: int
    unit: int
    text: str


@dataclass(frozen=True)
class Status:
    """A run at a moment. ``done``, ``failed``, ``leased`` and ``waiting`` are together its units.

    Where nobody can say what is leased, ``leased`` is None, such units are among ``waiting``, and ``queue_counts`` is
    what the queue counts, about, of the messages of all its runs. ``closed`` checkpoints were too many to open:
    where it is not 0, ``done`` is more than it says.
    """

    folder: str
    stage: str
    units: int
    state: State
    done: int
    failed: int
    leased: int | None
    waiting: int
    closed: int
    eta_s: float | None
    work: Work | None
    reasons: tuple[Reason, ...]
    declared_bytes: int
    queue: str | None
    queue_counts: Counts | None
    queue_trouble: str


def look(store: Store, run: Run, now: float | None = None) -> Status:
    """The status of ``run`` at ``now``, in seconds since 1970."""
    found = evidence.gather(store, run)
    work = evidence.weigh(found, time.time() if now is None else now)
    given_up = records.dead(store, run)
    failed = shared(found.missing, given_up)
    rest = without(found.missing, failed)
    queue = records.queue_of(store, run)
    held, counts, trouble = _held(run, queue)
    leased = None if held is None else size(shared(rest, held))
    state = _state(store, run, (size(failed), size(rest), leased), work)
    rate = work.rate if work and state == "working" else None
    return Status(
        folder=run.folder,
        stage=run.name,
        units=run.units,
        state=state,
        done=run.units - size(found.missing),
        failed=size(failed),
        leased=leased,
        waiting=size(rest) - (leased or 0),
        closed=found.closed,
        eta_s=size(rest) / rate if rate else None,
        work=work,
        reasons=_reasons(store, run, given_up, failed),
        declared_bytes=run.peak_bytes,
        queue=queue,
        queue_counts=counts,
        queue_trouble=trouble,
    )


def _state(store: Store, run: Run, left: tuple[int, int, int | None], work: Work | None) -> State:
    """The state of a run of which ``left`` units failed, are neither done nor failed, and are leased of these."""
    marks: tuple[State, ...] = ("rolledback", "finished", "cancelled", "paused")
    for mark in marks:
        if records.marked(store, run, mark):
            return mark
    failed, rest, leased = left
    if not rest:
        return "failed" if failed else "publishing"
    if leased or (work and work.rate):
        return "working"
    return "unknown" if leased is None else "waiting"


def _held(run: Run, queue: str | None) -> tuple[Spans | None, Counts | None, str]:
    """The units of ``run`` that are leased; where the queue cannot show them, its counts, or what is wrong with it."""
    if queue is None:
        return None, None, ""
    try:
        target = queues.connect(queue)
        try:
            return leased(target, run), None, ""
        except SpecError:
            return None, target.counts(), ""
    except IgneousError as error:
        return None, None, str(error)


def leased(queue: Queue, run: Run) -> Spans:
    """The units of ``run`` that are leased on ``queue``; SpecError where the back end cannot show them."""
    return [(m.lo, m.hi) for m in map(Message.known, queue.held()) if m is not None and m.run.id == run.id]


def _reasons(store: Store, run: Run, given_up: Spans, failed: Spans) -> tuple[Reason, ...]:
    """Why the ``failed`` units were ``given_up``, the commonest cause first; only so many verdicts are read."""
    found: dict[str, Reason] = {}
    told = 0
    for lo, hi in given_up[:_VERDICTS]:
        if units := size(shared([(lo, hi)], failed)):
            verdict = records.verdict(store, run, lo, hi)
            cause = str(verdict.get("cause") or "unknown")
            old = found.get(cause, Reason(cause, 0, lo, str(verdict.get("text", ""))))
            found[cause] = replace(old, units=old.units + units)
            told += units
    reasons = sorted(found.values(), key=lambda reason: -reason.units)
    if size(failed) > told:
        reasons.append(Reason("not looked at", size(failed) - told, failed[-1][0], ""))
    return tuple(reasons)


@dataclass(frozen=True)
class Unit:
    """All that is known of one unit: its record, every failed attempt in order, and why it was given up."""

    folder: str
    unit: int
    state: Literal["done", "failed", "leased", "waiting", "unknown"]
    record: Line | None
    failures: list[dict[str, Any]]
    verdict: dict[str, Any]


def look_at(store: Store, run: Run, unit: int) -> Unit:
    """What is known of ``unit``; SpecError where the run has no such unit."""
    if not 0 <= unit < run.units:
        raise SpecError(f"unit {unit}: this run has the units 0 to {run.units - 1}")
    record = records.read(store, Message(run, unit, unit + 1)).get(unit)
    given_up = next((span for span in records.dead(store, run) if span[0] <= unit < span[1]), None)
    return Unit(
        folder=run.folder,
        unit=unit,
        state="done" if record else "failed" if given_up else _whereabouts(store, run, unit),
        record=record,
        failures=records.failures(store, run, unit),
        verdict=records.verdict(store, run, *given_up) if given_up else {},
    )


def _whereabouts(store: Store, run: Run, unit: int) -> Literal["leased", "waiting", "unknown"]:
    held, _, _ = _held(run, records.queue_of(store, run))
    if held is None:
        return "unknown"
    return "leased" if shared([(unit, unit + 1)], held) else "waiting"


# A queue.


@dataclass(frozen=True)
class OnQueue:
    """What of one run is leased or dead on a queue, in messages, and how far the run is by its records."""

    folder: str
    stage: str
    units: int
    done: int | None  # None: its records cannot be read from here
    leased: int | None  # None: the back end cannot show it
    dead: int


def on_queue(store: Store, queue: Queue) -> list[OnQueue]:
    """The runs of which something is leased or dead on ``queue``; what only waits cannot be seen."""
    runs: dict[str, Run] = {}
    dead = Counter(_seen(runs, (letter.body for letter in queue.dead())))
    try:
        held: Counter[str] | None = Counter(_seen(runs, queue.held()))
    except SpecError:
        held = None
    return [
        OnQueue(
            folder=run.folder,
            stage=run.name,
            units=run.units,
            done=_done(store, run),
            leased=None if held is None else held[ident],
            dead=dead[ident],
        )
        for ident, run in sorted(runs.items())
    ]


def _seen(runs: dict[str, Run], bodies: Iterable[str]) -> Iterator[str]:
    """The id of the run of each of ``bodies`` that can be read; the runs are entered in ``runs``."""
    for message in map(Message.known, bodies):
        if message is not None:
            runs.setdefault(message.run.id, message.run)
            yield message.run.id


def _done(store: Store, run: Run) -> int | None:
    try:
        return records.done(store, run)
    except IgneousError:
        return None
