"""Supervisors, nurseries and children killed at random moments, while the work goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from igneous_ng import queues, records, run
from igneous_ng.store import Store
from tests.drill import data, drill, expected, recorded

__all__ = ["drill"]
WORK = "import sys; from igneous_ng import run; from igneous_ng.worker.policy import Policy; " \
    "run.execute(sys.argv[1], Policy(processes=2, lease=3.0, idle=0.5))"  # fmt: skip


def offspring(pid: int) -> list[int]:
    """A process and all below it, those that live."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in below for one in offspring(int(child)))]


def worker(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORK, url], stderr=subprocess.PIPE)


def torture(url: str, kills: int, workers: int, seed: int) -> None:
    """Work on a queue with some workers, and kill one process of them so many times; then let them end."""
    chance = random.Random(seed)
    living = [worker(url) for _ in range(workers)]
    try:
        disturb(living, url, kills, chance)
        living.append(worker(url))
        for one in living:
            _, text = one.communicate(timeout=1200)
            assert one.returncode in (0, -signal.SIGKILL), text.decode()
        assert one.returncode == 0
    finally:
        for one in living:
            one.kill()
            one.communicate()


def disturb(living: list[subprocess.Popen[bytes]], url: str, kills: int, chance: random.Random) -> None:
    """Kill so many processes of the workers, and put others in the place of workers that ended."""
    while kills:
        time.sleep(chance.expovariate(10))
        victims = [pid for one in living for pid in offspring(one.pid)]
        with suppress(ProcessLookupError):  # it ended in this moment
            os.kill(chance.choice(victims), signal.SIGKILL)
            kills -= 1
        for one in living[:]:
            if one.poll() is not None:
                one.communicate()
                living.remove(one)
                living.append(worker(url))


@pytest.mark.parametrize(
    ("count", "kills"),
    [(400, 25), pytest.param(10_000, 1_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])],
)
def test_nothing_is_lost_torn_or_done_twice(drill: Any, tmp_path: Path, count: int, kills: int) -> None:
    url = f"fq://{tmp_path}/queue"
    ready = run.enqueue(drill(count=count, seconds=0.01), url)
    torture(url, kills, workers=2, seed=count)
    assert queues.connect(url).counts() == queues.Counts(0, 0, 0)
    assert recorded(ready) == list(range(count))
    assert records.finished(Store(), ready)
    assert data(tmp_path) == expected(count)
