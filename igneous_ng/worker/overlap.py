"""Units that overlap: while one computes, the one before is written and the one after is read.

Each unit runs in a thread of its own. A turn lets one of them compute; it is given up inside the calls of its
``io`` and taken again on their return, by the unit that began first. So stages are written as if they were alone, and
a process downloads unit N + 1, computes unit N and uploads unit N - 1 at the same time.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count


class Turn:
    """Leave to compute. ``away_seconds`` is what its holders spent inside ``away``, waiting for storage."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._waiting: list[int] = []  # numbers of units, a heap
        self._numbers = count()
        self._local = threading.local()
        self.away_seconds = 0.0

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """For a unit's whole thread. It has no turn before its first ``away`` ends, for it begins by reading."""
        self._local.number = next(self._numbers)
        self._local.state = "reading"
        try:
            yield
        finally:
            if self._local.state == "computing":
                self._release()
            self._local.state = None

    @contextmanager
    def away(self) -> Iterator[None]:
        """While the block waits for storage others may compute. Nested, or in a thread without a unit: nothing."""
        before = getattr(self._local, "state", None)
        if before in (None, "away"):
            yield
            return
        if before == "computing":
            self._release()
        self._local.state = "away"
        start = time.monotonic()
        try:
            yield
        finally:
            self.away_seconds += time.monotonic() - start
            self._acquire()
            self._local.state = "computing"

    def _acquire(self) -> None:
        number = self._local.number
        with self._changed:
            heapq.heappush(self._waiting, number)
            self._changed.wait_for(lambda: not self._taken and self._waiting[0] == number)
            heapq.heappop(self._waiting)
            self._taken = True

    def _release(self) -> None:
        with self._changed:
            self._taken = False
            self._changed.notify_all()


class Depth:
    """How many units to have under way: one, unless much of their time is spent on storage and memory allows."""

    SHARE = 0.1

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy = 0.0
        self._away = 0.0

    def learn(self, seconds: float, away: float) -> None:
        """A unit took ``seconds``, of which it spent ``away`` on storage."""
        self._busy += seconds
        self._away += away

    def now(self) -> int:
        """Units to have under way."""
        return self._most if self._away > self.SHARE * self._busy else 1
