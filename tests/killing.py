"""Runs whose workers die in the middle of every phase, beside the same that nobody disturbs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from igneous_ng import queues, records, run
from igneous_ng.records import Run
from igneous_ng.stage import Stage
from igneous_ng.store import Store
from tests.test_worker_torture import offspring, worker

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


def calm_and_killed(folder: Path, steps: Callable[[str], Iterable[Stage]], spared: Iterable[str] = ()) -> list[str]:
    """Run the ``steps`` of a layer ``calm``, here, and of one ``killed``, by workers that are killed and followed.

    ``steps`` gives the stages, in order, of the layer of that name in the folder. Stages of the names ``spared`` are
    run here. Gives the names of those that were killed.
    """
    url, names, apart = f"fq://{folder}/queue", [], set(spared)
    for step in steps("calm"):
        run.inline(step)
    for step in steps("killed"):
        if step.name in apart:
            run.inline(step)
            continue
        ready = run.enqueue(step, url)
        killed_in_the_middle(url, ready)
        last = worker(url)
        last.communicate(timeout=600)
        assert last.returncode == 0
        assert records.finished(Store(), ready)
        names.append(ready.name)
    return names
