"""Planning refuses before anything is written; running here says what failed."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import queues, records, run
from igneous_ng.errors import DataError, SpecError, TransientError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.store import Store
from igneous_ng.worker import task
from igneous_ng.worker.task import Task


@pytest.fixture
def create(tmp_path: Path) -> Create:
    np.save(tmp_path / "em.npy", np.random.default_rng(0).integers(0, 255, (50, 40, 30), np.uint8))
    return Create(source=str(tmp_path / "em.npy"), layer=str(tmp_path / "em"), axes="xyz", chunk=(16, 16, 16))


def test_a_plan_counts_and_writes_nothing(create: Create, tmp_path: Path) -> None:
    plan = run.plan(create)
    assert plan.run.units == 1
    assert plan.peak_bytes >= 50 * 40 * 30
    assert plan.run.peak_bytes == plan.peak_bytes
    assert plan.run.device_bytes == 0
    assert not (tmp_path / "em").exists()


def test_a_plan_knows_the_device_and_the_time_of_a_unit(create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(create, cell=(16, 16, 16))
    monkeypatch.setattr(Create, "device_bytes", lambda self, unit, io: unit.voxels)
    first = run.inline(small)
    assert run.plan(small).run.device_bytes == 16**3
    seconds = statistics.median(line["seconds"] for line in records.all_lines(Store(), first))
    seen: list[float | None] = []

    def span(_units: int, known: float | None) -> int:
        seen.append(known)
        return 1

    monkeypatch.setattr(records, "span", span)
    assert run.plan(small).run.stage == first.stage
    assert seen == [seconds]


def test_more_memory_than_allowed_is_refused(create: Create, tmp_path: Path) -> None:
    greedy = Create(source=create.source, layer=create.layer, axes="xyz", memory=1000)
    with pytest.raises(SpecError, match=r"memory is 1,000; ask for less"):
        run.inline(greedy)
    assert not (tmp_path / "em").exists()


def test_a_roi_beside_the_layer_is_refused(create: Create) -> None:
    run.inline(create)
    with pytest.raises(SpecError, match="nothing to do"):
        run.plan(Downsample(layer=create.layer, roi=Box((900, 0, 0), (901, 1, 1))))


def test_a_wrong_queue_is_refused_before_the_layer_is_made(create: Create, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="kafka"):
        run.enqueue(create, "kafka://topic")
    assert not (tmp_path / "em").exists()


def test_the_queue_and_the_priority_of_a_run_are_on_record(create: Create) -> None:
    ready = run.enqueue(create, "memory://priority", "high")
    said = Store().get_json(f"{ready.folder}/queue.json")
    assert said == {"queue": "memory://priority", "priority": "high"}
    queues.connect("memory://priority").purge()


def test_running_here_in_two_processes_finishes_the_run(create: Create) -> None:
    done = run.here(create, processes=2)
    assert records.finished(Store(), done)
    assert queues.connect(f"memory://{done.id}").counts().waiting == 0


def test_what_fails_here_is_said(create: Create, tmp_path: Path) -> None:
    run.inline(create)
    next((tmp_path / "em" / "1_1_1").glob("*.gz")).unlink()
    with pytest.raises(run.DeadLetters, match=r"(?s)1 message.*is missing"):
        run.here(Downsample(layer=create.layer))
    with pytest.raises(DataError, match="is missing"):
        run.inline(Downsample(layer=create.layer))


def test_a_finished_range_is_not_run_again(create: Create, tmp_path: Path) -> None:
    done = run.inline(create)
    chunk = next((tmp_path / "em" / "1_1_1").glob("*.gz"))
    chunk.unlink()
    seen: list[str] = []
    Task(next(done.messages()), Store(), tell=lambda event, _: seen.append(event)).execute()
    assert seen == ["begun"]
    assert not chunk.exists()


def test_of_two_who_publish_the_slower_one_is_content(
    create: Create, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run.inline(create)
    mark, message = tmp_path / "em/runs" / done.id / "finished.json", next(done.messages())
    mark.unlink()

    def finish(_: Create, io: IO) -> None:
        """The slower one has begun to write when the other one ends, who sweeps up."""
        io.put(f"file://{tmp_path}/em/slow", b"slow")
        monkeypatch.undo()
        assert task.finish(message, task.store_of(done))

    monkeypatch.setattr(Create, "finish", finish)
    assert task.finish(message, task.store_of(done))
    assert records.finished(Store(), done)
    mark.unlink()
    monkeypatch.setattr(records, "mark_finished", lambda *_: gone())
    with pytest.raises(TransientError):
        task.finish(message, task.store_of(done))


def gone() -> None:
    raise TransientError("gone")


def test_a_run_whose_layer_changed_meanwhile_is_refused(create: Create, tmp_path: Path) -> None:
    message = next(run.plan(create).run.messages())
    other = Create(source=create.source, layer=create.layer, axes="xyz", chunk=(16, 16, 16), cell=(16, 16, 16))
    run.inline(other)
    wrong = replace(message, run=replace(message.run, units=7), hi=7)
    records.save(Store(), wrong.run)
    with pytest.raises(SpecError, match=r"planned with 7 units and now there are 1"):
        Task(wrong, Store()).execute()
