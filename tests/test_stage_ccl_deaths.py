"""Connected components with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import queues, records, run
from igneous_ng.io import IO
from igneous_ng.records import Run
from igneous_ng.stages.ccl import Auto
from igneous_ng.store import Store
from tests.layers import files
from tests.test_stage_ccl import load, store, whole
from tests.test_worker_torture import offspring, worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


FEW = 32  # units: a phase of so few is over before half of it can be seen to be done


def killed_in_the_middle(url: str, ready: Run) -> None:
    """A worker, its nursery and its children, all killed when half of a phase is done, or a short one is begun."""
    queue, working = queues.connect(url), worker(url)
    enough = queue.counts().waiting // 2 if ready.units > FEW else queue.counts().waiting
    while working.poll() is None:
        counts = queue.counts()
        if counts.leased and counts.waiting <= enough:
            break
    assert not records.finished(Store(), ready), "it was too fast to be killed"
    for pid in offspring(working.pid):
        with suppress(ProcessLookupError):  # a child may have ended by itself just now
            os.kill(pid, signal.SIGKILL)
    working.communicate()
    assert working.returncode == -signal.SIGKILL


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    array = (np.random.default_rng(7).random((96, 96, 48)) < 0.3).astype(np.uint8)
    source, url = f"file://{tmp_path}/source", f"fq://{tmp_path}/queue"
    store(array, source, (-5, 3, 0), (8, 8, 8))
    names = []
    for folder in ("calm", "killed"):
        chain = Auto(source=source, layer=f"{tmp_path}/{folder}", cell=(8, 8, 8), connectivity=26, dust=3)
        for step in chain.steps(IO()):
            if folder == "calm":
                run.inline(step)
                continue
            ready = run.enqueue(step, url)
            killed_in_the_middle(url, ready)
            last = worker(url)
            assert last.communicate(timeout=300) is not None
            assert last.returncode == 0
            assert records.finished(Store(), ready)
            names.append(ready.name)
    assert set(names) == {"ccl label", "ccl join", "ccl spread", "ccl rank", "ccl relabel"}
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
    labels = whole(array, 26)
    sizes = np.bincount(labels.ravel())
    kept = np.cumsum(sizes > 3) - (sizes[0] > 3)
    assert np.array_equal(
        load(f"file://{tmp_path}/killed"), np.where((sizes > 3)[labels] & (labels > 0), kept[labels], 0)
    )
