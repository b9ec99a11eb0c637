"""What is refused before anything is written: destinations that are archives, and places where others work."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import guards, records, rollback, run
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.image_touch import Touch
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.store import Store
from igneous_ng.subsets import Subset
from igneous_ng.worker.policy import Policy
from tests.test_forging import make_layer
from tests.test_rollback import create, data

STORE = Store()
CELL = (16, 16, 16)


@pytest.fixture
def layer(tmp_path: Path) -> str:
    return str(make_layer(tmp_path, np.ones((64, 32, 32), np.uint32)))


def waiting(stage: MeshForge | Downsample | Touch, tmp_path: Path, subset: Subset | None = None) -> records.Run:
    """A run of ``stage`` that is begun and waits on a queue."""
    return run.enqueue(stage, f"fq://{tmp_path}/queue", subset=subset)


def test_nothing_is_written_into_an_archive(tmp_path: Path) -> None:
    made = create(tmp_path)
    place = f"file://{tmp_path}/seg"
    guards.archive(STORE, place, "raw data of the microscope")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for stage in (Downsample(layer=place), MeshForge(layer=place), Touch(layer=place)):
        with pytest.raises(SpecError, match=r"is marked as raw archive \(raw data of the microscope\)"):
            run.inline(stage)
        with pytest.raises(SpecError, match="is marked as raw archive"):
            run.enqueue(stage, f"fq://{tmp_path}/queue")
    with pytest.raises(SpecError, match="is marked as raw archive"):
        create(tmp_path)
    with pytest.raises(SpecError, match="is marked as raw archive"):
        rollback.rollback(STORE, made)
    after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and "queue" not in p.parts}
    assert after == before
    guards.release(STORE, place)
    run.inline(Downsample(layer=place))
    with pytest.raises(SpecError, match="is not marked"):
        guards.release(STORE, place)


def test_what_lies_in_an_archive_is_archive(tmp_path: Path) -> None:
    guards.archive(STORE, f"file://{tmp_path}")
    with pytest.raises(SpecError, match="is marked as raw archive and is never"):
        create(tmp_path)
    assert not (tmp_path / "seg").exists()


def test_a_worker_refuses_what_was_planned_before(tmp_path: Path, layer: str) -> None:
    ready = waiting(MeshForge(layer=layer, cell=CELL), tmp_path)
    guards.archive(STORE, layer)
    with pytest.raises(run.DeadLetters, match="is marked as raw archive"):
        run.execute(f"fq://{tmp_path}/queue", Policy())
    assert not list(records.all_lines(STORE, ready))


def test_two_runs_over_one_place_are_refused(tmp_path: Path, layer: str) -> None:
    first = waiting(MeshForge(layer=layer, cell=CELL), tmp_path)
    before = data(tmp_path / "seg")
    with pytest.raises(SpecError, match=rf"mesh forge {first.id} writes there, too, and is not finished; .*cancel"):
        run.inline(MeshForge(layer=layer, cell=CELL, labels=(1,)))
    with pytest.raises(SpecError, match="image touch: mesh forge .* writes there"):
        run.inline(Touch(layer=layer))
    assert data(tmp_path / "seg") == before
    run.inline(Downsample(layer=layer))  # elsewhere
    run.inline(MeshForge(layer=layer, cell=CELL, dir="other"))
    run.execute(f"fq://{tmp_path}/queue", Policy())
    run.inline(MeshMerge(layer=layer))
    run.inline(Touch(layer=layer))


def test_parts_that_do_not_touch_may_be_made_at_once(tmp_path: Path, layer: str) -> None:
    left, right = Box((-5, 7, 0), (10, 39, 32)), Box((28, 7, 0), (59, 39, 32))
    waiting(MeshForge(layer=layer, cell=CELL, roi=left), tmp_path)
    waiting(MeshForge(layer=layer, cell=CELL, roi=right), tmp_path)
    with pytest.raises(SpecError, match="writes there"):
        run.inline(MeshForge(layer=layer, cell=CELL, roi=Box((0, 7, 0), (30, 39, 32))))


def test_units_that_differ_may_be_made_at_once(tmp_path: Path, layer: str) -> None:
    stage = MeshForge(layer=layer, cell=CELL)
    done = run.inline(stage)
    waiting(stage, tmp_path, Subset.of_units(16, [(3, (done.id, 3))]))
    waiting(stage, tmp_path, Subset.of_units(16, [(4, (done.id, 4)), (9, (done.id, 9))]))
    with pytest.raises(SpecError, match="writes there"):
        waiting(stage, tmp_path, Subset.of_units(16, [(3, (done.id, 3)), (5, (done.id, 5))]))
    with pytest.raises(SpecError, match="writes there"):
        waiting(MeshForge(layer=layer, cell=CELL, labels=(1,)), tmp_path)


def test_a_cancelled_run_stands_in_nobodys_way(tmp_path: Path, layer: str) -> None:
    first = waiting(MeshForge(layer=layer, cell=CELL), tmp_path)
    records.set_mark(STORE, first, "cancelled")
    run.inline(MeshForge(layer=layer, cell=CELL, labels=()))


def test_of_two_that_begin_at_the_same_moment_never_both_go_on(tmp_path: Path, layer: str) -> None:
    begun, refused, barrier = [], [], threading.Barrier(2)

    def begin(label: int) -> None:
        barrier.wait()
        try:
            begun.append(waiting(MeshForge(layer=layer, cell=CELL, buckets=label), tmp_path))
        except SpecError:
            refused.append(label)

    for _ in range(5):
        threads = [threading.Thread(target=begin, args=(label,)) for label in (2, 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(begun) <= 1
        assert len(begun) + len(refused) == 2
        for one in begun:
            records.set_mark(STORE, one, "cancelled")
        begun, refused = [], []
