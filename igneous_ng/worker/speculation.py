"""Doing again what others are slow with, once there is nothing else to do.

The rule is that of MapReduce's backup tasks (Dean and Ghemawat, OSDI 2004, section 3.6), with cubed's figures: half of
the run is done, and the unit has been under way for three times the usual seconds. Outputs are equal and the
first record wins, so neither of the two has to know of the other.
"""

from __future__ import annotations

import random
import statistics
import uuid
from collections.abc import Iterable
from itertools import islice

from igneous_ng import records
from igneous_ng.queues.memory import MemoryQueue
from igneous_ng.records import Message, Run
from igneous_ng.spans import size, without
from igneous_ng.store import Store
from igneous_ng.worker.job import Job

PATIENCE = 3.0  # times the usual seconds
_LEAST = 10  # units done, to know what is usual
_SAMPLE = 1000


def straggler(store: Store, runs: Iterable[Run]) -> tuple[Message, float] | None:
    """One unit that somebody else has in hand, and the usual seconds of its kind; None: there is none to be sure of."""
    for run in runs:
        if any(records.marked(store, run, word) for word in ("finished", "cancelled", "paused")):
            continue
        left = without(records.missing(store, run), records.dead(store, run))
        done = run.units - size(left)
        if left and done >= max(_LEAST, run.units / 2):
            seconds = statistics.median(line["seconds"] for line in islice(records.all_lines(store, run), _SAMPLE))
            lo, hi = random.choice(left)  # noqa: S311 - so that idle workers choose differently
            unit = random.randrange(lo, hi)  # noqa: S311
            return Message(run, unit, unit + 1), seconds
    return None


def private(message: Message, seconds: float) -> Job:
    """A job that no queue knows of."""
    queue = MemoryQueue(f"speculation-{uuid.uuid4().hex}")
    queue.put([message.to_json()])
    lease = queue.lease(seconds)
    assert lease is not None
    return Job(queue, lease, message)
