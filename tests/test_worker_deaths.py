"""Units that fail in every way there is, in real processes: classed, tried again as they deserve, or given up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from igneous_ng import queues, records, run, steering
from igneous_ng.store import Store
from igneous_ng.worker import machine, supervisor, verdicts
from igneous_ng.worker.events import Event
from igneous_ng.worker.policy import Policy
from tests.drill import data, diary, drill, expected, failed, recorded

__all__ = ["drill"]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts."""
    monkeypatch.setattr(verdicts, "delay", lambda _tried: 0.0)


def work(stage: Any, policy: Policy, url: str) -> tuple[records.Run, list[Event]]:
    """Enqueue and execute; dead letters are no error here."""
    events: list[Event] = []
    ready = run.enqueue(stage, url)
    try:
        run.execute(url, policy, events.append)
    except run.DeadLetters:
        assert list(queues.connect(url).dead())
    return ready, events


@pytest.mark.parametrize(
    ("kind", "cause", "tries", "word"),
    [
        ("exception", "exception", 3, "ValueError: a defect"),
        ("data", "data", 1, "the data is wrong"),
        ("request", "request", 1, "the request is wrong"),
        ("transient", "transient", 10, "the network is down"),
        ("memory", "out of memory", 5, "cannot allocate"),
        ("segfault", "segfault", 5, "Segmentation fault"),
        ("abort", "abort", 5, "Aborted"),
        ("exit", "exit", 5, "status 3"),
    ],
)
def test_a_unit_that_fails_for_ever_is_given_up_with_its_reason(
    drill: Any, tmp_path: Path, at_once: None, kind: str, cause: str, tries: int, word: str
) -> None:
    url = f"fq://{tmp_path}/queue"
    ready, events = work(drill(count=30, faults=(f"17:{kind}",)), Policy(processes=2), url)
    (letter,) = queues.connect(url).dead()
    assert letter.reason.startswith(f"{cause}: drill run, unit 17, attempt {tries}, on ")
    assert word in letter.reason
    assert diary(tmp_path)[17] == tries
    assert [event.kind for event in events if event.unit == 17 and event.cause] == ["failed"] * (tries - 1) + ["dead"]
    assert [failure["cause"] for failure in failed(ready, 17)] == [cause] * tries
    assert recorded(ready) == [unit for unit in range(30) if unit != 17]
    assert (records.dead(Store(), ready), records.settled(Store(), ready)) == ([(17, 18)], True)
    assert data(tmp_path) == expected(30, without=(17,))


@pytest.mark.parametrize("kind", ["exception", "transient", "memory", "segfault", "abort", "exit", "kill"])
def test_a_unit_that_fails_once_is_done_the_second_time(drill: Any, tmp_path: Path, at_once: None, kind: str) -> None:
    ready, _ = work(drill(count=30, faults=(f"17:{kind}:1",)), Policy(processes=2), f"fq://{tmp_path}/queue")
    assert recorded(ready) == list(range(30))
    assert data(tmp_path) == expected(30)
    assert diary(tmp_path)[17] == 2


