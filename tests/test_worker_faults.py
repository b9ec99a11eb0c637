"""Storage that is full or read-only under a worker: it backs off, says why, and goes on when that is mended."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from igneous_ng import queues, records, run, steering
from igneous_ng.store import Store
from igneous_ng.worker import supervisor, verdicts
from igneous_ng.worker.events import Event
from igneous_ng.worker.policy import Policy
from tests.drill import data, drill, expected, recorded

__all__ = ["drill"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The layer's folder on a file system of 400 kB, where this machine lets one be mounted."""
    layer = tmp_path / "layer"
    layer.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", layer], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here ({done.stderr.decode().strip()})")
    yield layer
    subprocess.run(["umount", layer], check=True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """That units were given up cannot be stored either: do not wait long for it."""
    monkeypatch.setattr(supervisor, "_UNSETTLED_S", 1.0)


def execute(url: str) -> list[Event]:
    events: list[Event] = []
    with pytest.raises(run.DeadLetters):
        run.execute(url, Policy(processes=2), events.append)
    return events


def test_a_full_disk_ends_in_dead_letters_and_a_mended_one_in_the_same_bytes(
    drill: Any, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"fq://{tmp_path}/queue"
    ready = run.enqueue(drill(count=12), url)
    monkeypatch.setattr(verdicts, "delay", lambda _tried: 0.0)
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
    filler.write_bytes(bytes(free - 40_960))  # room for some files, but not for all
    events = execute(url)
    reasons = [letter.reason for letter in queues.connect(url).dead()]
    assert all("disk is full" in reason or "No space" in reason for reason in reasons)
    assert {event.cause for event in events if event.kind in ("failed", "dead")} == {"transient"}
    whole = expected(12)
    assert all(whole[name] == bytes_ for name, bytes_ in data(tmp_path).items() if name != "filler")
    filler.unlink()
    assert steering.retry(Store(), queues.connect(url)) == len(reasons)
    run.execute(url, Policy(processes=2))
    assert recorded(ready) == list(range(12))
    assert records.finished(Store(), ready)
    assert data(tmp_path) == whole


def test_a_read_only_disk_is_told_at_once(drill: Any, tmp_path: Path, small_disk: Path) -> None:
    url = f"fq://{tmp_path}/queue"
    ready = run.enqueue(drill(count=3), url)
    (small_disk / "diary.txt").touch()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    execute(url)
    (*_, letter) = queues.connect(url).dead()
    assert "ead-only" in letter.reason
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    steering.retry(Store(), queues.connect(url))
    run.execute(url, Policy())
    assert recorded(ready) == [0, 1, 2]


def test_a_queue_on_a_full_disk_loses_nothing(drill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Acknowledgements fail now and then: the message is held, and acknowledged at the next heartbeat."""
    from igneous_ng.errors import TransientError
    from igneous_ng.queues.posix import PosixQueue

    real, calls = PosixQueue.done, [0]

    def done(self: PosixQueue, lease: Any) -> bool:
        calls[0] += 1
        if calls[0] % 3 == 1:
            raise TransientError("the disk is full")
        return real(self, lease)

    monkeypatch.setattr(PosixQueue, "done", done)
    url = f"fq://{tmp_path}/queue"
    ready = run.enqueue(drill(count=6), url)
    run.execute(url, Policy(processes=2, lease=0.9))
    assert recorded(ready) == list(range(6))
    assert queues.connect(url).counts() == queues.Counts(0, 0, 0)
