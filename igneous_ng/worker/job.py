"""One message in the hands of one slot: what is known of it, and what is owed to the queue when it is settled."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from igneous_ng.queues import Lease, Queue
from igneous_ng.records import Line, Message
from igneous_ng.spans import Spans, joined, shared, size, without


@dataclass
class Job:
    """A leased message; ``careful``: one unit at a time.

    ``given`` are the parts of its range that were left to others. ``owed`` is what it leaves behind when it is
    acknowledged: units to be tried again, and what a death left undone. Were it given back, it would hold all these.
    """

    queue: Queue
    lease: Lease
    message: Message
    depth: int = 1
    careful: bool = False
    renewed: float = field(default_factory=time.monotonic)
    started: dict[int, float] = field(default_factory=dict)
    lines: dict[int, Line] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    given: list[Message] = field(default_factory=list)
    owed: list[Message] = field(default_factory=list)
    verdict: str = ""
    progressed: float = field(default_factory=time.monotonic)
    peak_bytes: int = 0

    def __post_init__(self) -> None:
        self.missing: Spans = [(self.message.lo, self.message.hi)]
        self.shared = time.monotonic()
        self._whole = self.message.hi

    @property
    def narrowed(self) -> bool:
        """Whether a part of the range was left to others."""
        return self.message.hi < self._whole

    @property
    def charge(self) -> int:
        """Bytes of memory that are set aside for it."""
        return self.depth * self.message.needs

    def seconds(self) -> float | None:
        """The usual seconds of a unit; None before the first."""
        return statistics.median(line["seconds"] for line in self.lines.values()) if self.lines else None

    def left(self) -> int:
        """How many units are not finished."""
        return size(self.unfinished())

    def unfinished(self, suspects: Iterable[int] = ()) -> Spans:
        """The units of this message that have no record, and did not fail, without ``suspects``."""
        ended = {*self.lines, *(failure["unit"] for failure in self.failures), *suspects}
        return without(shared(self.missing, [(self.message.lo, self.message.hi)]), joined(ended))

    def unit(self, number: int) -> Message:
        """The message of one of its units."""
        return replace(self.message, lo=number, hi=number + 1)

    def parts(self, spans: Spans) -> list[Message]:
        """The messages of some ranges of its units."""
        return [replace(self.message, lo=lo, hi=hi) for lo, hi in spans]

    def give(self, spans: Spans) -> None:
        """Leave the end of the range to others, in halves."""
        for lo, hi in spans:
            middle = (lo + hi) // 2
            self.given += self.parts([(a, b) for a, b in ((lo, middle), (middle, hi)) if a < b])
            self.message = replace(self.message, hi=lo)

    def put(self, messages: list[Message]) -> None:
        """Put messages and empty the list. After a death some are put twice: the second finds the first's records."""
        while messages:
            self.queue.put([messages[0].to_json()], priority=messages[0].priority)
            del messages[0]
