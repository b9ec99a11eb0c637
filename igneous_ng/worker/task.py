"""Carry out one message: run its units that have no record, and store the records.

A record is stored after its unit's outputs and before anybody acknowledges the message, so a unit is
done exactly when its record exists. A unit that fails leaves the others alone.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from igneous_ng import catalog, environments, fences, guards, oserrors, provenance, records, redaction
from igneous_ng.errors import ConfigurationError, DataError, SpecError, TransientError
from igneous_ng.io import IO
from igneous_ng.records import Line, Message, Run
from igneous_ng.spans import Spans, joined
from igneous_ng.stage import Layer, Stage, plain
from igneous_ng.store import Store
from igneous_ng.subsets import Picked, Subset
from igneous_ng.worker.former import Former
from igneous_ng.worker.logs import captured
from igneous_ng.worker.meter import Meter
from igneous_ng.worker.overlap import Depth, Turn

_CHECKPOINT_S = 10.0
_LOOK_S = 5.0  # between looks for what the user wants
_MARGIN = 1.5  # a unit is begun only if so many times its usual seconds are left before the worker ends

Tell = Callable[[str, dict[str, Any]], None]
"""Takes the name of an event and its details."""


@dataclass
class Task:
    """The execution of one message in this process.

    ``store`` is the run's (:func:`store_of`).
    ``tell`` hears ``begun`` (spans of units without a record), ``started``, ``unit`` (with the record) and ``failed``
    (with the error). At most ``depth`` units are under way at once; none is begun that would not end before
    ``until``, judged by the ``longest`` that one took.
    """

    message: Message
    store: Store
    roots: tuple[str, ...] = ()
    attempt: int = 1
    depth: int = 1
    until: float | None = None
    longest: float = 0.0
    tell: Tell = lambda _name, _details: None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _todo: list[int] = field(default_factory=list)
    _lines: dict[int, Line] = field(default_factory=dict)
    _stopped: str = ""
    _error: BaseException | None = None
    _checkpointed: bool = False
    _former: Former = field(init=False)

    def __post_init__(self) -> None:
        self._turn, self._meter = Turn(), Meter()
        self._depth = Depth(self.depth)
        self._owner = uuid.uuid4().hex[:12]
        self._saved = self._looked = time.monotonic()

    def execute(self) -> str:
        """Run what is to be run; why the rest was left (``cancelled``, ``paused``, ``time``), or an empty string."""
        stage = checked_stage(self.message, self.roots)
        records.check_planned(self.store, self.message.run)
        if stage.makes_data:
            guards.check_folder(self.store, stage.home(), stage.home())  # it may be marked since the run was begun
        if word := self._mark():
            return word
        self._lines = records.read(self.store, self.message)
        self._checkpointed = bool(self._lines)
        self._todo = [unit for unit in range(self.message.lo, self.message.hi) if unit not in self._lines]
        self.tell("begun", {"missing": joined(self._todo)})
        if self._todo:
            subset = records.subset(self.store, self.message.run)
            self._former = Former(self.store, self.message, subset)
            self._run_all(stage, _units(stage, self.message.run, subset, self.store))
        self._write()
        return self._stopped

    def keep(self, count: int) -> Spans:
        """Leave all but the next ``count`` units that are not begun to others; the range that they get, if any."""
        with self._lock:
            if len(self._todo) <= count:
                return []
            lo, hi = self._todo[count], self.message.hi
            self._todo = self._todo[:count]
            self.message = replace(self.message, hi=lo)
            return [(lo, hi)]

    def stop(self) -> None:
        """Begin no more units."""
        self._stopped = self._stopped or "stopped"

    # Units, each in a thread while several are under way.

    def _run_all(self, stage: Stage, units: Sequence[Any]) -> None:
        threads: list[threading.Thread] = []
        while True:
            while len(threads) >= self._depth.now():
                threads[0].join()
                threads = [thread for thread in threads if thread.is_alive()]
            unit = self._next()
            if unit is None:
                break
            thread = threading.Thread(target=self._run, args=(stage, unit, units), name=f"unit {unit}")
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        if isinstance(self._error, ConfigurationError):
            self._write()  # what the message's other units did stays done, wherever it goes now
        if self._error is not None:
            raise self._error

    def _next(self) -> int | None:
        if not self._stopped and self._todo:
            self._stopped = self._late() or self._wanted()
        with self._lock:
            return None if self._stopped or not self._todo else self._todo.pop(0)

    def _late(self) -> str:
        enough = self.until is None or time.time() + _MARGIN * self.longest < self.until
        return "" if enough else "time"

    def _wanted(self) -> str:
        """As :meth:`_mark`, but looked up now and then."""
        if time.monotonic() - self._looked < _LOOK_S:
            return ""
        self._looked = time.monotonic()
        return self._mark()

    def _mark(self) -> str:
        """What the user wants of this run, if not that it be done."""
        run = self.message.run
        return next((word for word in ("cancelled", "paused") if records.marked(self.store, run, word)), "")

    def _run(self, stage: Stage, unit: int, units: Sequence[Any]) -> None:
        try:
            self._run_one(stage, unit, units)
        except BaseException as error:  # of storing a checkpoint, or of whoever is told
            self._error = error
            self._stopped = "error"

    def _run_one(self, stage: Stage, unit: int, units: Sequence[Any]) -> None:
        self.tell("started", {"unit": unit})
        io = IO(self.store, self._turn.away)
        start, away = time.time(), self._turn.away_seconds
        with captured() as log, self._meter.measured() as figures:
            error = self._attempt(stage, units, unit, io)
        if isinstance(error, ConfigurationError):
            raise error  # it is of this machine, not of the unit: the message goes back, for another worker
        seconds = time.time() - start
        self._depth.learn(seconds, self._turn.away_seconds - away)
        self.longest = max(self.longest, seconds)
        made_by = {"host": environments.host(), "environment": environments.name()}
        common = {"start": start, "seconds": seconds, **figures, **made_by, "log": log}
        if error is not None:
            self.tell("failed", {"unit": unit, "error": error, **common})
            return
        line = {"unit": unit, "attempt": self.attempt, "what": _what(units[unit]), **ledger(io), **common}
        with self._lock:
            self._lines[unit] = line
        self.tell("unit", {"unit": unit, "line": line})
        self._checkpoint()

    def _attempt(self, stage: Stage, units: Sequence[Any], unit: int, io: IO) -> Exception | None:
        """Execute one unit; its error, for a defect must reach the dead letters and not end the worker."""
        try:
            with self._turn.prepared():
                stage.execute(units[unit], io)
                self._former.clear(unit, io)
        except Exception as error:
            return error
        return None

    def _checkpoint(self) -> None:
        with self._lock:
            if not self._todo or time.monotonic() - self._saved < _CHECKPOINT_S:
                return
            self._saved = time.monotonic()
            self._checkpointed = True
            self.store.flush()
            records.checkpoint(self.store, self.message, self._lines, self._owner)

    def _write(self) -> None:
        write(self.store, self.message, self._lines)
        if self._checkpointed:
            records.drop_checkpoints(self.store, self.message)


def write(store: Store, message: Message, lines: dict[int, Line]) -> None:
    """Store the records of what was done of a message, a file for each range without a gap. Outputs are synced."""
    environments.keep(store, message.run.home)
    store.flush()
    for lo, hi in joined(lines):
        records.write(store, replace(message, lo=lo, hi=hi), {unit: lines[unit] for unit in range(lo, hi)})
    store.flush()


def finish(message: Message, store: Store, roots: tuple[str, ...] = (), full: set[str] | None = None) -> bool:
    """Publish the run's result if all its units are recorded; whether they were."""
    stage = checked_stage(message, roots)
    if not records.complete(store, message.run, message.lo, full):
        return False
    if not records.finished(store, message.run):
        try:
            _publish(stage, store, message.run)
        except TransientError:
            if not records.finished(store, message.run):  # else somebody else was quicker, and swept up
                raise
    store.sweep()
    return True


