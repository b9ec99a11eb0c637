"""The queue in a directory under death: before every change to the file system, by kill -9, among processes."""

from __future__ import annotations

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
from igneous_ng.queues.directory import PAGE
from igneous_ng.queues.posix import PosixQueue
from tests.queue_harness import PosixStand, Watched, taken, tree

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue"


# Death at every step.


class Death(BaseException):
    """The process is no more: nothing may catch it, and nothing works after it."""


class Mortal(Watched):
    """Every call that changes the file system, counted; from the k-th on, all of them die."""

    CALLS = ("mkdir", "rename", "unlink", "rmdir", "utime", "fsync", "link", "replace", "remove")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, last: int) -> None:
        self.left, self.dead = last, False
        self.met: set[str] = set()
        self.watch(monkeypatch)
        for name in ("write", "writev", "pwritev", "truncate", "ftruncate", "symlink", "sendfile"):
            monkeypatch.setattr(os, name, None)  # nobody may change the file system by these unseen

    def tick(self, name: str) -> None:
        self.met.add(name)
        self.left -= 1
        if self.left <= 0:
            self.dead = True
            raise Death

    def write(self, handle: int, data: bytes, offset: int) -> int:
        """Death comes in the middle of a write; or the system writes but a half, and is asked for the rest."""
        half = (len(data) + 1) // 2
        written = self.real_write(handle, data[:half], offset)
        self.tick("pwrite")
        return written


class History:
    """One of everything a queue's users do, and what they may rely on when they die."""

    def __init__(self, path: Path) -> None:
        self.stand = PosixStand(path)
        self.asked: set[str] = set()  # put was called
        self.given: set[str] = set()  # put returned
        self.tried: set[str] = set()  # done was called
        self.acked: set[str] = set()  # done returned True

    def put(self, queue: PosixQueue, *bodies: str, **how: Any) -> None:
        self.asked |= set(bodies)
        queue.put(bodies, **how)
        self.given |= set(bodies)

    def done(self, queue: PosixQueue) -> None:
        lease = taken(queue)
        self.tried.add(lease.body)
        assert queue.renew(lease, 60)
        self.stand.pass_by(10)
        assert queue.renew(lease, 90)
        assert queue.done(lease)
        self.acked.add(lease.body)

    def live(self) -> None:
        queue = self.stand.connect()
        self.put(queue, "one", "two", "three", "four", "five", "six")
        self.done(queue)
        ends: list[Callable[[Lease], bool]] = [
            lambda lease: queue.release(lease),
            lambda lease: queue.release(lease, counts=True),
            lambda lease: queue.release(lease, delay=30),
            lambda lease: queue.release(lease, counts=True, delay=30),
            lambda lease: queue.fail(lease, "a reason"),
            lambda lease: queue.fail(lease, "a reason"),
            lambda lease: True,  # held until it expires
        ]
        for end in ends:
            assert end(taken(queue))
        self.put(queue, "seven", *(self.given - self.tried), unique=True)  # all but one are there
        self.put(queue, "eight", priority="high")
        self.put(queue, "nine", priority="low")
        self.stand.expire()
        queue.counts()
        self.stand.expire()
        self.done(queue)
        while queue.lease(60) is not None:  # the last look removes empty pages
            pass
        queue.release_all()
        queue.retry_dead([next(queue.dead()).id])
        queue.retry_dead()
        self.done(queue)


def bequest(stand: PosixStand) -> tuple[list[str], dict[str, str]]:
    """What a new process finds after all leases expired: (bodies it may hold at one time, dead letters)."""
    stand.pass_by(1000)
    queue = stand.connect()
    queue.put([])
    held = []
    while (lease := queue.lease(60)) is not None:
        held.append(lease)
    letters = {letter.body: letter.reason for letter in queue.dead()}
    assert queue.counts() == Counts(0, len(held), len(letters))
    assert all(queue.done(lease) for lease in held)
    assert queue.counts() == Counts(0, 0, len(letters))
    return [lease.body for lease in held], letters


@pytest.mark.parametrize("links", [True, False])
def test_death_before_any_change_loses_and_doubles_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(files, "link", lambda source, target: False)
    for last in count(1):
        shutil.rmtree(path, ignore_errors=True)
        random.seed(last)  # another order of leases for each death
        history = History(path)
        with pytest.MonkeyPatch.context() as patched:
            mortal = Mortal(patched, last)
            with suppress(Death):
                history.live()
        held, letters = bequest(history.stand)
        found = [*held, *letters]
        assert len(found) == len(set(found)), last
        assert history.given - history.tried <= set(found) <= history.asked - history.acked, last
        assert set(letters.values()) <= {"a reason"}, last
        if not mortal.dead:
            break
    assert last > 140  # every call was reached, and the history ran to its end
    expected = {"mkdir", "rename", "unlink", "rmdir", "fsync", "open", "pwrite"}
    assert mortal.met == (expected | {"link"} if links else expected)


def test_death_in_a_purge_leaves_a_queue_that_works(path: Path) -> None:
    for last in count(1):
        shutil.rmtree(path, ignore_errors=True)
        stand = PosixStand(path)
        queue = stand.connect()
        queue.put(["one", "two", "three", "four"])
        queue.fail(taken(queue), "a reason")
        queue.release(taken(queue), delay=60)
        queue.lease(60)
        with pytest.MonkeyPatch.context() as monkeypatch:
            mortal = Mortal(monkeypatch, last)
            with suppress(Death):
                queue.purge()
        stand.connect().put(["new"])
        held, letters = bequest(stand)
        assert "new" in held
        assert set(held) | set(letters) <= {"one", "two", "three", "four", "new"}
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
