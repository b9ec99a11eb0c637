"""A fleet of workers that loses half of its members again and again, and the meshes that it makes nevertheless."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import queues, records, run
from igneous_ng.records import Run
from igneous_ng.stage import Stage
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.store import Store
from tests.data import data
from tests.test_worker_supervisor import tree
from tests.test_worker_torture import offspring

MEMBERS, EVERY_S = 8, 10.0


def steps(folder: Path, name: str) -> list[Stage]:
    layer = str(folder / name)
    return [MeshForge(layer=layer, cell=(64, 64, 64)), MeshMerge(layer=layer, format="legacy")]


def begin(folder: Path, name: str) -> None:
    """The labels as a layer."""
    run.inline(
        Create(source=str(folder / "labels.npy"), layer=str(folder / name), kind="segmentation", axes="xyz",
               resolution=(16, 16, 40), chunk=(64, 64, 64))
    )  # fmt: skip


class Fleet:
    """Workers as users start them, on one queue."""

    def __init__(self, queue: str, members: int) -> None:
        self._command = [sys.executable, "-m", "igneous_ng.cli", "execute", queue, "--lease", "15s"]
        self.living = [self._start() for _ in range(members)]
        self.killed = 0

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def lose_half(self, chance: random.Random) -> None:
        """Kill every second one, with all its processes, and start as many."""
        for lost in chance.sample(self.living, len(self.living) // 2):
            for pid in offspring(lost.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            lost.communicate()
            self.killed += lost.returncode == -signal.SIGKILL
            self.living[self.living.index(lost)] = self._start()

    def join(self) -> None:
        """Wait until all have ended by themselves."""
        for one in self.living:
            _, text = one.communicate(timeout=600)
            assert one.returncode == 0, text.decode()[-2000:]


def work(queue: str, ready: Run, chance: random.Random | None) -> tuple[int, float]:
    """Let a fleet finish a run; how many members it lost, and the seconds that it took."""
    start, fleet = time.monotonic(), Fleet(queue, MEMBERS)
    lost_at = start
    while not records.finished(Store(), ready):
        time.sleep(0.2)
        if chance is not None and time.monotonic() - lost_at >= EVERY_S:
            fleet.lose_half(chance)
            lost_at = time.monotonic()
        assert time.monotonic() - start < 1500, "the fleet does not get anywhere"
    took = time.monotonic() - start
    fleet.join()
    return fleet.killed, took


def attempts(ready: Run) -> int:
    """How many units a second holder began: messages that came back were leased more than once."""
    return sum(line["attempt"] > 1 for line in records.all_lines(Store(), ready))


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_a_fleet_that_loses_half_of_its_members_makes_the_same_meshes(tmp_path: Path) -> None:
    labels = np.load(data("pinky40", "seg_mip1_16x16x40.npz"))["labels"]
    np.save(tmp_path / "labels.npy", np.asfortranarray(labels[:384, :384, :192]))
    figures: dict[str, list[str]] = {"calm": [], "stormy": []}
    for name in figures:
        begin(tmp_path, name)
        chance = random.Random(11) if name == "stormy" else None
        for step in steps(tmp_path, name):
            queue = f"fq://{tmp_path}/{name}-queue"
            ready = run.enqueue(step, queue)
            kills, took = work(queue, ready, chance)
            repeated = attempts(ready)
            figures[name].append(
                f"{ready.name}: {ready.units} units, {took:.0f} s, {kills} killed, {repeated} repeated"
            )
            assert queues.connect(queue).counts() == queues.Counts(0, 0, 0)
            assert sorted(line["unit"] for line in records.all_lines(Store(), ready)) == list(range(ready.units))
    print(figures)  # noqa: T201 - shown with -s
    assert any(" 0 killed" not in line for line in figures["stormy"])
    assert tree(tmp_path / "stormy") == tree(tmp_path / "calm")
    assert sum(1 for _ in (tmp_path / "calm").glob("mesh/*:0")) > 100
