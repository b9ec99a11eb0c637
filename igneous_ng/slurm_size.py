"""How many workers a queue is worth, for how long, and with how much memory: from the runs on it, as recorded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

from igneous_ng import history, queues, records, words
from igneous_ng.errors import IgneousError, SpecError
from igneous_ng.geometry import ceil_div
from igneous_ng.queues import Queue
from igneous_ng.records import Message, Run
from igneous_ng.slurm_script import CPUS, MEMORY_MIB, SECONDS, SHARE, SHORTEST_S, WORKERS, Script
from igneous_ng.spans import size
from igneous_ng.store import Store

AT_ONCE = 100  # workers at one time, where nobody says
_LOOKED_AT = 200  # waiting messages
_EACH_S = 3600.0  # work for one process: starting it and waiting for it in SLURM's queue should be worth it
_BASE = 300_000_000  # bytes of a process before it has read anything, with a share of the supervisor
_STEP_MIB = 256
_SPARE = 1.5  # of the time that the work should take
_UNITS = 10  # that must fit into a time limit, for the one in progress at its end is begun again


@dataclass(frozen=True)
class Part:
    """What is left of one run: ``units``, of about ``seconds`` each (None: nobody has done any yet)."""

    name: str
    units: int
    seconds: float | None
    peak_bytes: int
    device_bytes: int


@dataclass(frozen=True)
class Load:
    """What waits or is leased on a queue, in messages, and of which runs that is, as far as one can see."""

    messages: int
    parts: tuple[Part, ...] = ()

    @property
    def seconds(self) -> float | None:
        """The time of all of it in one process; None where that is not known of some part, or of all."""
        if not self.parts or any(part.seconds is None for part in self.parts):
            return None
        return sum(part.units * (part.seconds or 0.0) for part in self.parts)

    @property
    def longest(self) -> float:
        """The time of one unit of the slowest run; 0 where nobody knows."""
        return max((part.seconds or 0.0 for part in self.parts), default=0.0)

    def said(self) -> str:
        """A line for each run, for people."""
        lines = [f"{words.count(self.messages, 'message')} on the queue"]
        for part in self.parts:
            each = "nobody has done one yet" if part.seconds is None else f"about {words.duration(part.seconds)} each"
            memory = words.amount(part.peak_bytes)
            lines.append(f"{part.name}: {words.count(part.units, 'unit')} left, {each}; a task takes {memory}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Wishes:
    """What a user has said of the array; None: it is to be found out."""

    workers: int | None = None
    at_once: int | None = None
    cpus: int = CPUS
    memory_mib: int | None = None
    seconds: float | None = None
    gpus: int = 0


def reachable(url: str) -> Queue:
    """The queue at ``url``, if workers on other machines can reach it; else a SpecError."""
    found = queues.connect(url)
    if found.url.startswith("memory://"):
        raise SpecError(f"{url} is in the memory of one process; workers on nodes reach fq://DIRECTORY or sqs://NAME")
    return found


def load(store: Store, queue: Queue, run: Run | None = None) -> Load:
    """What is to be done on ``queue``: of ``run``, or else of the runs that can be seen there."""
    counts = queue.counts()
    runs = [run] if run is not None else _seen(queue)
    parts = tuple(part for part in (_part(store, one) for one in runs) if part.units)
    return Load(counts.waiting + counts.leased, parts)


def _seen(queue: Queue) -> list[Run]:
    """The runs of the leased and of some of the waiting messages; none where the back end shows no messages."""
    try:
        bodies: Iterable[str] = [*queue.held(), *queue.peek(_LOOKED_AT)]
    except SpecError:
        return []
    found = (Message.known(body) for body in bodies)
    runs = {message.run.id: message.run for message in found if message is not None}
    return list(runs.values())


def _part(store: Store, run: Run) -> Part:
    """What is left of a run by its records; all of it where they cannot be read from here."""
    try:
        over = records.finished(store, run) or records.marked(store, run, "cancelled")
        left = 0 if over else size(records.missing(store, run))
        seconds = history.usual_seconds(store, run.home, run.name)
    except IgneousError:
        left, seconds = run.units, None
    return Part(run.name, left, seconds, run.peak_bytes, run.device_bytes)


def fitted(script: Script, wishes: Wishes, found: Load) -> Script:
    """``script`` with as many workers as ``found`` is worth, and the memory and the time that it takes.

    An hour of work for each process, where it is known how long units take, and no more processes than messages. The
    time limit is half as much again as the work should take, at most four hours unless ten units take longer: who is
    not done by then is queued again.
    """
    _mind_devices(wishes, found)
    at_once = wishes.at_once or AT_ONCE
    workers = wishes.workers or min(at_once, _workers(found, wishes.cpus))
    peak = max((part.peak_bytes for part in found.parts), default=None)
    return dataclasses.replace(
        script,
        workers=workers,
        at_once=wishes.at_once,
        cpus=wishes.cpus,
        gpus=wishes.gpus,
        memory_mib=wishes.memory_mib or (MEMORY_MIB if peak is None else _memory(peak)),
        seconds=wishes.seconds or _time(found, min(at_once, workers) * wishes.cpus),
    )


def _mind_devices(wishes: Wishes, found: Load) -> None:
    """SpecError where nothing on the queue can be done for want of an accelerator."""
    if found.parts and not wishes.gpus and all(part.device_bytes for part in found.parts):
        part = found.parts[0]
        raise SpecError(
            f"{part.name} needs an accelerator with {words.amount(part.device_bytes)}; give --gpus 1, "
            "and a --partition that has them"
        )


def _workers(found: Load, cpus: int) -> int:
    """For each process an hour, or at least one message."""
    if not found.messages:
        return WORKERS
    processes = float(found.messages)
    if found.seconds is not None:
        processes = min(processes, found.seconds / _EACH_S)
    return max(1, math.ceil(processes / cpus))


def _memory(peak: int) -> int:
    """MiB for each process: of two units, one read while the other computes; where that is over the default, of one."""
    one, two = ((_BASE + units * peak) / SHARE / 2**20 for units in (1, 2))
    wanted = max(one, min(two, MEMORY_MIB))
    return ceil_div(math.ceil(wanted), _STEP_MIB) * _STEP_MIB


def _time(found: Load, processes: int) -> float:
    """Seconds, in whole quarters of an hour."""
    if found.seconds is None:
        return SECONDS
    wanted = _SPARE * found.seconds / processes + SHORTEST_S
    limited = max(min(wanted, SECONDS), _UNITS * found.longest + SHORTEST_S)
    return math.ceil(limited / 900) * 900