def _publish(stage: Stage, store: Store, run: Run) -> None:
    io = IO(store)
    stage.finish(io)
    store.flush()
    records.mark_finished(store, run, ledger(io))
    if stage.makes_data:
        provenance.publish(store, run.home)
    store.flush()


def store_of(run: Run) -> Store:
    """Where the tasks of a run write. Files are begun in its folder: what a killed process leaves is in no layer.

    What they replace is kept there, too.
    """
    return Store(attic=f"{run.folder}/replaced", scratch=f"{run.folder}/scratch")


def checked_stage(message: Message, roots: tuple[str, ...]) -> Stage:
    """The stage of a message, if it is what it says and keeps to ``roots``; else a SpecError."""
    stage = catalog.decode(message.run.stage)
    if stage.home() != message.run.home:
        raise SpecError(f"run {message.run.id} says its home is {message.run.home}, the stage {stage.home()}")
    for layer in sorted({v for v in vars(stage).values() if isinstance(v, Layer)} | {message.run.home}):
        if not under(layer, roots):
            raise SpecError(
                f"{fences.shown(layer)} is not under this worker's --root {', '.join(roots)}; run it elsewhere"
            )
    return stage


def under(layer: str, roots: tuple[str, ...]) -> bool:
    """Whether a worker with these ``roots`` may touch a layer, wherever links lead; without any it may touch all."""
    fences.check_name(layer)
    return fences.Fence(roots).holds(layer)


def blame(error: BaseException) -> dict[str, str]:
    """The cause of a failure, and its text: a trace where it is a defect."""
    causes = {SpecError: "request", DataError: "data", TransientError: "transient", MemoryError: "out of memory"}
    cause = next((word for kind, word in causes.items() if isinstance(error, kind)), "exception")
    if isinstance(error, OSError) and oserrors.passes(error):
        cause = "transient"
    text = "".join(traceback.format_exception(error)) if cause == "exception" else f"{type(error).__name__}: {error}"
    return {"cause": cause, "text": redaction.redacted(text)}


def _units(stage: Stage, run: Run, subset: Subset | None, store: Store) -> Sequence[Any]:
    units, planned = stage.units(IO(store)), subset.of if subset is not None else run.units
    if len(units) != planned:
        raise SpecError(
            f"run {run.id} was planned with {planned} units and now there are {len(units)}: "
            "its layer was changed meanwhile; enqueue the stage again"
        )
    return Picked(units, subset) if subset is not None else units


def _what(unit: Any) -> Any:
    return json.loads(json.dumps(plain(unit)))


def ledger(io: IO) -> dict[str, Any]:
    """What was read, written and noted, in JSON's types."""
    return dict(vars(io.ledger))
