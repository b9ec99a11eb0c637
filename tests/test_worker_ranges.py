"""Ranges of units: resumed, shared out, left when time is short, and taken apart when holders vanish."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from igneous_ng import queues, records, run
from igneous_ng.errors import ConfigurationError
from igneous_ng.records import Message
from igneous_ng.store import Store
from igneous_ng.worker import sharing, verdicts
from igneous_ng.worker.events import Event
from igneous_ng.worker.policy import Policy
from tests.drill import data, diary, drill, expected, recorded

__all__ = ["drill"]


@pytest.fixture(autouse=True)
def one_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of few messages."""
    monkeypatch.setattr(records, "_LEAST_MESSAGES", 1)


def enqueue(stage: Any, tmp_path: Path) -> tuple[str, records.Run]:
    url = f"fq://{tmp_path}/queue"
    return url, run.enqueue(stage, url)


def prefer(url: str, unit: int, priority: queues.Priority) -> None:
    """Put the message of one unit before or behind all others."""
    queue = queues.connect(url)
    leases = list(iter(lambda: queue.lease(60), None))
    for lease in leases:
        if Message.parse(lease.body).lo == unit:
            queue.put([lease.body], priority=priority)
            queue.done(lease)
        else:
            queue.release(lease)


def test_a_range_is_one_file_of_records_and_no_checkpoint_is_left(drill: Any, tmp_path: Path) -> None:
    url, ready = enqueue(drill(count=40), tmp_path)
    run.execute(url, Policy(processes=2))
    assert Store().list(f"{ready.folder}/records/0") == ["0-40.jsonl"]
    assert recorded(ready) == list(range(40))


def test_units_recorded_before_are_not_run_again(drill: Any, tmp_path: Path) -> None:
    url, ready = enqueue(drill(count=10), tmp_path)
    lines = {unit: {"unit": unit, "seconds": 0.0} for unit in (0, 1, 5)}
    records.checkpoint(Store(), Message(ready, 0, 10), lines, "another")
    run.execute(url, Policy())
    assert sorted(diary(tmp_path)) == [2, 3, 4, 6, 7, 8, 9]
    assert recorded(ready) == list(range(10))
    assert Store().list(f"{ready.folder}/records/0") == ["0-10.jsonl"]


def test_what_others_recorded_before_a_death_is_kept_for_good(
    drill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "delay", lambda _tried: 0.0)
    url, ready = enqueue(drill(count=10, faults=("4:segfault:1",)), tmp_path)
    lines = {unit: {"unit": unit, "seconds": 0.0} for unit in (0, 1)}
    records.checkpoint(Store(), Message(ready, 0, 10), lines, "another")
    run.execute(url, Policy())
    assert records.finished(Store(), ready)
    assert recorded(ready) == list(range(10))
    assert not [name for name in Store().list(f"{ready.folder}/records/0") if name.endswith(".part")]


def test_the_same_run_twice_on_a_queue_is_done_once(drill: Any, tmp_path: Path) -> None:
    url, ready = enqueue(drill(count=10), tmp_path)
    body = next(ready.messages()).to_json()
    queues.connect(url).put([body, body])
    run.execute(url, Policy())
    assert diary(tmp_path).total() == 10


def test_when_others_are_idle_a_holder_gives_half_of_its_range(
    drill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_CRUMB_S", 0.5)
    monkeypatch.setattr(sharing, "_LOOK_S", 0.1)
    url, ready = enqueue(drill(count=40, seconds=0.1), tmp_path)
    events: list[Event] = []
    run.execute(url, Policy(processes=2), events.append)
    assert any(event.kind == "split" for event in events)
    assert {event.slot for event in events if event.kind == "unit"} == {0, 1}
    assert diary(tmp_path).total() == 40
    assert recorded(ready) == list(range(40))
    assert data(tmp_path) == expected(40)


def test_a_range_that_takes_too_long_is_cut(drill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_LONG_S", 1.0)
    monkeypatch.setattr(sharing, "_KEPT_S", 0.5)
    monkeypatch.setattr(sharing, "_LOOK_S", 0.1)
    url, ready = enqueue(drill(count=30, seconds=0.1), tmp_path)
    run.execute(url, Policy(processes=1))
    assert len(Store().list(f"{ready.folder}/records/0")) >= 3
    assert diary(tmp_path).total() == 30
    assert recorded(ready) == list(range(30))


def test_reading_and_writing_overlap_with_computing(drill: Any, tmp_path: Path) -> None:
    url, _ = enqueue(drill(count=12, seconds=0.1, reading=0.1), tmp_path)
    run.execute(url, Policy(processes=1))
    moments: dict[str, dict[int, float]] = {}
    for line in (tmp_path / "layer" / "diary.txt").read_text().splitlines():
        what, unit, _, moment, _ = line.split()
        moments.setdefault(what, {})[int(unit)] = float(moment)
    turns = sorted(range(12), key=moments["computing"].__getitem__)  # who is read first computes first
    pairs = list(pairwise(turns))
    assert all(moments["computed"][one] <= moments["computing"][other] for one, other in pairs)  # one at a time
    assert sum(moments["began"][other] < moments["computed"][one] for one, other in pairs) >= 6  # read meanwhile
    assert data(tmp_path) == expected(12)


@pytest.mark.long
def test_a_worker_ends_before_the_batch_system_ends_it(drill: Any, tmp_path: Path) -> None:
    url, ready = enqueue(drill(count=1000, seconds=1.0), tmp_path)
    end = time.time() + 15.0
    with pytest.raises(run.Preempted):
        run.execute(url, Policy(processes=2, until=end))
    lines = (tmp_path / "layer" / "diary.txt").read_text().splitlines()
    assert max(float(line.split()[3]) for line in lines) < end
    done = records.done(Store(), ready)
    assert 1 <= done < 200
    assert diary(tmp_path).total() == done  # no unit was begun that could not end
    assert queues.connect(url).counts().leased == 0


def test_the_walltime_of_slurm_is_kept(drill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time())))
    url, ready = enqueue(drill(count=5), tmp_path)
    with pytest.raises(run.Preempted):
        run.execute(url, Policy())
    assert records.done(Store(), ready) == 0


