"""Stages that follow one another: what a request takes, step by step, here or on a queue.

A step is planned when the one before it is finished, for it may depend on what that left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from igneous_ng import history, records, run
from igneous_ng.io import IO
from igneous_ng.queues.protocol import Priority
from igneous_ng.records import Run
from igneous_ng.stage import Chain, Stage
from igneous_ng.store import Store
from igneous_ng.worker.crew import Crew
from igneous_ng.worker.events import Sink

log = logging.getLogger(__name__)
_LOOK_S = 1.0  # between two looks at a queue


def here(stage: Stage, processes: int, sink: Sink, missing: bool = False, crew: Crew | None = None) -> Iterator[Run]:
    """Execute each step on this machine, with ``processes`` children of one ``crew``; yield its run.

    With ``missing`` the newest run of each step is continued; only the first must have one. The single units of a
    chain are executed in this very process.
    """
    for number, step in enumerate(stage.steps(IO())):
        again = missing and (number == 0 or _begun(step))
        if isinstance(stage, Chain) and not again and len(step.units(IO())) == 1:
            yield run.inline(step)
        else:
            yield run.here(step, processes, sink, again, crew)


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
    :func:`run.enqueue`. DeadLetters where units of a step were given up: what follows would be wrong.
    """
    steps = stage.steps(IO())
    step: Stage | None = next(steps)
    number = 0
    while step is not None:
        ready = run.enqueue(step, queue, priority, missing and (number == 0 or _begun(step)), tell)
        yield ready
        step, number = next(steps, None), number + 1
        if step is not None or number > 1:
            wait(ready, sleep)


def wait(ready: Run, sleep: Callable[[float], None] = time.sleep) -> None:
    """Until others have finished a run; DeadLetters where units were given up."""
    store = Store()
    while not records.finished(store, ready):
        if records.dead(store, ready):
            raise run.DeadLetters(f"{ready.folder}: units were given up; `igneous-ng status` says why")
        sleep(_LOOK_S)


def _begun(step: Stage) -> bool:
    """Whether a run of this very request is recorded."""
    return history.same(Store(), run.plan(step).run) is not None
