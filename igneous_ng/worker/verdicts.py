"""Why a child died, and whether what it was doing is tried again."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from typing import Any

from igneous_ng import words
from igneous_ng.records import Message
from igneous_ng.worker.events import Cause

TRIES = 5  # failures of its own that a unit may have,
DEFECT_TRIES = 3  # fewer where its program raised an error, which it will again,
TRANSIENT_TRIES = 10  # more where storage or network failed
DELIVERIES = 20  # holders that may vanish with a message: machines come and go
CAREFUL = 3  # from this delivery on, a message is taken apart: one of its units may be what ends its holders
_LONGEST_DELAY_S = 300.0
_FINAL = ("data", "request")
_TEXT = 16_000  # characters of a reason

_BY_SIGNAL: dict[int, Cause] = {
    signal.SIGSEGV: "segfault",
    signal.SIGBUS: "segfault",
    signal.SIGILL: "segfault",
    signal.SIGFPE: "segfault",
    signal.SIGABRT: "abort",
}


def cause_of_death(status: int, starved: bool) -> Cause:
    """Why a process ended with this status; ``starved``: the kernel killed for want of memory meanwhile."""
    if status >= 0:
        return "exit"
    if -status == signal.SIGKILL and starved:
        return "out of memory"
    return _BY_SIGNAL.get(-status, "killed")


def final(cause: Cause, tried: int) -> bool:
    """Whether a unit that failed for the ``tried``-th time, now for this cause, is given up."""
    return cause in _FINAL or tried >= {"exception": DEFECT_TRIES, "transient": TRANSIENT_TRIES}.get(cause, TRIES)


def again(unit: Message, failure: dict[str, Any], room: int) -> Message:
    """The message by which one failed unit is tried again; ``room`` is all the memory of this worker."""
    cause, tried = failure["cause"], failure["tried"]
    memory = unit.memory
    if cause == "out of memory":
        memory = min(room, 2 * max(unit.needs, failure.get("peak_bytes", 0)))
    suspicious = cause not in ("exception", "transient")
    return replace(unit, tried=tried, alone=unit.alone or suspicious, memory=memory, after=time.time() + delay(tried))


def delay(tried: int) -> float:
    """Seconds to wait after the ``tried``-th failure."""
    return float(min(_LONGEST_DELAY_S, 2.0 ** (tried - 1)))


def reason(unit: Message, failure: dict[str, Any]) -> str:
    """A dead letter's reason, in words."""
    peak = f", peak memory {words.amount(failure['peak_bytes'])}" if failure.get("peak_bytes") else ""
    units = f"unit {unit.lo}" if unit.hi == unit.lo + 1 else f"units {unit.lo}-{unit.hi}"
    head = f"{failure['cause']}: {unit.run.name}, {units}, attempt {failure['tried']}, on {failure['host']}{peak}"
    text = str(failure["text"]).strip()
    return f"{head}\n{text if len(text) <= _TEXT else text[:1000] + ' [...] ' + text[-_TEXT:]}"
