"""How large an array is, from what waits: arithmetic by hand, and what is seen of real queues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from igneous_ng import queues, records, run
from igneous_ng.errors import SpecError
from igneous_ng.slurm_script import Script
from igneous_ng.slurm_size import Load, Part, Wishes, fitted, load, reachable
from igneous_ng.store import Store
from tests.drill import drill

__all__ = ["drill"]
HOUR = 3600.0


def size(messages: int, *parts: Part, **wishes: Any) -> tuple[int, int, float]:
    """Workers, MiB for each process, seconds."""
    found = fitted(Script(), Wishes(**wishes), Load(messages, parts))
    return found.workers, found.memory_mib, found.seconds


def part(units: int, seconds: float | None, peak: int = 1_000_000_000, device: int = 0) -> Part:
    return Part("mesh forge", units, seconds, peak, device)


def test_nothing_known_gives_the_defaults() -> None:
    assert size(0) == (10, 4096, 4 * HOUR)
    assert size(7) == (2, 4096, 4 * HOUR)  # a process for each message
    assert size(10_000) == (100, 4096, 4 * HOUR)


def test_an_hour_of_work_for_each_process() -> None:
    # 1,000 x 144 s = 40 h: 10 workers of 4 processes; an hour each, half as much again and ten minutes: 1 h 45 min
    assert size(1000, part(1000, 144.0)) == (10, 2560, 1.75 * HOUR)
    assert size(1000, part(1000, 144.0), cpus=8)[0] == 5
    assert size(12, part(1000, 144.0))[0] == 3  # no more processes than messages
    assert size(1000, part(1000, 1.0)) == (1, 2560, 0.5 * HOUR)  # 17 min, by four
    assert size(1000, part(500, 144.0), part(500, 144.0))[0] == 10
    assert size(1000, part(500, 144.0), part(500, None))[0] == 100


def test_a_limit_of_workers_makes_the_time_longer_up_to_four_hours() -> None:
    assert size(1000, part(1000, 144.0), at_once=5) == (5, 2560, 3.25 * HOUR)
    assert size(1000, part(1000, 144.0), at_once=1) == (1, 2560, 4 * HOUR)
    assert size(1000, part(1000, 144.0), workers=20, at_once=5) == (20, 2560, 3.25 * HOUR)


def test_ten_units_fit_into_the_time_limit() -> None:
    assert size(8, part(8, 2 * HOUR))[2] == 20.25 * HOUR


def test_memory_of_two_units_or_of_one_that_is_large() -> None:
    # (300 MB + 2 x 10 MB) / 0.9 = 340 MiB; (300 MB + 2 x 2 GB) / 0.9 is over 4 GiB, one unit is not;
    # (300 MB + 10 GB) / 0.9 = 10,915 MiB
    assert [size(8, part(8, 1.0, peak))[1] for peak in (10**7, 2 * 10**9, 10**10)] == [512, 4096, 11_008]
    assert size(8, part(8, 1.0, 10**7), part(8, 1.0, 10**10))[1] == 11_008


def test_what_the_user_says_holds() -> None:
    assert size(1000, part(1000, 144.0), workers=3, memory_mib=777, seconds=1234.0) == (3, 777, 1234.0)


def test_tasks_that_need_an_accelerator_are_not_given_to_workers_without() -> None:
    with pytest.raises(SpecError, match=r"mesh forge needs an accelerator with 2 GB; give --gpus 1"):
        size(8, part(8, 1.0, device=2 * 10**9))
    assert size(8, part(8, 1.0, device=2 * 10**9), gpus=1)[0] == 1
    assert size(8, part(8, 1.0, device=2 * 10**9), part(8, 1.0))[0] == 1


def test_what_is_seen_of_a_queue(drill: Any, tmp_path: Path) -> None:
    url = f"fq://{tmp_path}/queue"
    first = run.enqueue(drill(count=30, needs=5_000_000), url)
    second = run.enqueue(drill(layer=str(tmp_path / "other"), count=7, needs=9_000_000, seconds=0.0), url)
    queue = queues.connect(url)
    lease = queue.lease(60)
    found = load(Store(), queue)
    assert found.messages == 37
    by_units = sorted((one.units, one.peak_bytes, one.seconds) for one in found.parts)
    assert by_units == [(7, 9_000_000, None), (30, 5_000_000, None)]
    assert found.seconds is None
    assert lease is not None
    assert queue.counts() == queues.Counts(36, 1, 0)  # looking took nothing
    assert load(Store(), queue, second).parts == tuple(one for one in found.parts if one.units == 7)
    records.set_mark(Store(), second, "cancelled")
    assert [one.units for one in load(Store(), queue).parts] == [first.units]


def test_seconds_are_those_of_units_that_were_done(drill: Any, tmp_path: Path) -> None:
    run.inline(drill(count=5, seconds=0.05))
    url = f"fq://{tmp_path}/queue"
    run.enqueue(drill(count=20, seconds=0.05), url)
    (found,) = load(Store(), queues.connect(url)).parts
    assert found.seconds is not None
    assert 0.05 <= found.seconds < 30
    assert "drill run: 20 units left, about " in Load(20, (found,)).said()


def test_a_queue_that_nodes_cannot_reach() -> None:
    with pytest.raises(SpecError, match=r"in the memory of one process; workers on nodes reach fq://DIRECTORY"):
        reachable("memory://here")
    with pytest.raises(SpecError, match=r"is no kind of queue"):
        reachable("mem://here")
