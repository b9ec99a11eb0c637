"""What a worker says of itself. Progress bars, logs and metrics are sinks of these events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from igneous_ng.records import Message

Kind = Literal[
    "leased",  # a message was taken
    "started",  # a unit of it began
    "unit",  # a unit was finished; figures: seconds, cpu_seconds, peak_bytes, attempt
    "failed",  # an attempt at a unit failed and another will follow; cause and text say how
    "dead",  # a unit, or a message that no child could read, was given up; cause and text say why
    "split",  # a part of the message was given back for others; text says which
    "left",  # the message was given back untouched (paused, another version, no room); text says why
    "done",  # a message was acknowledged
    "idle",  # the queue has nothing; figures: seconds (until it is asked again)
    "alive",  # leases are being renewed and signals heard; every few seconds
]
Cause = Literal[
    "", "exception", "data", "request", "transient", "segfault", "abort", "out of memory", "killed", "time limit",
    "preemption", "exit", "version",
]  # fmt: skip


@dataclass(frozen=True)
class Event:
    """One thing that happened; ``slot`` is the number of the child that it happened to."""

    kind: Kind
    message: Message | None = None
    unit: int | None = None
    cause: Cause = ""
    text: str = ""
    slot: int = 0
    figures: dict[str, Any] = field(default_factory=dict)


Sink = Callable[[Event], None]