def test_what_a_dead_worker_held_runs_again_within_its_lease_and_a_third(drill: Any, tmp_path: Path) -> None:
    url, _ = enqueue(drill(count=1, faults=("0:hang:1",)), tmp_path)
    worker = subprocess.Popen([sys.executable, "-m", "igneous_ng.cli", "execute", url, "--lease", "6"])
    while not (tmp_path / "layer" / "diary.txt").exists():
        time.sleep(0.02)
    time.sleep(2.5)  # a heartbeat later
    os.kill(worker.pid, signal.SIGKILL)
    died = time.time()
    worker.wait()
    run.execute(url, Policy(lease=6.0))
    began = [float(line.split()[3]) for line in (tmp_path / "layer" / "diary.txt").read_text().splitlines()]
    again = next(moment for moment in began if moment > died)
    assert 2.0 < again - died < 6.0 + 2.0 + 1.0  # and a second for processes to start


def test_a_message_that_loses_holders_is_taken_one_unit_at_a_time(drill: Any, tmp_path: Path) -> None:
    url, ready = enqueue(drill(count=8), tmp_path)
    queue = queues.connect(url)
    for _ in range(2):
        lease = queue.lease(60)
        assert lease is not None
        queue.release(lease, counts=True)
    events: list[Event] = []
    run.execute(url, Policy(), events.append)
    assert [event.text for event in events if event.kind == "split"] == ["units 2-8 are for others"] or [
        event.text for event in events if event.kind == "split"
    ] == ["units 1-8 are for others"]
    assert recorded(ready) == list(range(8))


def test_a_cancelled_run_is_dropped_and_a_paused_one_kept(drill: Any, tmp_path: Path) -> None:
    url, ready = enqueue(drill(count=4), tmp_path)
    records.set_mark(Store(), ready, "paused")
    worker = subprocess.Popen([sys.executable, "-m", "igneous_ng.cli", "execute", url])
    while not Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text():
        time.sleep(0.02)
    time.sleep(2)  # it has started its processes, and waits
    assert worker.poll() is None
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 75
    assert queues.connect(url).counts().waiting == 1
    records.clear_mark(Store(), ready, "paused")
    records.set_mark(Store(), ready, "cancelled")
    queues.connect(url).purge()
    queues.connect(url).put(message.to_json() for message in ready.messages())
    run.execute(url, Policy())
    assert queues.connect(url).counts() == queues.Counts(0, 0, 0)
    assert data(tmp_path) == {}


@pytest.mark.long
def test_a_run_cancelled_while_it_runs_stops_between_units(
    drill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, ready = enqueue(drill(count=100, seconds=0.2), tmp_path)

    def sink(event: Event) -> None:
        if event.kind == "unit" and event.unit == 2:
            records.set_mark(Store(), ready, "cancelled")

    begin = time.monotonic()
    run.execute(url, Policy(), sink)
    assert time.monotonic() - begin < 10
    assert 3 <= records.done(Store(), ready) < 40


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ('{"igneous_ng": 99, "run": {}}', "format 99"),
        ('{"stage": "drill run", "version": 7}', "version 7"),
        ('{"stage": "not here", "version": 1}', "no stage is called 'not here'"),
    ],
)
def test_messages_of_other_versions_are_left_for_others(drill: Any, tmp_path: Path, message: str, word: str) -> None:
    url, ready = enqueue(drill(count=2), tmp_path)
    if "igneous_ng" not in message:
        changed = {**ready.stage, **__import__("json").loads(message)}
        other = records.Run("other", ready.home, changed, 2, 2)
        message = next(other.messages()).to_json()
    queues.connect(url).put([message])
    events: list[Event] = []
    with pytest.raises(ConfigurationError, match=word):
        run.execute(url, Policy(), events.append)
    assert recorded(ready) == [0, 1]
    counts = queues.connect(url).counts()
    assert (counts.waiting, counts.leased, counts.dead) == (1, 0, 0)
    assert any(word in event.text for event in events if event.kind == "left")


