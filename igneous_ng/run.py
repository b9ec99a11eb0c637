"""Plan a stage, put it on a queue, or execute it here. Knows stages only through the contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from igneous_ng import queues, records
from igneous_ng.errors import IgneousError, SpecError
from igneous_ng.io import IO
from igneous_ng.records import Run
from igneous_ng.stage import Stage, to_dict
from igneous_ng.worker import task
from igneous_ng.worker.supervisor import Event, Policy, Supervisor

_SAMPLED = 64


class DeadLetters(IgneousError):
    """Work ended, and some of it could not be done."""


class Preempted(IgneousError):
    """A signal ended the work; leases were given back."""


@dataclass(frozen=True)
class Plan:
    """A stage that was found possible: what would run, and the most memory that one task takes."""

    stage: Stage
    run: Run
    peak_bytes: int


def plan(stage: Stage) -> Plan:
    """Check that ``stage`` can run as it stands. Writes nothing."""
    io = IO()
    units = stage.units(io)
    if not len(units):
        raise SpecError(f"{stage.name}: there is nothing to do; does the roi touch the layer?")
    step = max(1, len(units) // _SAMPLED)
    peak = max(stage.peak_bytes(units[i], io) for i in range(0, len(units), step))
    if peak > stage.memory:
        raise SpecError(
            f"{stage.name}: a task would take {peak:,} bytes and memory is {stage.memory:,}; "
            "ask for less at once (a smaller cell, fewer mips), or give more --memory"
        )
    return Plan(stage, records.new_run(to_dict(stage), stage.home(), len(units)), peak)


def enqueue(stage: Stage, queue: str) -> Run:
    """Plan, prepare the outputs and put the messages on ``queue``."""
    target = queues.connect(queue)
    ready = _begin(stage)
    target.put(message.to_json() for message in ready.messages())
    return ready


def here(stage: Stage, processes: int = 1, sink: Callable[[Event], None] = lambda _: None) -> Run:
    """Plan, prepare and execute on this machine with ``processes`` children; DeadLetters where tasks failed."""
    ready = _begin(stage)
    queue = queues.connect(f"memory://{ready.id}")
    queue.put(message.to_json() for message in ready.messages())
    try:
        _work(Supervisor(queue, Policy(processes=processes), sink))
    finally:
        queue.purge()
    return ready


def inline(stage: Stage) -> Run:
    """Plan, prepare and execute in this very process, unit after unit; errors are raised as they come."""
    ready = _begin(stage)
    for message in ready.messages():
        task.execute(message, (), lambda _: None)
        last = message
    task.finish(last, ())
    return ready


def execute(queue: str, policy: Policy, sink: Callable[[Event], None] = lambda _: None) -> None:
    """Work on ``queue``; DeadLetters where some lie there at the end, Preempted where a signal came."""
    _work(Supervisor(queues.connect(queue), policy, sink))


def _begin(stage: Stage) -> Run:
    ready = plan(stage).run
    io = IO()
    stage.prepare(io)
    records.save(io.store, ready)
    return ready


def _work(supervisor: Supervisor) -> None:
    if not supervisor.work():
        raise Preempted("a signal came: leases were given back, finished units are recorded")
    dead = list(supervisor.queue.dead())
    if dead:
        raise DeadLetters(f"{len(dead)} message(s) could not be done; the first: {dead[0][1].strip()}")
