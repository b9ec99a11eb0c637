"""Partners of clefts take no more memory than is declared, and no more where there are ten times as many."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree

from igneous_ng import run
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.synapse_assign import Assign, Contacts, Partners, Table
from tests import assigned
from tests.measuring import insist

CELL = (96, 96, 96)


def volume(folder: Path, shape: Vec3, every: int, size: Vec3 = (5, 5, 2)) -> dict[str, Any]:
    """Clefts, one in each cube of ``every`` voxels, segments of 9 voxels a side, and noise as evidence."""
    rng, marks = np.random.default_rng(0), np.zeros(shape, np.int64)
    corners = np.stack(np.meshgrid(*(np.arange(0, n, every) for n in shape), indexing="ij"), -1).reshape(-1, 3)
    for mark, corner in enumerate(corners, 1):
        lo = corner + rng.integers(0, every - max(size) + 1, 3)
        marks[tuple(slice(a, a + n) for a, n in zip(lo, size, strict=True))] = mark
    labels = (np.indices(shape) // 9).transpose(1, 2, 3, 0) @ np.array([1, 200, 40_000])
    assigned.cleft_layer(folder / "clefts", marks, cell=(32, 32, 32))
    assigned.segments(folder / "seg", np.asfortranarray((labels + (1 << 60)).astype(np.uint64)), chunk=(32, 32, 32))
    weights = np.asfortranarray(rng.integers(0, 256, (*shape, 2), np.uint8))
    assigned.image(folder / "both", weights)
    return {"sides": "channels", "evidence": f"{folder}/both", "radius": 40.0}


def stage(folder: Path, which: str) -> Stage:
    """A stage, all before it being done."""
    known = volume(folder, CELL, 16) if which != "full" else volume(folder, CELL, 96, (96, 96, 90))
    chain = Assign(clefts=f"{folder}/clefts", segmentation=f"{folder}/seg", table=f"{folder}/table", cell=CELL,
                   merge_distance=500.0, polyadic=0.1, block=128, **known)  # fmt: skip
    for step in chain.steps(IO()):
        step.prepare(IO())
        if step.name.split()[-1] in (which, {"full": "contacts"}.get(which)):
            return step
        run.inline(step)
    raise AssertionError(which)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("which", ["contacts", "full", "partners", "join", "table"])
def test_a_task_takes_no_more_memory_than_it_declares(tmp_path: Path, which: str) -> None:
    small = tmp_path / "small"
    small.mkdir()
    least = 0 if which == "table" else 1  # so few rows may fit in what the process held before
    insist(which, *(stage(tmp_path, which), stage(small, which)), least=least)


@pytest.mark.long
def test_ten_times_the_synapses_take_no_more_memory(tmp_path: Path) -> None:
    peaks: list[dict[str, int]] = []
    counts = []
    cKDTree(np.zeros((1, 3)))  # what is imported is no memory of a task
    for times in (1, 10):
        folder = tmp_path / str(times)
        folder.mkdir()
        known = volume(folder, (32, 32, 384 * times), 8, (4, 4, 2))
        chain = Assign(clefts=f"{folder}/clefts", segmentation=f"{folder}/seg", table=f"{folder}/table",
                       cell=(32, 32, 32), merge_distance=60.0, block=32, **known)  # fmt: skip
        most: dict[str, int] = {}
        for step in chain.steps(IO()):
            step.prepare(IO())
            for unit in step.units(IO()):
                tracemalloc.start()
                step.execute(unit, IO())
                most[step.name] = max(most.get(step.name, 0), tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
            step.finish(IO())
        peaks.append(most)
        counts.append(len(assigned.rows(f"file://{folder}/table")["id"]))
    assert counts[1] > 9 * counts[0] > 9 * 500
    for name in ("synapse contacts", "synapse partners", "synapse merge join", "synapse table"):
        print(f"{name}: {peaks[0][name]:,} and {peaks[1][name]:,} bytes")  # noqa: T201 - shown with -s
        assert peaks[1][name] <= 1.2 * peaks[0][name]
    assert {Contacts.name, Partners.name, Table.name} <= peaks[0].keys()
