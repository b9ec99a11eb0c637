"""Leaving parts of long ranges to others: where a range takes too long, and at the end of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from igneous_ng.errors import TransientError
from igneous_ng.queues import Queue

if TYPE_CHECKING:
    from igneous_ng.worker.slot import Slot

_LONG_S = 900.0  # a holder keeps at most so much work,
_KEPT_S = 600.0  # and then so much of it
_CRUMB_S = 10.0  # less work than this is not divided
_LOOK_S = 15.0  # between looks whether others are idle


def kept(left: int, seconds: float, starving: bool) -> int | None:
    """How many of ``left`` units of ``seconds`` each a holder keeps; None: all of them.

    ``starving``: nothing waits on the queue, so other workers may have nothing to do.
    """
    if left * seconds > _LONG_S:
        return max(1, int(_KEPT_S / seconds))
    if starving and left > 1 and left * seconds > _CRUMB_S:
        return (left + 1) // 2
    return None


def share(slots: Sequence[Slot], queue: Queue) -> None:
    """Let each slot that has too much give some of it back."""
    now = time.monotonic()
    for slot in slots:
        job = slot.job
        if job is None or slot.state != "executing" or now - job.shared < _LOOK_S:
            continue
        seconds = job.seconds()
        if seconds is None or job.left() < 2:
            continue
        job.shared = now
        starving = False
        with suppress(TransientError):
            starving = queue.counts().waiting == 0
        count = kept(job.left() - len(job.started), seconds, starving)
        if count is not None:
            slot.keep(count)