@pytest.mark.parametrize("depth", [0.0, 0.3])
def test_what_a_machine_lacks_is_no_fault_of_the_unit(drill: Any, tmp_path: Path, depth: float) -> None:
    url, ready = enqueue(drill(count=5, faults=("2:configuration:1",), reading=depth), tmp_path)
    events: list[Event] = []
    with pytest.raises(ConfigurationError, match="this needs a program; install it"):
        run.execute(url, Policy(processes=1), events.append)
    assert {event.kind for event in events} & {"failed", "dead"} == set()
    counts = queues.connect(url).counts()
    assert (counts.leased, counts.dead) == (0, 0)
    assert counts.waiting > 0
    done = recorded(ready)
    assert 2 not in done
    assert {0, 1} <= set(done)
    assert all(not records.failures(Store(), ready, unit) for unit in range(5))


def test_a_message_that_needs_more_memory_than_there_is_is_left(drill: Any, tmp_path: Path) -> None:
    url, _ = enqueue(drill(count=2, needs=2_000_000_000), tmp_path)
    with pytest.raises(ConfigurationError, match="2,000,000,000 bytes of memory and this worker has 1,000,000,000"):
        run.execute(url, Policy(memory=1_000_000_000))
    assert queues.connect(url).counts().waiting == 1


def test_messages_wait_for_room(drill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_LEAST_MESSAGES", 1000)
    url, ready = enqueue(drill(count=6, seconds=0.2, needs=600_000_000), tmp_path)
    running: set[int | None] = set()
    most = 0

    def sink(event: Event) -> None:
        nonlocal most
        running.add(event.unit) if event.kind == "started" else running.discard(event.unit)
        most = max(most, len(running))

    run.execute(url, Policy(processes=3, memory=1_000_000_000), sink)
    assert most == 1
    assert recorded(ready) == list(range(6))


@pytest.mark.long
@pytest.mark.parametrize("turn", ["high", "low"])
def test_an_idle_worker_does_again_what_another_is_slow_with(
    turn: queues.Priority, drill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_LEAST_MESSAGES", 1000)
    url, ready = enqueue(drill(count=30, seconds=0.02, faults=("7:hang:1",)), tmp_path)
    prefer(url, 7, turn)  # what it is slow with is the first or the last thing that it does
    command = [sys.executable, "-m", "igneous_ng.cli", "execute", url, "-p", "1"]
    slow = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not (tmp_path / "layer" / "diary.txt").exists() or 7 not in diary(tmp_path):
        time.sleep(0.02)
    assert diary(tmp_path).total() == (1 if turn == "high" else 30)
    run.execute(url, Policy(speculate=True, idle=0.2))
    assert records.finished(Store(), ready)
    assert data(tmp_path) == expected(30)
    assert diary(tmp_path)[7] == 2
    slow.send_signal(signal.SIGTERM)
    assert slow.wait(10) == 75
    run.execute(url, Policy())  # the message of the slow one finds that all is done
    assert diary(tmp_path).total() == 31
    assert recorded(ready) == list(range(30))


def test_a_worker_that_waits_may_be_there_before_the_queue(drill: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "igneous_ng.cli", "execute", f"fq://{tmp_path}/queue", "--wait"]
    early = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert early.stderr is not None
    said = early.stderr.readline()
    assert "there is no queue at fq://" in said
    assert "This worker waits for it" in said
    _, ready = enqueue(drill(count=3), tmp_path)
    while not records.finished(Store(), ready):
        assert early.poll() is None
        time.sleep(0.1)
    early.terminate()
    assert early.communicate(timeout=20) is not None
    assert early.returncode == 75
    assert data(tmp_path) == expected(3)


def test_accelerators_have_a_process_each_and_only_their_own_work(
    drill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_LEAST_MESSAGES", 1000)
    url, ready = enqueue(drill(count=6, seconds=0.2, device=1000), tmp_path)
    run.execute(url, Policy(processes=1, gpus=("3", "5")))
    assert recorded(ready) == list(range(6))
    lines = [line.split() for line in (tmp_path / "layer" / "diary.txt").read_text().splitlines()]
    assert {line[4] for line in lines} == {"3", "5"}


def test_without_an_accelerator_its_work_is_left(drill: Any, tmp_path: Path) -> None:
    url, _ = enqueue(drill(count=2, device=1000), tmp_path)
    with pytest.raises(ConfigurationError, match="needs an accelerator with 1,000 bytes; give --gpus"):
        run.execute(url, Policy())
    assert queues.connect(url).counts().waiting == 1


def test_what_nobody_can_read_and_another_holds_is_waited_for(drill: Any, tmp_path: Path) -> None:
    url, ready = enqueue(drill(count=2), tmp_path)
    queue = queues.connect(url)
    queue.put(["not json"], priority="high")
    held = queue.lease(2.0)
    assert held is not None
    assert held.body == "not json"
    with pytest.raises(run.DeadLetters, match="not a message of igneous_ng"):
        run.execute(url, Policy(idle=0.2))
    assert recorded(ready) == [0, 1]
