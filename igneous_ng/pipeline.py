"""Carry out a recipe: each step when those that it needs are finished; here, or on a queue side by side.

What was done is read from records, and nothing else is kept. So the program may be killed at any moment and started
again anywhere that sees the same storage: steps that are done are passed over, those begun are gone on with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from igneous_ng import catalog, chains, lineage, queues, records, run, steering, survey, words
from igneous_ng.errors import IgneousError, SpecError, TransientError
from igneous_ng.io import IO
from igneous_ng.queues.protocol import Priority
from igneous_ng.recipes import Recipe, Step
from igneous_ng.records import Run
from igneous_ng.stage import Stage
from igneous_ng.store import Store
from igneous_ng.worker.crew import Crew
from igneous_ng.worker.events import Sink

_LOOK_S = 1.0  # between two looks at the records of what is under way
_EMPTY_S = 60.0  # between two looks whether a queue lost what it was given
_TRIES = 20  # times in a row that storage or a queue may fail to answer


@dataclass(frozen=True)
class Change:
    """Something new of a step, in words for people."""

    step: str
    state: Literal["begun", "done", "trouble"]
    text: str
    run: Run | None = None


Tell = Callable[[Change], None]
Say = Callable[[str, Run | None], None]
"""Takes words, and the run that waits for workers now."""


class Place(Protocol):
    """Where steps are executed."""

    def begin(self, asked: Stage, stage: Stage, again: bool, say: Say) -> Run:
        """Begin ``stage``, or go on with its newest run; on return it is finished, or waits for workers."""

    def look(self, ready: Run) -> None:
        """Called now and then while a run is not finished."""


@dataclass(frozen=True)
class Here:
    """This machine: a step is finished before the next is begun."""

    processes: int
    sink: Sink
    crew: Crew | None = None

    def begin(self, asked: Stage, stage: Stage, again: bool, say: Say) -> Run:
        """Execute the stage to its end; DeadLetters where that cannot be."""
        say(f"{'goes on with' if again else 'begins'} {stage.name}", None)
        try:
            return chains.execute(asked, stage, self.processes, self.sink, again, self.crew)
        except run.DeadLetters as error:
            found = lineage.newest(Store(), stage)
            where = found.folder if found else stage.home()
            raise run.DeadLetters(f"{where}: {error}; `igneous-ng status {where}` says more") from error

    def look(self, ready: Run) -> None:
        """Nothing is under way."""


class Fleet:
    """A queue, and whoever works on it: all that can be done now waits there. Connecting changes nothing."""

    def __init__(self, queue: str, priority: Priority = "normal", clock: Callable[[], float] = time.monotonic) -> None:
        self._queue, self._priority, self._clock = queues.connect(queue), priority, clock
        self._looked: dict[str, float] = {}

    def begin(self, asked: Stage, stage: Stage, again: bool, say: Say) -> Run:  # noqa: ARG002
        """Put the stage on the queue; of a run that is there already, what nobody holds."""
        found, said = lineage.newest(Store(), stage) if again else None, list[str]()
        elsewhere = found is not None and (
            records.queue_of(Store(), found) != self._queue.url or records.marked(Store(), found, "cancelled")
        )
        ready = run.enqueue(stage, self._queue.url, self._priority, elsewhere, said.append)
        text = said[0] if said else f"{words.count(ready.units, 'task')} queued as run {ready.id}"
        say(f"{stage.name}: {text}", ready)
        return ready

    def look(self, ready: Run) -> None:
        """Put again what an unfinished run lacks, where the queue is empty: it was purged, or never given all."""
        now = self._clock()
        if now - self._looked.setdefault(ready.id, now) < _EMPTY_S:
            return
        self._looked[ready.id] = now
        counts = self._queue.counts()
        if not counts.waiting and not counts.leased and not records.finished(Store(), ready):
            run.enqueue(catalog.decode(ready.stage), self._queue.url, self._priority)


def carry_out(recipe: Recipe, place: Place, tell: Tell, sleep: Callable[[float], None] = time.sleep) -> None:
    """Do all steps that can be done; DeadLetters names those that cannot, and what is left because of them.

    What can be planned is planned first: where that is refused, nothing is begun. SpecError where all that cannot be
    done are wrong requests.
    """
    for view in survey.views(Store(), recipe):
        if view.state not in ("done", "waits") and (error := survey.forecast(view).error):
            raise error
    _Work(recipe, place, tell).go(sleep)


class _Work:
    """The steps under way, each a generator that is asked for more at every look; and those that ended."""

    def __init__(self, recipe: Recipe, place: Place, tell: Tell) -> None:
        self._recipe, self._place, self._tell = recipe, place, tell
        self._store = Store()
        self._going: dict[str, Generator[Run, None, Run]] = {}
        self._ends: dict[str, Run] = {}
        self._trouble: dict[str, str] = {}
        self._failed: dict[str, IgneousError] = {}
        self._unanswered = 0

    def go(self, sleep: Callable[[float], None]) -> None:
        """Look at all steps again and again, until nothing more can be done."""
        while True:
            for step in self._recipe.steps:
                if self._open(step):
                    self._move(step)
            if not any(self._open(step) and step.name not in self._trouble for step in self._recipe.steps):
                break
            sleep(_LOOK_S)
        if self._trouble:
            wrong = all(isinstance(self._failed.get(name), SpecError) for name in self._trouble)
            raise (SpecError if wrong else run.DeadLetters)(self._said())

    def _open(self, step: Step) -> bool:
        """Whether a step is neither over nor waits for another."""
        over = step.name in self._ends or step.name in self._failed
        return not over and all(name in self._ends for name in step.after) and not self._in_the_way(step)

    def _in_the_way(self, step: Step) -> bool:
        """Whether another step may publish in the same layer, where the storage lets only one do so at a time."""
        home = step.stage.home()
        going = self._going.keys() - self._trouble.keys() - {step.name}
        if home.startswith("file://") or step.name in self._going:
            return False
        return any(other.name in going and other.stage.home() == home for other in self._recipe.steps)

    def _move(self, step: Step) -> None:
        sources = [self._ends[name] for name in step.after]
        going = self._going.get(step.name) or _pursued(step, sources, self._place, self._tell)
        self._going[step.name] = going
        try:
            while records.finished(self._store, ready := next(going)):
                pass
            self._unanswered = 0
            self._mind(step.name, ready)
        except StopIteration as end:
            self._end(step.name)
            self._ends[step.name] = end.value
        except run.Preempted:
            raise
        except TransientError as error:
            self._unanswered += 1
            if self._unanswered > _TRIES:
                raise
            del self._going[step.name]  # it is taken up again from its records
            self._tell(Change(step.name, "begun", f"will be tried again: {error}"))
        except IgneousError as error:
            self._end(step.name)
            self._failed[step.name] = error
            self._note(step.name, str(error))

    def _end(self, name: str) -> None:
        del self._going[name]
        self._trouble.pop(name, None)

    def _mind(self, name: str, ready: Run) -> None:
        """See whether an unfinished run is in trouble, which may pass: dead letters can be put back meanwhile."""
        if why := chains.trouble(self._store, ready):
            self._note(name, f"{ready.folder}: {why}; `igneous-ng status {ready.folder}` says more", ready)
            return
        self._trouble.pop(name, None)
        self._place.look(ready)

    def _note(self, name: str, text: str, ready: Run | None = None) -> None:
        if self._trouble.get(name) != text:
            self._tell(Change(name, "trouble", text, ready))
        self._trouble[name] = text

    def _said(self) -> str:
        undone = [step.name for step in self._recipe.steps if step.name not in self._ends]
        left = ", ".join(name for name in undone if name not in self._trouble)
        said = "; ".join(f"step {name}: {text}" for name, text in self._trouble.items())
        waiting = f"; because of that left undone: {left}" if left else ""
        return f"{said}{waiting}. Mend the cause and give the same command again: what is done stays done"


def _pursued(step: Step, sources: Sequence[Run], place: Place, tell: Tell) -> Generator[Run, None, Run]:
    """Do what is left of a step, yielding its present run at every look; returns its last run when that is finished."""
    store, runs = Store(), list[Run]()
    stand, left = survey.reached(store, step.stage, sources)
    if left is None:
        tell(Change(step.name, "done", f"is done already, by run {stand[-1].id}", stand[-1]))
        return stand[-1]

    def begin(_number: int, stage: Stage) -> Run:
        runs.append(_begun(step, stage, runs[-1:] or sources, place, tell))
        return runs[-1]

    yield from chains.followed(step.stage, begin)
    while not records.finished(store, runs[-1]):
        yield runs[-1]
    if len(runs) > 1:
        lineage.close(store, step.stage, runs)
    said = catalog.decode(runs[-1].stage).said(IO())
    tell(Change(step.name, "done", f"is done{': ' if said else ''}{said}", runs[-1]))
    return runs[-1]


def _begun(step: Step, stage: Stage, sources: Sequence[Run], place: Place, tell: Tell) -> Run:
    """The newest run of a stage if it stands; else that is gone on with, or another begun where it saw older inputs."""
    store, found = Store(), lineage.newest(Store(), stage)
    over = found is not None and records.finished(store, found)
    if found is not None:
        newer = lineage.unseen(store, found, sources)
        if over and newer is None:
            return found
        if newer is not None:
            tell(Change(step.name, "begun", f"is to be done anew: {newer.name} was run since ({newer.folder})"))
        if newer is not None or found.units != len(stage.units(IO())):
            if not over:
                steering.cancel(store, found)  # workers shall not go on with what is wrong now
            found = None

    def say(text: str, ready: Run | None) -> None:
        tell(Change(step.name, "begun", text, ready))

    ready = place.begin(step.stage, stage, found is not None, say)
    lineage.enter(store, ready, sources)
    return ready
