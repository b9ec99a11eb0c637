"""Figures from records: exact for small runs, estimates that say so for large ones; speed against known histories."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from igneous_ng import evidence, records
from igneous_ng.evidence import Entry
from igneous_ng.records import Line, Message, Run
from igneous_ng.spans import size
from tests.test_records import Memory

RUN = Run("20260101T000000.000000-abcdef01", "file:///layer", {"stage": "s"}, 100, 10)


def line(unit: int, start: float = 0.0, seconds: float = 1.0, host: str = "a", **more: Any) -> Line:
    return {"unit": unit, "start": start, "seconds": seconds, "cpu_seconds": seconds / 2, "peak_bytes": 5,
            "host": host, **more}  # fmt: skip


def entries(lines: list[Line]) -> list[Entry]:
    return sorted((Entry(one, 0) for one in lines), key=lambda entry: -entry.end)


def test_a_small_run_is_read_whole() -> None:
    store = Memory()
    for lo in range(0, 50, 10):
        records.write(store, Message(RUN, lo, lo + 10), {u: line(u, u, host="ab"[u % 2]) for u in range(lo, lo + 10)})
    parts = {u: line(u, u, 30.0 if u == 53 else 1.0, peak_bytes=99) for u in range(50, 54)}
    records.checkpoint(store, Message(RUN, 50, 60), parts, "x")
    records.checkpoint(store, Message(RUN, 50, 60), {50: parts[50]}, "y")
    found = evidence.gather(store, RUN)
    assert (found.missing, found.exact, found.closed) == ([(54, 100)], True, 0)
    work = evidence.weigh(found, now=90.0)
    assert work is not None
    assert work.exact
    assert work.lines == 54
    assert work.cpu_seconds == 53 * 0.5 + 15
    assert work.peak_bytes == 99
    assert work.slowest[0] == evidence.Slow(53, 30.0, "a")
    assert {(host.name, host.units, host.last) for host in work.hosts} == {("a", 29, 83.0), ("b", 25, 50.0)}
    assert (work.first, work.last, work.usual_seconds) == (0.0, 83.0, 1.0)


def test_nothing_recorded_is_no_evidence() -> None:
    found = evidence.gather(Memory(), RUN)
    assert found.missing == [(0, 100)]
    assert evidence.weigh(found, 0.0) is None


def test_a_large_run_reads_few_files_and_counts_all() -> None:
    run, store = replace(RUN, units=100_000, span=100), Memory()
    rng = random.Random(0)
    total = 0.0
    for message in run.messages():
        if message.lo >= 90_000:
            continue
        lines = {u: line(u, rng.uniform(0, 9000), rng.expovariate(1)) for u in range(message.lo, message.hi)}
        total += sum(one["cpu_seconds"] for one in lines.values())
        records.write(store, message, lines)
    for number in range(60):
        lo = 90_000 + 100 * number
        records.checkpoint(store, Message(run, lo, lo + 100), {lo: line(lo, 9000)}, "x")
    store.opened.clear()
    found = evidence.gather(store, run)
    assert len(store.opened) == 2 * evidence.SAMPLE
    assert found.closed == 60 - evidence.SAMPLE
    assert size(found.missing) == 10_000 - evidence.SAMPLE
    work = evidence.weigh(found, 9001.0)
    assert work is not None
    assert not work.exact
    assert work.cpu_seconds == pytest.approx(total, rel=0.1)
    assert sum(host.units for host in work.hosts) == pytest.approx(90_050, abs=1)
    assert work.rate == pytest.approx(10.0, rel=0.1)


# Speed.


def test_steady_work_is_told_by_the_last_ten_minutes() -> None:
    found = entries([line(u, start=u) for u in range(3600)])
    assert evidence.speed(found, True, 3600.0) == pytest.approx((1.0, 600.0), rel=0.01)


def test_a_pause_of_a_night_does_not_count() -> None:
    before, after = [line(u, start=u) for u in range(1000)], [line(u, start=50_000 + u) for u in range(1000, 2000)]
    rate, window = evidence.speed(entries(before + after), True, 51_000.0 + 1000)
    assert (rate, window) == pytest.approx((1.0, 600.0), rel=0.01)


def test_few_units_are_told_from_the_beginning() -> None:
    found = entries([line(0, 100.0, 10.0), line(1, 100.0, 10.0)])
    assert evidence.speed(found, True, 112.0) == pytest.approx((2 / 12, 12.0))


def test_slow_units_take_a_longer_window() -> None:
    found = entries([line(u, start=600.0 * u, seconds=600.0) for u in range(144)])
    rate, window = evidence.speed(found, True, 144 * 600.0)
    assert (rate, window) == pytest.approx((1 / 600, 6 * 3600.0), rel=0.05)


def test_one_very_slow_unit_does_not_change_the_speed() -> None:
    lines = [line(u, start=u) for u in range(3000)]
    usual = evidence.speed(entries(lines), True, 3000.0)
    slow = evidence.speed(entries([*lines, line(3000, 0.0, 2999.0)]), True, 3000.0)
    assert slow == pytest.approx(usual, rel=0.01)


@pytest.mark.parametrize(("now", "known"), [(601.0, True), (602.5, False)])
def test_silence_is_no_evidence(now: float, known: bool) -> None:
    rate, _ = evidence.speed(entries([line(0, 0.0, 1.0), line(1, 1.0, 1.0)]), True, now)
    assert (rate is not None) == known


def test_slow_units_may_be_silent_for_longer() -> None:
    found = entries([line(0, 0.0, 1000.0)])
    assert evidence.speed(found, True, 5900.0)[0] is not None
    assert evidence.speed(found, True, 6100.0)[0] is None


def test_of_a_sample_a_window_needs_several_files() -> None:
    burst = [Entry(line(u, 9000.0 + u), 0, 10.0) for u in range(30)]
    older = [Entry(line(100 + u, 300.0 * u), 1 + u, 10.0) for u in range(30)]
    found = sorted([*burst, *older], key=lambda entry: -entry.end)
    assert evidence.speed(found, True, 9100.0)[1] == 600.0
    assert evidence.speed(found, False, 9100.0)[1] == 3600.0


def test_the_host_of_a_record_is_found_in_old_and_new_ones() -> None:
    assert evidence.host_of({"host": "a"}) == "a"
    assert evidence.host_of({}) == "unknown"