@pytest.mark.long
def test_a_poison_unit_hurts_none_of_the_999_others(
    drill: Any, tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_LEAST_MESSAGES", 4)
    ready, _ = work(drill(count=1000, faults=("500:segfault",)), Policy(processes=2), f"fq://{tmp_path}/queue")
    assert ready.span == 250
    assert recorded(ready) == [unit for unit in range(1000) if unit != 500]
    assert data(tmp_path) == expected(1000, without=(500,))
    assert {unit: times for unit, times in diary(tmp_path).items() if times > 1} == {500: 5}


def test_a_dead_letter_that_is_retried_has_all_its_attempts_again(
    drill: Any, tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_LEAST_MESSAGES", 1)
    url = f"fq://{tmp_path}/queue"
    ready, _ = work(drill(count=9, faults=("4:segfault:8",)), Policy(), url)
    assert [failure["tried"] for failure in failed(ready, 4)] == [1, 2, 3, 4, 5]
    assert diary(tmp_path)[4] <= 6  # a first time with others under way, when none could be blamed
    queue = queues.connect(url)
    assert steering.retry(Store(), queue) == 1
    assert records.dead(Store(), ready) == []
    assert queue.counts() == queues.Counts(1, 0, 0)
    run.execute(url, Policy())
    assert recorded(ready) == list(range(9))
    assert data(tmp_path) == expected(9)


def test_a_kill_from_outside_is_no_failure_of_the_unit(drill: Any, tmp_path: Path, at_once: None) -> None:
    ready, events = work(drill(count=3, faults=("1:kill:7",)), Policy(), f"fq://{tmp_path}/queue")
    assert recorded(ready) == [0, 1, 2]
    assert failed(ready, 1) == []
    assert not [event for event in events if event.kind in ("failed", "dead")]


@pytest.mark.long
def test_what_kills_its_holder_twenty_times_is_given_up(drill: Any, tmp_path: Path, at_once: None) -> None:
    url = f"fq://{tmp_path}/queue"
    ready, _ = work(drill(count=3, faults=("1:kill",)), Policy(), url)
    (letter,) = queues.connect(url).dead()
    assert "20 holders of it vanished" in letter.reason
    assert recorded(ready) == [0, 2]
    assert records.settled(Store(), ready)


@pytest.mark.long
def test_a_unit_over_its_time_is_ended(drill: Any, tmp_path: Path, at_once: None) -> None:
    url = f"fq://{tmp_path}/queue"
    ready, _ = work(drill(count=4, faults=("2:hang",)), Policy(processes=2, time_limit=0.4), url)
    (letter,) = queues.connect(url).dead()
    assert letter.reason.startswith("time limit: drill run, unit 2, attempt 5")
    assert "more than 0.4 s" in letter.reason
    assert recorded(ready) == [0, 1, 3]


@pytest.mark.long
def test_memory_above_what_there_is_ends_the_greedy_one_and_not_its_neighbour(drill: Any, tmp_path: Path) -> None:
    url = f"fq://{tmp_path}/queue"
    policy = Policy(processes=2, memory=400_000_000)
    ready, events = work(drill(count=6, seconds=0.5, needs=10_000_000, faults=("2:eat600:1",)), policy, url)
    assert recorded(ready) == list(range(6))
    causes = {event.unit: event.cause for event in events if event.kind == "failed"}
    assert causes == {2: "out of memory"}
    (failure,) = failed(ready, 2)
    assert "all tasks may hold 400,000,000" in failure["text"]
    assert failure["peak_bytes"] > 200_000_000


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A real memory group of version 1 with 300 MB, where this machine lets one be made."""
    folder = Path(f"/sys/fs/cgroup/memory/drill-{os.getpid()}")
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text("300M")
    except OSError as error:
        pytest.skip(f"no memory group of version 1 can be made here ({error})")
    yield folder
    for _ in range(50):
        if not (folder / "cgroup.procs").read_text():
            break
        time.sleep(0.1)
    folder.rmdir()


@pytest.mark.long
def test_a_kill_by_the_kernel_for_memory_is_told_from_others(drill: Any, tmp_path: Path, cgroup: Path) -> None:
    url = f"fq://{tmp_path}/queue"
    ready = run.enqueue(drill(count=4, needs=10_000_000, faults=("2:eat600:1", "3:kill:1")), url)
    script = (
        f"open('{cgroup}/cgroup.procs', 'w').write('0')\n"
        "import sys; from igneous_ng import run; from igneous_ng.worker import machine\n"
        "from igneous_ng.worker.policy import Policy\n"
        "assert machine.Cgroup.mine().limit() == 300 << 20\n"
        "run.execute(sys.argv[1], Policy(memory=10 << 30))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [failure["cause"] for failure in failed(ready, 2)] == ["out of memory"]
    assert failed(ready, 3) == []
    assert recorded(ready) == [0, 1, 2, 3]


def stop_in_the_middle(url: str, tmp_path: Path, number: int, enough: int) -> float:
    """Start a worker with two processes, signal it once so many units computed; seconds until its leases were free."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "igneous_ng.cli", "execute", url, "-p", "2"], stderr=subprocess.PIPE
    )
    end = time.monotonic() + 60
    while not (tmp_path / "layer" / "diary.txt").exists() or diary(tmp_path, "computing").total() < enough:
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.3)
    worker.send_signal(number)
    begin = time.monotonic()
    while list((tmp_path / "queue" / "doing").iterdir()):
        assert time.monotonic() < begin + 20
        time.sleep(0.005)
    seconds = time.monotonic() - begin
    _, text = worker.communicate(timeout=30)
    assert worker.returncode == 75, text.decode()
    return seconds


@pytest.mark.parametrize("fault", ["gil", "hang"])
def test_leases_are_free_within_a_second_of_a_signal_whatever_a_kernel_does(
    drill: Any, tmp_path: Path, fault: str
) -> None:
    url = f"fq://{tmp_path}/queue"
    ready = run.enqueue(drill(count=2, faults=(f"0:{fault}:1", f"1:{fault}:1")), url)
    assert stop_in_the_middle(url, tmp_path, signal.SIGTERM, 2) < 1.0
    assert failed(ready, 0) == failed(ready, 1) == []
    run.execute(url, Policy(processes=2))
    assert data(tmp_path) == expected(2)
    assert [line["attempt"] for line in records.all_lines(Store(), ready)] == [1, 1]


@pytest.mark.parametrize("fault", ["gil", "hang"])
def test_a_worker_shows_that_it_lives_whatever_a_kernel_does(
    drill: Any, tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(supervisor, "_ALIVE_S", 0.1)
    limit = Policy(processes=1, time_limit=1.5)
    _, events = work(drill(count=1, faults=(f"0:{fault}:1",)), limit, f"fq://{tmp_path}/queue")
    kinds = [event.kind for event in events]
    assert kinds[kinds.index("started") : kinds.index("failed")].count("alive") >= 3


@pytest.mark.long
def test_a_signal_costs_at_most_one_computation_for_each_slot(drill: Any, tmp_path: Path) -> None:
    url = f"fq://{tmp_path}/queue"
    ready = run.enqueue(drill(count=3000, seconds=0.2, reading=0.1), url)
    stop_in_the_middle(url, tmp_path, signal.SIGTERM, 15)
    done = records.done(Store(), ready)
    assert done >= diary(tmp_path, "computing").total() - 2
    assert done > 5


def test_without_numbers_the_machine_says_how_much_memory_there_is() -> None:
    assert Policy().memory is None
    assert machine.granted_memory() > 0
