"""The queue in a directory on file systems that fail: full, over quota, damaged, read-only, without inodes."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from igneous_ng.errors import SpecError, TransientError
from igneous_ng.queues import Counts
from igneous_ng.queues.posix import PosixQueue
from tests.queue_harness import PosixStand, Watched, tree
from tests.test_queue_deaths import History, bequest

WORDS: dict[int, tuple[type[Exception], str]] = {
    errno.ENOSPC: (TransientError, r"No space left on device; make room on the disk"),
    errno.EDQUOT: (TransientError, r"Disk quota exceeded; make room in the quota"),
    errno.EIO: (TransientError, r"Input/output error; the disk or its server failed"),
    errno.EACCES: (SpecError, r"Permission denied; check who may write there"),
    errno.EROFS: (SpecError, r"Read-only file system; mount it for writing"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue"


class Failing(Watched):
    """The k-th change to the file system fails once, a write after half of its bytes."""

    CALLS = ("mkdir", "rename", "link", "unlink", "rmdir", "fsync", "utime")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, last: int) -> None:
        self.number, self.left, self.failed = number, last, ""
        self.watch(monkeypatch)

    def tick(self, name: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.failed = name
            raise OSError(self.number, os.strerror(self.number))

    def write(self, handle: int, data: bytes, offset: int) -> int:
        written = self.real_write(handle, data[: (len(data) + 1) // 2], offset)
        self.tick("pwrite")
        return written


@pytest.mark.parametrize("number", WORDS)
def test_any_change_that_fails_says_why_and_leaves_nothing_half_written(path: Path, number: int) -> None:
    kind, words = WORDS[number]
    for last in count(1):
        shutil.rmtree(path, ignore_errors=True)
        random.seed(last)
        history = History(path)
        told = ""
        with pytest.MonkeyPatch.context() as patched:
            failing = Failing(patched, number, last)
            try:
                history.live()
            except kind as error:
                told = str(error)
        assert not told or (failing.failed and re.search(words, told)), last
        if failing.failed not in ("unlink", "rmdir"):  # who cannot remove leaves things to be swept
            assert list(path.glob("tmp/*")) == [], last
            assert len(list(path.glob("queue.json.*"))) == 0, last
        held, letters = bequest(history.stand)
        found = [*held, *letters]
        assert len(found) == len(set(found)), last
        assert history.given - history.tried <= set(found) <= history.asked - history.acked, last
        assert set(letters.values()) <= {"a reason"}, last
        if not failing.failed:
            break
    assert last > 140


def test_a_failed_verb_may_be_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of "input or output error" does not say whether the change was made."""
    stand = PosixStand(path)
    queue = stand.connect()
    queue.put(["a"])
    lease = queue.lease(60)
    assert lease is not None
    real = os.rename

    def done_but_failed(source: str, target: str) -> None:
        real(source, target)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", done_but_failed)
        stand.pass_by(1)
        with pytest.raises(TransientError):
            queue.renew(lease, 60)
    stand.pass_by(1)
    assert queue.renew(lease, 60)
    assert queue.done(lease)
    assert queue.counts() == Counts(0, 0, 0)


def test_a_disk_without_inodes_is_told_from_a_full_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = PosixQueue(str(path))
    queue.put(["a"])

    def full(_: str, __: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    real = os.statvfs(path)
    monkeypatch.setattr(os, "link", full)
    for free, words in ((0, "no inodes are left"), (1, "make room on the disk")):
        fields = list(real)
        fields[5], fields[7] = 100, free
        monkeypatch.setattr(os, "statvfs", lambda _, fields=fields: os.statvfs_result(fields))
        with pytest.raises(TransientError, match=words):
            queue.put(["b"])
    assert queue.counts() == Counts(1, 0, 0)


# Real file systems, as small as they come.


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """A file system in memory of this size; skips where nobody may mount one."""
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_really_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=256k") as place:
        queue = PosixQueue(str(place / "queue"))
        assert queue.put(["x" * 1000] * 50) == 50
        lease = queue.lease(60)
        assert lease is not None
        before = tree(place)
        with pytest.raises(TransientError, match=r"No space left on device; make room on the disk"):
            queue.put(["y" * 1000] * 400)
        assert tree(place) == before
        (place / "filler").write_bytes(b"z" * 120_000)
        with pytest.raises(TransientError, match=r"No space left on device; make room on the disk"):
            queue.fail(lease, "why" * 50_000)
        assert [p for p in tree(place) if p != "filler"] == before
        (place / "filler").unlink()
        assert queue.fail(lease, "why" * 10)
        assert queue.counts() == Counts(49, 0, 1)


def test_really_no_inodes(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=4m,nr_inodes=12") as place:
        queue = PosixQueue(str(place / "queue"))
        assert queue.put(["a", "b"]) == 2
        for i in count():
            try:
                (place / f"filler{i}").touch()
            except OSError:
                break
        before = tree(place)
        with pytest.raises(TransientError, match=r"No space left on device; no inodes are left: delete files"):
            queue.put(["c"])
        assert tree(place) == before
        (place / "filler0").unlink()
        assert queue.lease(60) is not None


def test_a_really_read_only_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=1m") as place:
        PosixQueue(str(place / "queue")).put(["a"])
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        queue = PosixQueue(str(place / "queue"))
        for verb in (lambda: queue.lease(60), lambda: queue.put(["b"]), queue.counts):
            with pytest.raises(SpecError, match=r"Read-only file system; mount it for writing"):
                verb()
        assert len(list(place.glob("queue/todo/*/*"))) == 1


def test_a_directory_of_somebody_else(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    PosixQueue(str(tmp_path / "queue")).put(["a"])
    os.seteuid(65534)
    try:
        with pytest.raises(SpecError, match=r"Permission denied; check who may write there"):
            PosixQueue(str(tmp_path / "queue")).lease(60)
    finally:
        os.seteuid(0)
