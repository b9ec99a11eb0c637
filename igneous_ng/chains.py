"""Stages that follow one another: what a request takes, step by step, here or on a queue.

A step is planned when the one before it is finished, for it may depend on what that left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from igneous_ng import history, lineage, records, run
from igneous_ng.io import IO
from igneous_ng.queues.protocol import Priority
from igneous_ng.records import Run
from igneous_ng.stage import Chain, Stage
from igneous_ng.store import Store
from igneous_ng.worker.crew import Crew
from igneous_ng.worker.events import Sink

log = logging.getLogger(__name__)
_LOOK_S = 1.0  # between two looks at a queue

Begin = Callable[[int, Stage], Run]
"""Begins, or goes on with, a step, given its number; on return it may be executed already, or wait for workers."""


def followed(stage: Stage, begin: Begin) -> Iterator[Run]:
    """Begin each step of ``stage`` when the one before is finished; yield its run, again and again until it is.

    Whoever asks for more waits meanwhile, or follows others: nothing is waited for here. The last run is yielded once.
    """
    store, steps = Store(), stage.steps(IO())
    step: Stage | None = next(steps)
    number = 0
    while step is not None:
        ready = begin(number, step)
        yield ready
        step, number = next(steps, None), number + 1
        while step is not None and not records.finished(store, ready):
            yield ready


def trouble(store: Store, ready: Run) -> str:
    """Why an unfinished run will not be finished unless somebody acts; empty where that is not so."""
    if records.dead(store, ready):
        return "units were given up"
    return "it was cancelled" if records.marked(store, ready, "cancelled") else ""


def here(stage: Stage, processes: int, sink: Sink, missing: bool = False, crew: Crew | None = None) -> Iterator[Run]:
    """Execute each step on this machine, with ``processes`` children of one ``crew``; yield its run.

    With ``missing`` the newest run of each step is continued; only the first must have one.
    """

    def begin(number: int, step: Stage) -> Run:
        return execute(stage, step, processes, sink, missing and (number == 0 or _begun(step)), crew)

    return _attended(stage, begin, time.sleep)


def execute(
    asked: Stage, step: Stage, processes: int, sink: Sink, missing: bool = False, crew: Crew | None = None
) -> Run:
    """Execute a ``step`` of what was ``asked`` on this machine; single units of a chain in this very process."""
    if isinstance(asked, Chain) and not missing and len(step.units(IO())) == 1:
        return run.inline(step)
    return run.here(step, processes, sink, missing, crew)


def queued(
    stage: Stage,
    queue: str,
    priority: Priority = "normal",
    missing: bool = False,
    tell: Callable[[str], None] = log.info,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Run]:
    """Put each step on ``queue`` when the one before it is finished, for others to execute; yield its run.

    Of several steps the last one is waited for, too; a single one is not. ``missing`` and ``tell`` are as in
    :func:`run.enqueue`. DeadLetters where units of a step were given up, or it was cancelled: what follows would be
    wrong.
    """

    def begin(number: int, step: Stage) -> Run:
        return run.enqueue(step, queue, priority, missing and (number == 0 or _begun(step)), tell)

    return _attended(stage, begin, sleep)


def wait(ready: Run, sleep: Callable[[float], None] = time.sleep) -> None:
    """Until others have finished a run; DeadLetters where units were given up, or it was cancelled."""
    store = Store()
    while not records.finished(store, ready):
        _wait(store, ready, sleep)


def _attended(stage: Stage, begin: Begin, sleep: Callable[[float], None]) -> Iterator[Run]:
    """The run of each step; waits for it to be finished where others follow or went before."""
    store = Store()
    runs: list[Run] = []
    for ready in followed(stage, begin):
        if ready not in runs:
            runs.append(ready)
            yield ready
        else:
            _wait(store, ready, sleep)
    if len(runs) > 1:
        while not records.finished(store, runs[-1]):
            _wait(store, runs[-1], sleep)
        lineage.close(store, stage, runs)


def _wait(store: Store, ready: Run, sleep: Callable[[float], None]) -> None:
    if why := trouble(store, ready):
        raise run.DeadLetters(f"{ready.folder}: {why}; `igneous-ng status {ready.folder}` says more")
    sleep(_LOOK_S)


def _begun(step: Stage) -> bool:
    """Whether a run of this very request is recorded."""
    return history.same(Store(), run.plan(step).run) is not None
