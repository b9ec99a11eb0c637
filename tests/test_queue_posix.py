"""The queue in a directory: the file server's answers, pages, priorities, and directories that are not ours."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from igneous_ng.errors import SpecError
from igneous_ng.queues import Counts, files
from igneous_ng.queues.directory import PAGE
from igneous_ng.queues.posix import PosixQueue
from tests.queue_harness import PosixStand, taken, tree


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue"


@pytest.fixture
def stand(path: Path) -> PosixStand:
    return PosixStand(path)


# The file server: its caches, its answers.


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
    assert [(letter.body, letter.reason) for letter in queue.dead()] == [("a", "why")]


def test_a_page_that_vanishes_is_made_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    lease = taken(queue)
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
    (path / "doing" / ".nfs00000001.1.2.3.4").touch()
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


def test_what_dead_writers_left_is_swept_after_a_day(path: Path) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    lease = taken(queue)
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
    assert [(letter.body, letter.reason) for letter in queue.dead()] == [("a", "why")]


def test_a_late_failure_leaves_no_reason_behind(path: Path) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    lease = taken(queue)
    queue.release_all()
    before = tree(path)
    assert not queue.fail(lease, "late")
    assert tree(path) == before


def test_a_lease_renewed_for_another_time_keeps_to_the_new_one(stand: PosixStand) -> None:
    queue = stand.connect()
    queue.put(["a"])
    lease = taken(queue)
    assert queue.renew(lease, 500)
    stand.pass_by(400)
    assert queue.counts() == Counts(0, 1, 0)
    assert queue.renew(lease, 60)
    stand.pass_by(61)
    assert queue.counts() == Counts(1, 0, 0)
    assert not queue.renew(lease, 60)


# How messages lie there.


def test_the_bodies_of_a_page_are_one_file_that_goes_with_its_last_message(path: Path) -> None:
    queue = PosixQueue(str(path))
    bodies = [f"{i}\n ä" for i in range(5)] + ["", ""]
    queue.put(bodies)
    files_ = [p for p in path.rglob("*") if p.is_file() and p.name != "queue.json"]
    assert len(files_) == len(bodies)
    assert {p.stat().st_nlink for p in files_} == {len(bodies)}
    assert len({p.stat().st_ino for p in files_}) == 1
    leases = [taken(queue) for _ in bodies]
    assert sorted(lease.body for lease in leases) == sorted(bodies)
    assert all(queue.done(lease) for lease in leases)
    assert queue.lease(60) is None
    assert tree(path) == ["dead", "doing", "queue.json", "tmp", "todo"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP])
def test_without_hard_links_each_message_has_its_own_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    queue = PosixQueue(str(path))
    bodies = [f"{i}\n ä" for i in range(5)] + ["", "x" * 9000]
    real, left = os.link, iter([True, True])

    def some(source: str, target: str) -> None:
        if not next(left, False):
            raise OSError(number, os.strerror(number))
        real(source, target)

    monkeypatch.setattr(os, "link", some)
    queue.put(bodies)
    assert len({p.stat().st_ino for p in path.glob("todo/*/*")}) == len(bodies) - 1
    assert sorted(taken(queue).body for _ in bodies) == sorted(bodies)


def test_a_link_the_server_made_twice_is_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def resent(source: str, target: str) -> None:
        real(source, target)
        real(source, target)

    monkeypatch.setattr(os, "link", resent)
    queue = PosixQueue(str(path))
    assert queue.put(["a", "b"]) == 2
    assert sorted(taken(queue).body for _ in range(2)) == ["a", "b"]


def test_damaged_bytes_are_marked_for_the_reader_to_refuse(path: Path) -> None:
    queue = PosixQueue(str(path))
    queue.put(["abc"])
    next(path.glob("todo/*/*")).write_bytes(b"a\xffc\n")
    assert taken(queue).body == "a\ufffdc"


@pytest.mark.parametrize("links", [True, False])
def test_what_was_put_is_on_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """In an order in which a loss of power shows no message without its body, and after put, each message."""
    queue = PosixQueue(str(path))
    queue.put([])
    log: list[tuple[str, str]] = []

    def noted(name: str, call: Any, place: Any) -> Any:
        def called(*args: Any) -> Any:
            log.append((name, place(*args)))
            return call(*args)

        return called

    def short(target: str) -> str:
        return re.sub("[0-9a-f]{13,}", "P", str(Path(target).relative_to(path)))

    opened: dict[int, str] = {}
    real = os.open

    def remembered(target: str, *how: Any) -> int:
        handle = real(target, *how)
        opened[handle] = target
        return handle

    monkeypatch.setattr(os, "open", remembered)
    monkeypatch.setattr(os, "fsync", noted("sync", os.fsync, lambda handle: short(opened[handle])))
    monkeypatch.setattr(os, "rename", noted("rename", os.rename, lambda source, target: short(target)))
    monkeypatch.setattr(os, "link", noted("link", os.link, lambda source, target: short(target)))
    if not links:
        monkeypatch.setattr(files, "link", lambda source, target: False)
    assert queue.put(["a", "b"]) == 2
    messages = ["tmp/P/P-0-1-P.0.0", "tmp/P/P-2-1-P.0.0"]
    assert log[1:] == [  # the first is of the queue, which was there
        ("sync", "tmp/P.bodies"),
        *(("link" if links else "sync", name) for name in messages),
        ("sync", "tmp/P"),
        ("rename", "todo/P"),
        ("sync", "todo"),
    ]


# Priorities, and bodies that are there already.


def test_an_urgent_message_is_seen_within_a_second(stand: PosixStand) -> None:
    queue, other = stand.connect(), stand.connect()
    queue.put((f"low {i}" for i in range(2 * PAGE)), priority="low")
    assert taken(queue).body.startswith("low")
    other.put(["now"], priority="high")
    stand.pass_by(1.1)
    assert taken(queue).body == "now"
    assert taken(queue).body.startswith("low")


def test_a_message_returns_to_its_priority(stand: PosixStand) -> None:
    queue = stand.connect()
    queue.put(["low"], priority="low")
    queue.put(["high"], priority="high")
    lease = taken(queue)
    assert lease.body == "high"
    assert stand.connect().lease(60) is not None  # the low one
    assert queue.release(lease, delay=5)
    queue.put(["normal"])
    stand.pass_by(6)
    assert [taken(queue).body for _ in range(2)] == ["high", "normal"]


def test_a_unique_put_reads_no_bodies(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = PosixQueue(str(path))
    queue.put(str(i) for i in range(700))
    taken(queue)
    queue.fail(taken(queue), "why")
    queue.release(taken(queue), delay=60)
    read: list[tuple[Any, ...]] = []
    real = os.pread

    def noted(*args: Any) -> bytes:
        read.append(args)
        return real(*args)

    monkeypatch.setattr(os, "pread", noted)
    assert queue.put((str(i) for i in range(702)), unique=True) == 2
    assert len(read) == 1  # queue.json


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


@pytest.mark.parametrize("marker", ['{"format": "igneous_ng queue", "version": 1}', "not JSON", "[]"])
def test_a_queue_of_another_format_is_left_alone(path: Path, marker: str) -> None:
    path.mkdir()
    (path / "queue.json").write_text(marker)
    with pytest.raises(SpecError, match=r"this program reads .*'version': 2"):
        PosixQueue(str(path))
    assert tree(path) == ["queue.json"]


def test_an_empty_folder_becomes_a_queue_with_its_version(path: Path) -> None:
    path.mkdir()
    PosixQueue(str(path)).put([])
    assert json.loads((path / "queue.json").read_text()) == {"format": "igneous_ng queue", "version": 2}


def test_a_queue_removed_under_its_worker_is_missed(path: Path) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a", "b"])
    lease = taken(queue)
    shutil.rmtree(path)
    with pytest.raises(SpecError, match="there is no queue"):
        queue.lease(60)
    assert not queue.done(lease)
