"""The queue in a directory: deaths at every step, many processes, kill -9, NFS, and directories that are not ours."""

from __future__ import annotations

import builtins
import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest

from igneous_ng.errors import SpecError, TransientError
from igneous_ng.queues import Counts, Lease, files
from igneous_ng.queues.posix import PAGE, PosixQueue
from tests.queue_harness import age

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue"


def tree(path: Path) -> list[str]:
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


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


# The file server: its clock, its caches, its answers.


def test_no_clock_of_a_client_makes_a_lease_expire(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    lease = queue.lease(60)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    monkeypatch.setattr(time, "monotonic", lambda: 4e9)
    other = PosixQueue(str(path))
    assert other.lease(60) is None
    assert lease is not None
    assert queue.done(lease)


def test_a_heartbeat_the_client_has_not_seen_yet_still_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    queue.lease(60)
    real = os.stat

    def stale(target: Any, *args: Any, **options: Any) -> Any:
        found = real(target, *args, **options)
        if "/doing/" not in str(target):
            return found
        fields = list(found)
        fields[8] -= 1000  # mtime, as remembered from before the heartbeat
        return os.stat_result(fields)

    monkeypatch.setattr(os, "stat", stale)
    assert files.age(str(next((path / "doing").iterdir())), time.time()) > 900
    assert PosixQueue(str(path)).counts() == Counts(0, 1, 0)


@pytest.mark.parametrize("happens", [True, False])
@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESTALE])
def test_an_answer_of_not_there_is_looked_into(
    path: Path, monkeypatch: pytest.MonkeyPatch, happens: bool, number: int
) -> None:
    """NFS sends a request again when the answer was lost; the server, having done it, finds nothing to do."""
    queue = PosixQueue(str(path))
    queue.put(["a"])
    real = os.rename

    def resent(source: str, target: str) -> None:
        if happens:
            real(source, target)
        raise OSError(number, os.strerror(number), source)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", resent)
        lease = queue.lease(60)
        if not happens:
            assert lease is None
            return
        assert lease is not None
        assert queue.fail(lease, "why")
    assert list(queue.dead()) == [("a", "why")]


def test_a_page_that_vanishes_is_made_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    lease = queue.lease(60)
    assert lease is not None
    assert queue.lease(60) is None  # which removes the empty page
    assert tree(path / "todo") == []
    real, races = os.mkdir, iter([True, True, False])

    def raced(target: str) -> None:
        real(target)
        if next(races):
            os.rmdir(target)  # a worker who looked for messages found none here

    monkeypatch.setattr(os, "mkdir", raced)
    assert queue.release(lease)
    assert queue.counts() == Counts(1, 0, 0)


def test_files_the_file_system_puts_there_are_no_messages(path: Path) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    (path / "doing" / ".nfs00000001.1.2.3").touch()
    (path / "todo" / ".nfs00000002").touch()
    assert queue.counts() == Counts(1, 0, 0)
    assert queue.lease(60) is not None
    assert queue.lease(60) is None


# Putting.


def test_bodies_are_read_page_by_page(path: Path) -> None:
    queue, seen = PosixQueue(str(path)), []

    def bodies() -> Iterator[str]:
        for i in range(2 * PAGE + 1):
            if i % PAGE == 0:
                seen.append(queue.counts().waiting)
            yield "x"

    assert queue.put(bodies()) == 2 * PAGE + 1
    assert seen == [0, PAGE, 2 * PAGE]
    assert sorted(len(list(page.iterdir())) for page in (path / "todo").iterdir()) == [1, PAGE, PAGE]


def test_a_full_disk_is_a_transient_error_and_leaves_no_half_page(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    before = tree(path)

    real, left = os.fsync, iter([True, True])

    def full(handle: int) -> None:
        if not next(left, False):  # the directory, the first message of three, and then
            raise OSError(errno.ENOSPC, "No space left on device", "a file")
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(TransientError, match="No space left"):
            queue.put(["b", "c", "d"])
    assert tree(path) == before


def test_a_refusal_is_the_users_to_settle(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])

    def refused(target: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", target)

    monkeypatch.setattr(os, "utime", refused)
    with pytest.raises(SpecError, match=r"Permission denied; check the permissions"):
        queue.lease(60)


def test_what_dead_writers_left_is_swept_after_a_day(path: Path) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    lease = queue.lease(60)
    assert lease is not None
    queue.fail(lease, "why")
    kept = tree(path)
    for days in (0.5, 2):
        then = time.time() - days * 86400
        page = path / "tmp" / f"page{days}"
        page.mkdir()
        for file in (page / "p-000.0.0", path / "tmp" / f"draft{days}", path / "dead" / f"p{days * 2:g}-0.1.n.txt"):
            file.touch()
            os.utime(file, (then, then))
        os.utime(page, (then, then))
    for letter in (path / "dead").glob(f"{lease.id}*"):
        os.utime(letter, (1, 1))
    queue.put([])
    fresh = ["dead/p1-0.1.n.txt", "tmp/draft0.5", "tmp/page0.5", "tmp/page0.5/p-000.0.0"]
    assert tree(path) == sorted(kept + fresh)
    assert list(queue.dead()) == [("a", "why")]


def test_a_lease_renewed_for_another_time_keeps_to_the_new_one(path: Path) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    lease = queue.lease(60)
    assert lease is not None
    assert queue.renew(lease, 500)
    age(path, 400)
    assert queue.counts() == Counts(0, 1, 0)
    assert queue.renew(lease, 60)
    age(path, 61)
    assert queue.counts() == Counts(1, 0, 0)
    assert not queue.renew(lease, 60)


# Directories that are not ours.


def test_a_file_in_the_way(path: Path) -> None:
    path.write_text("mine")
    for place in (path, path / "below"):
        with pytest.raises(SpecError, match="a file is in the way"):
            PosixQueue(str(place))
    assert path.read_text() == "mine"


def test_a_folder_of_other_things_is_left_alone(path: Path) -> None:
    path.mkdir()
    queue = PosixQueue(str(path))  # empty still
    (path / "thesis.tex").touch()
    with pytest.raises(SpecError, match=r"holds 'thesis.tex' and is no queue"):
        PosixQueue(str(path))
    with pytest.raises(SpecError, match=r"holds 'thesis.tex' and is no queue"):
        queue.put(["a"])
    assert tree(path) == ["thesis.tex"]


@pytest.mark.parametrize("marker", ['{"format": "igneous_ng queue", "version": 2}', "not JSON", "[]"])
def test_a_queue_of_another_format_is_left_alone(path: Path, marker: str) -> None:
    path.mkdir()
    (path / "queue.json").write_text(marker)
    with pytest.raises(SpecError, match=r"this program reads .*'version': 1"):
        PosixQueue(str(path))
    assert tree(path) == ["queue.json"]


def test_an_empty_folder_becomes_a_queue_with_its_version(path: Path) -> None:
    path.mkdir()
    PosixQueue(str(path)).put([])
    assert json.loads((path / "queue.json").read_text()) == {"format": "igneous_ng queue", "version": 1}


def test_a_queue_removed_under_its_worker_is_missed(path: Path) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a", "b"])
    lease = queue.lease(60)
    assert lease is not None
    shutil.rmtree(path)
    with pytest.raises(SpecError, match="there is no queue"):
        queue.lease(60)
    assert not queue.done(lease)
