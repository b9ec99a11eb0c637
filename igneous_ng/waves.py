"""Execution of the waves of a redo, each to its end: on this machine, or by others on a queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from igneous_ng import chains, history, records, run
from igneous_ng.records import Run
from igneous_ng.redo import Wave
from igneous_ng.store import Store
from igneous_ng.worker.crew import Crew
from igneous_ng.worker.events import Sink

Execute = Callable[[Wave], Run]


@contextmanager
def here(processes: int, sink: Sink) -> Iterator[Execute]:
    """Execute with ``processes`` children; what was begun by one who was killed is gone on with."""
    with Crew() as crew:
        crew.prepare()
        yield lambda wave: run.here(wave.stage, processes, sink, _begun(wave), crew, wave.subset)


@contextmanager
def on_queue(queue: str, tell: Callable[[str], None]) -> Iterator[Execute]:
    """Put units on ``queue``, and wait until others have executed them; DeadLetters where they gave some up."""

    def execute(wave: Wave) -> Run:
        ready = run.enqueue(wave.stage, queue, missing=_begun(wave), tell=tell, subset=wave.subset)
        tell(f"{ready.name}: {ready.units} units are on {queue}; waiting for `igneous-ng execute {queue}`")
        chains.wait(ready)
        return ready

    yield execute


def _begun(wave: Wave) -> bool:
    """Whether a run of these very units was begun and is not finished."""
    store = Store()
    found = history.same(store, run.plan(wave.stage, wave.subset).run)
    return found is not None and not records.finished(store, found)
