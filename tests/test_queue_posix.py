"""The queue in a directory: the file server's clock and answers, pages, and directories that are not ours."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from igneous_ng.errors import SpecError, TransientError
from igneous_ng.queues import Counts, files
from igneous_ng.queues.posix import PAGE, PosixQueue
from tests.queue_harness import age, tree


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue"


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


def test_a_late_failure_leaves_no_reason_behind(path: Path) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])
    lease = queue.lease(60)
    assert lease is not None
    queue.release_all()
    before = tree(path)
    assert not queue.fail(lease, "late")
    assert tree(path) == before


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
