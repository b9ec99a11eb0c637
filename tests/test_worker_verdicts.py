from __future__ import annotations

import signal
import time

import pytest

from igneous_ng.records import Message, Run
from igneous_ng.worker import verdicts
from igneous_ng.worker.events import Cause

UNIT = Message(Run("r", "file:///a", {"stage": "drill run"}, 10, 5, peak_bytes=100), 3, 4)


@pytest.mark.parametrize(
    ("status", "starved", "cause"),
    [
        (-signal.SIGSEGV, False, "segfault"),
        (-signal.SIGBUS, False, "segfault"),
        (-signal.SIGABRT, False, "abort"),
        (-signal.SIGABRT, True, "abort"),
        (-signal.SIGKILL, True, "out of memory"),
        (-signal.SIGKILL, False, "killed"),
        (-signal.SIGTERM, True, "killed"),
        (3, True, "exit"),
        (0, False, "exit"),
    ],
)
def test_a_death_is_classed_by_status_and_the_kernels_counter(status: int, starved: bool, cause: str) -> None:
    assert verdicts.cause_of_death(status, starved) == cause


@pytest.mark.parametrize(
    ("cause", "tries"),
    [
        ("data", 1),
        ("request", 1),
        ("exception", 3),
        ("segfault", 5),
        ("out of memory", 5),
        ("time limit", 5),
        ("transient", 10),
    ],
)
def test_each_cause_has_its_number_of_tries(cause: Cause, tries: int) -> None:
    assert [verdicts.final(cause, tried) for tried in range(1, 12)] == [tried >= tries for tried in range(1, 12)]


def test_out_of_memory_asks_for_twice_the_memory_and_never_more_than_there_is() -> None:
    unit, asked = UNIT, []
    for tried in range(1, 5):
        unit = verdicts.again(unit, {"cause": "out of memory", "tried": tried}, room=500)
        asked.append(unit.memory)
        assert unit.alone
    assert asked == [200, 400, 500, 500]
    assert verdicts.again(UNIT, {"cause": "out of memory", "tried": 1, "peak_bytes": 150}, 1000).memory == 300


def test_only_what_may_hurt_others_runs_alone() -> None:
    causes = ("exception", "transient", "segfault", "abort", "exit", "time limit")
    alone = {cause: verdicts.again(UNIT, {"cause": cause, "tried": 1}, 500).alone for cause in causes}
    assert [cause for cause in causes if not alone[cause]] == ["exception", "transient"]


def test_each_try_waits_longer_up_to_five_minutes() -> None:
    assert [verdicts.delay(tried) for tried in (1, 2, 3, 9, 10, 20)] == [1, 2, 4, 256, 300, 300]
    again = verdicts.again(UNIT, {"cause": "transient", "tried": 4}, 500)
    assert again.tried == 4
    assert 7 < again.after - time.time() < 8.1


def test_a_reason_says_cause_unit_attempt_host_and_memory_and_keeps_both_ends_of_a_trace() -> None:
    failure = {
        "cause": "segfault",
        "tried": 5,
        "host": "node7",
        "peak_bytes": 3e9,
        "text": "begin" + "x" * 99_999 + "end",
    }
    reason = verdicts.reason(UNIT, failure)
    assert reason.startswith("segfault: drill run, unit 3, attempt 5, on node7, peak memory 3 GB\nbegin")
    assert reason.endswith("xend")
    assert len(reason) < 20_000
