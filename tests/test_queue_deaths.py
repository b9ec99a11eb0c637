"""The queue in a directory under death: before every change to the file system, by kill -9, among processes."""

from __future__ import annotations

import builtins
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest

from igneous_ng.queues import Counts, Lease, files
from igneous_ng.queues.posix import PAGE, PosixQueue
from tests.queue_harness import age, tree

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue"


# Death at every step.


class Death(BaseException):
    """The process is no more: nothing may catch it, and nothing works after it."""


class Mortal:
    """Every call that changes the file system, counted; from the k-th on, all of them die."""

    CALLS = ("mkdir", "rename", "unlink", "rmdir", "utime", "fsync", "link", "replace", "remove")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, last: int) -> None:
        self.left, self.dead = last, False
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self.guard(getattr(os, name)))
        monkeypatch.setattr(files, "open", self.open, raising=False)

    def tick(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.dead = True
            raise Death

    def guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            self.tick()
            return call(*args, **options)

        return guarded

    def open(self, path: str, mode: str) -> Any:
        if mode == "rb":
            return builtins.open(path, mode)
        self.tick()
        return Dying(self, path, mode)


class Dying:
    """A file being written by a process that may die halfway through a write."""

    def __init__(self, mortal: Mortal, path: str, mode: str) -> None:
        self.mortal = mortal
        self.file = builtins.open(path, mode, buffering=0)  # noqa: SIM115 closed by __exit__

    def __enter__(self) -> Dying:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        self.file.write(data[: len(data) // 2])
        self.mortal.tick()
        self.file.write(data[len(data) // 2 :])

    def flush(self) -> None:
        self.file.flush()

    def fileno(self) -> int:
        return self.file.fileno()


class History:
    """One of everything a queue's users do, and what they may rely on when they die."""

    def __init__(self) -> None:
        self.asked: set[str] = set()  # put was called
        self.given: set[str] = set()  # put returned
        self.tried: set[str] = set()  # done was called
        self.acked: set[str] = set()  # done returned True

    def put(self, queue: PosixQueue, *bodies: str) -> None:
        self.asked |= set(bodies)
        assert queue.put(bodies) == len(bodies)
        self.given |= set(bodies)

    def done(self, queue: PosixQueue) -> None:
        lease = queue.lease(60)
        assert lease is not None
        self.tried.add(lease.body)
        assert queue.renew(lease, 60)
        assert queue.renew(lease, 90)
        assert queue.done(lease)
        self.acked.add(lease.body)

    def live(self, path: Path) -> None:
        queue = PosixQueue(str(path))
        self.put(queue, "one", "two", "three", "four")
        self.done(queue)
        ends: list[Callable[[Lease], bool]] = [
            lambda lease: queue.release(lease),
            lambda lease: queue.release(lease, counts=True),
            lambda lease: queue.fail(lease, "a reason"),
            lambda lease: True,  # held until it expires
        ]
        for end in ends:
            lease = queue.lease(60)
            assert lease is not None
            assert end(lease)
        self.put(queue, "five")
        age(path, 100)
        queue.counts()
        self.done(queue)
        queue.lease(60)
        queue.release_all()
        queue.retry_dead()
        self.done(queue)


def bequest(path: Path) -> tuple[list[str], dict[str, str]]:
    """What a new process finds after all leases expired: (bodies it may hold at one time, dead letters)."""
    if (path / "doing").exists():
        age(path, 1000)
    queue = PosixQueue(str(path))
    queue.put([])
    held = []
    while (lease := queue.lease(60)) is not None:
        held.append(lease)
    letters = dict(queue.dead())
    assert queue.counts() == Counts(0, len(held), len(letters))
    assert all(queue.done(lease) for lease in held)
    assert queue.counts() == Counts(0, 0, len(letters))
    return [lease.body for lease in held], letters


def test_death_before_any_change_loses_and_doubles_nothing(path: Path) -> None:
    for last in count(1):
        shutil.rmtree(path, ignore_errors=True)
        history = History()
        with pytest.MonkeyPatch.context() as monkeypatch:
            mortal = Mortal(monkeypatch, last)
            with suppress(Death):
                history.live(path)
        held, letters = bequest(path)
        found = [*held, *letters]
        assert len(found) == len(set(found)), last
        assert history.given - history.tried <= set(found) <= history.asked - history.acked, last
        assert set(letters.values()) <= {"a reason"}, last
        if not mortal.dead:
            break
    assert last > 80  # every call was reached, and the history ran to its end


def test_death_in_a_purge_leaves_a_queue_that_works(path: Path) -> None:
    for last in count(1):
        shutil.rmtree(path, ignore_errors=True)
        queue = PosixQueue(str(path))
        queue.put(["one", "two", "three"])
        lease = queue.lease(60)
        assert lease is not None
        queue.fail(lease, "a reason")
        queue.lease(60)
        with pytest.MonkeyPatch.context() as monkeypatch:
            mortal = Mortal(monkeypatch, last)
            with suppress(Death):
                queue.purge()
        PosixQueue(str(path)).put(["new"])
        held, letters = bequest(path)
        assert "new" in held
        assert set(held) | set(letters) <= {"one", "two", "three", "new"}
        if not mortal.dead:
            assert (held, letters) == (["new"], {})
            break


# Many processes.


def work(path: str, log: str, lease_s: float, pause_s: float) -> None:
    """A worker: write down each body, then acknowledge it, until nothing waits and nothing is leased."""
    queue = PosixQueue(path)
    with open(log, "a", buffering=1) as lines:
        while queue.counts() != Counts(0, 0, 0):
            while (lease := queue.lease(lease_s)) is not None:
                time.sleep(pause_s)
                lines.write(f"{lease.body} {lease.attempt}\n")
                queue.done(lease)
            time.sleep(0.02)


def started(path: Path, log: Path, lease_s: float, pause_s: float) -> SpawnProcess:
    process = SPAWN.Process(target=work, args=(str(path), str(log), lease_s, pause_s))
    process.start()
    return process


def logged(folder: Path) -> list[list[str]]:
    return [line.split() for log in folder.glob("*.log") for line in log.read_text().splitlines()]


def test_processes_share_the_messages_and_each_is_done_once(path: Path, tmp_path: Path) -> None:
    total = 3 * PAGE + 7
    PosixQueue(str(path)).put(str(i) for i in range(total))
    workers = [started(path, tmp_path / f"{i}.log", 60, 0) for i in range(3)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(logged(tmp_path)) == sorted([str(i), "1"] for i in range(total))
    assert tree(path) == ["dead", "doing", "queue.json", "tmp", "todo"]


def test_kill_9_of_holders_loses_nothing(path: Path, tmp_path: Path) -> None:
    total, kills = 300, 12
    PosixQueue(str(path)).put(str(i) for i in range(total))
    chance = random.Random(1)
    workers = [started(path, tmp_path / f"{i}.log", 2, 0.005) for i in range(2)]
    names = count(2)
    for _ in range(kills):
        time.sleep(chance.uniform(0.05, 0.3))
        victim = workers.pop(chance.randrange(len(workers)))
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        workers.append(started(path, tmp_path / f"{next(names)}.log", 2, 0.005))
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    done = logged(tmp_path)
    assert {body for body, _ in done} == {str(i) for i in range(total)}
    assert all(number == 1 for number in Counter(map(tuple, done)).values())  # no attempt was given to two
    assert tree(path) == ["dead", "doing", "queue.json", "tmp", "todo"]
