"""Plan a stage, put it on a queue, or execute it here. Knows stages only through the contract."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from igneous_ng import (
    catalog,
    dependence,
    environments,
    guards,
    history,
    inputs,
    queues,
    records,
    remote,
    steering,
    words,
)
from igneous_ng.errors import IgneousError, SpecError
from igneous_ng.io import IO
from igneous_ng.queues.protocol import Priority
from igneous_ng.records import Message, Run
from igneous_ng.spans import Spans
from igneous_ng.stage import Stage, sampled, to_dict
from igneous_ng.store import Store
from igneous_ng.subsets import Picked, Subset
from igneous_ng.worker import task
from igneous_ng.worker.crew import Crew
from igneous_ng.worker.events import Sink
from igneous_ng.worker.policy import Policy
from igneous_ng.worker.supervisor import Supervisor
from igneous_ng.worker.task import Task

log = logging.getLogger(__name__)

_IDLE_HERE_S = 0.5  # the queue is in this process: to look costs nothing


class DeadLetters(IgneousError):
    """Work ended, and some of it could not be done."""


class Preempted(IgneousError):
    """A signal ended the work; leases were given back."""


@dataclass(frozen=True)
class Plan:
    """A stage that was found possible, and what would run."""

    stage: Stage
    run: Run

    @property
    def peak_bytes(self) -> int:
        """The most memory that one task takes."""
        return self.run.peak_bytes


def plan(stage: Stage, subset: Subset | None = None) -> Plan:
    """Check that ``stage``, or what of it is in ``subset``, can run as it stands. Writes nothing."""
    remote.check_writable(stage.home())
    io = IO()
    units = stage.units(io)
    if subset is not None:
        if len(units) != subset.of:
            raise SpecError(
                f"{stage.name}: it had {subset.of} units and now there are {len(units)}: the layer was changed; "
                "run the stage as a whole"
            )
        units = Picked(units, subset)
    if not len(units) and subset is None:
        raise SpecError(f"{stage.name}: there is nothing to do; does the roi touch the layer?")
    sample = sampled(units)
    peak = max((stage.peak_bytes(unit, io) for unit in sample), default=0)
    if peak > stage.memory:
        raise SpecError(
            f"{stage.name}: a task would take {peak:,} bytes and memory is {stage.memory:,}; "
            "ask for less at once (a smaller cell, fewer mips), or give more --memory"
        )
    peaks = peak, max((stage.device_bytes(unit, io) for unit in sample), default=0)
    seconds = history.usual_seconds(io.store, stage.home(), stage.name)
    name = subset.name if subset is not None else ""
    new = records.new_run(to_dict(stage), stage.home(), len(units), seconds=seconds, peaks=peaks, subset=name)
    return Plan(stage, new)


def enqueue(
    stage: Stage,
    queue: str,
    priority: Priority = "normal",
    missing: bool = False,
    tell: Callable[[str], None] = log.info,
    subset: Subset | None = None,
) -> Run:
    """Plan, prepare the outputs and put the messages on ``queue``; the same request again does nothing twice.

    Where the newest run of the very request is on this queue, neither finished nor cancelled, it is continued: what
    it lacks is put unless it waits or is leased, dead letters are put back, and ``tell`` hears of it. A back end that
    cannot show its messages (SQS) gets more only when it has none. With ``missing`` the newest run of the request is
    continued wherever it was, a cancelled one too, and all that it lacks is put. Of a ``subset`` of the units likewise.
    """
    target, store = queues.connect(queue), Store()
    ready, known = _begin(stage, missing, (target.url, priority), subset)
    if not known:
        target.put(_bodies(ready, None, priority), priority=priority)
        return ready
    records.set_queue(store, ready, target.url, priority)
    target.put(())  # the queue may be another one, and new
    said = steering.continued(store, ready)
    if not missing and (count := steering.hidden(target)):
        tell(
            f"{said}; nothing was put, for {target.url} has {count} messages and cannot show which; --missing puts more"
        )
        return ready
    left = steering.lacking(store, ready, target)
    put = target.put(_bodies(ready, left, priority), priority=priority, unique=True)
    tell(f"{said}; {words.count(put, 'message')} put, what waits already or is leased was left as it is")
    return ready


def _bodies(ready: Run, left: Spans | None, priority: Priority) -> Iterator[str]:
    return (replace(message, priority=priority).to_json() for message in ready.messages(left))


def here(
    stage: Stage,
    processes: int = 1,
    sink: Sink = lambda _: None,
    missing: bool = False,
    crew: Crew | None = None,
    subset: Subset | None = None,
) -> Run:
    """Plan, prepare and execute on this machine with ``processes`` children; DeadLetters where tasks failed.

    With ``missing`` the newest run of the very request is continued instead. Several runs may have one ``crew``. Of a
    ``subset`` of the units likewise.
    """
    ready, known = _begin(stage, missing, subset=subset)
    queue = queues.connect(f"memory://{ready.id}")
    left = steering.lacking(Store(), ready) if known else None
    queue.put(message.to_json() for message in ready.messages(left))
    with _to_its_end(ready):
        try:
            _work(Supervisor(queue, Policy(processes=processes, idle=_IDLE_HERE_S), sink, crew))
        finally:
            queue.purge()
    return ready


def inline(stage: Stage, subset: Subset | None = None) -> Run:
    """Plan, prepare and execute in this very process, unit after unit; errors are raised as they come."""
    ready, _ = _begin(stage, missing=False, subset=subset)
    store = task.store_of(ready)
    with _to_its_end(ready):
        for message in ready.messages():
            Task(message, store, tell=_raise).execute()
        task.finish(Message(ready, 0, ready.units), store)
    return ready


@contextmanager
def _to_its_end(ready: Run) -> Iterator[None]:
    """Say of a run that is executed here, where that fails, that nobody works on it any more."""
    try:
        yield
    except BaseException:
        records.set_mark(Store(), ready, "stopped")
        raise


def _raise(event: str, details: dict[str, Any]) -> None:
    if event == "failed":
        raise details["error"]


def execute(queue: str, policy: Policy, sink: Sink = lambda _: None) -> None:
    """Work on ``queue``; DeadLetters where some lie there at the end, Preempted where a signal came."""
    _work(Supervisor(queues.connect(queue), policy, sink))


def _begin(
    stage: Stage, missing: bool, place: tuple[str, Priority] | None = None, subset: Subset | None = None
) -> tuple[Run, bool]:
    """The run to work on, and whether it was begun before; ``place`` is a queue and the priority there."""
    planned, io = plan(stage, subset).run, IO()
    found = steering.earlier(io.store, planned, missing, place and place[0])
    if found is not None:
        return found, True
    guards.check(io.store, planned, stage, subset)
    about = _about(io.store, stage)
    _prepare(_preparing(io.store, stage, subset), planned)
    if subset is not None:
        records.save_subset(io.store, planned, subset)
    if place is not None:
        records.set_queue(io.store, planned, *place)  # before the run can be seen: it is never without
    records.save(io.store, planned, about)
    _withdraw(io.store, planned, guards.rivals(io.store, planned, stage, subset))
    return planned, False


def _withdraw(store: Store, run: Run, rivals: list[Run]) -> None:
    """Cancel a run just begun where ``rivals`` were begun at the same moment: one of two sees the other, or both do."""
    if rivals:
        records.set_mark(store, run, "cancelled")
        raise SpecError(
            f"{run.name}: {rivals[0].name} {rivals[0].id} was begun in the same place at the same moment; "
            "give the command again when it is finished"
        )


def _preparing(store: Store, stage: Stage, subset: Subset | None) -> Stage:
    """The stage that prepares: of units that are run with other options than all (``Stage.local``) that of all."""
    if subset is None or not stage.local:
        return stage
    wholes = (run for run in history.runs(store, stage.home()) if run.name == stage.name and not run.subset)
    for run in wholes:
        if dependence.base(run) == dependence.base_of(stage) and not records.marked(store, run, "rolledback"):
            return catalog.decode(run.stage)
    return stage


def _prepare(stage: Stage, run: Run) -> None:
    """Prepare the outputs, and store what that read and wrote."""
    io = IO(Store(attic=f"{run.folder}/replaced"))
    stage.prepare(io)
    records.save_prepared(io.store, run, task.ledger(io))
    io.store.flush()


def _about(store: Store, stage: Stage) -> dict[str, Any]:
    """What is known of a run when it is made: who asked, when, the code, and what its inputs are now."""
    home = stage.home()
    environments.keep(store, home)
    found = [
        inputs.version(store, url) for url in stage.inputs(IO(store)) if url != home or store.exists(f"{home}/info")
    ]
    return {
        "planned": time.time(),
        "by": environments.person(),
        "host": environments.host(),
        "process": os.getpid(),
        "code": {**environments.own()["code"], **environments.revision()},
        "environment": environments.name(),
        "inputs": [{**one, **history.state(store, one["url"])} for one in found if one],
        "makes_data": stage.makes_data,
    }


def _work(supervisor: Supervisor) -> None:
    if not supervisor.work():
        raise Preempted("a signal came: leases were given back, finished units are recorded")
    dead = list(supervisor.queue.dead())
    if dead:
        raise DeadLetters(f"{len(dead)} message(s) could not be done; the first: {dead[0].reason.strip()}")
    if supervisor.unsettled:
        raise DeadLetters(
            f"the queue is empty, but units of {', '.join(supervisor.unsettled)} have no record; "
            "enqueue these by the same command with --missing"
        )
