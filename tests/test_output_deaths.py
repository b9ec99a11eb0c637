"""Outputs under death: before every step of every write and of whole runs, by kill -9, and against a loss of power."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import records, run, store
from igneous_ng.io import IO
from igneous_ng.records import Run
from igneous_ng.stage import Stage
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.store import Store, compressed, digest
from igneous_ng.worker import task
from igneous_ng.worker.task import Task
from tests.faults import ACTIONS, EMPTY, NEW, OLD, forked, lived, steps_of, tree, url

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


# One object.


@pytest.mark.parametrize("scratch", [False, True], ids=["beside", "scratch"])
@pytest.mark.parametrize("name", ACTIONS)
def test_death_before_any_step_leaves_whole_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, scratch: bool
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    action, root = ACTIONS[name], tmp_path / "0"
    action.begin(root)
    steps = steps_of(lambda: action.run(root, scratch))
    wanted = action.finish(root, scratch)
    for step in steps:
        action.begin(root)
        assert not lived(lambda: action.run(root, scratch), step.number)
        action.check(root)
        left = {path for path in tree(root) if ".tmp-" in path}
        assert all(path.startswith("runs/tmp/") for path in left) or not scratch
        found = action.finish(root, scratch)
        assert found.keys() - wanted.keys() == (set() if scratch else left)
        assert {path: found[path] for path in wanted} == wanted


def test_no_older_content_shows_when_a_delete_dies(tmp_path: Path) -> None:
    place = url(tmp_path / "name")

    def begin() -> None:
        """As a writer leaves it that died before it removed the old one."""
        (tmp_path / "name").write_bytes(NEW)
        (tmp_path / "name.gz").write_bytes(compressed(OLD, "gzip"))

    begin()
    for step in steps_of(lambda: Store().delete(place)):
        begin()
        assert not lived(lambda: Store().delete(place), step.number)
        assert Store().get(place) in (NEW, None)


# A run.


class Life:
    """A stage, carried out as workers do, from wherever another left it."""

    def __init__(self, stage: Stage) -> None:
        self.stage, planned = stage, run.plan(stage).run
        self.run = Run(planned.id, planned.home, planned.stage, planned.units, span=2)
        self.home = Path(self.run.home.removeprefix("file://"))

    def store(self) -> Store:
        return task.store_of(self.run)

    def live(self) -> None:
        store = self.store()
        self.stage.prepare(IO(store))
        records.save(store, self.run)
        for message in self.run.messages():
            Task(message, store).execute()
        assert task.finish(message, store)

    def outputs(self) -> dict[str, bytes]:
        return {
            name: data for name, data in tree(self.home).items() if name.split("/")[0] not in ("runs", "provenance")
        }

    def check_records(self) -> None:
        """What is said to be written is there."""
        for line in records.all_lines(Store(), self.run):
            for written in line["writes"]:
                path = Path(written["url"].removeprefix("file://"))
                stored = path if path.exists() else path.with_name(f"{path.name}.gz")
                assert digest(stored.read_bytes()) == written["digest"]

    def check_finished(self) -> None:
        """Each unit has one record, and nothing is left over."""
        every, whole = list(range(self.run.units)), self.home.glob("runs/*/records/*/*.jsonl")
        assert sorted(line["unit"] for line in records.all_lines(Store(), self.run)) == every
        assert sorted(json.loads(line)["unit"] for path in whole for line in path.read_text().splitlines()) == every
        assert records.finished(Store(), self.run)
        assert not [name for name in tree(self.home) if ".tmp-" in name or name.endswith("/tmp")]


@pytest.fixture(params=["create", "downsample"])
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Life:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(store, "_THREADS", 1)  # so that each attempt takes the same steps
    voxels = np.random.default_rng(0).integers(0, 255, (24, 12, 8), np.uint8)
    np.save(tmp_path / "em.npy", voxels)
    chunk = (8, 8, 8)
    create = Create(
        source=str(tmp_path / "em.npy"), layer=str(tmp_path / "em"), axes="xyz", chunk=chunk, cell=(8, 16, 8)
    )
    if request.param == "create":
        return Life(create)
    run.inline(create)
    shutil.rmtree(tmp_path / "em" / "runs")
    return Life(Downsample(layer=str(tmp_path / "em"), num_mips=1))


class Trial:
    """A life lived once undisturbed; then others begin where it began and must come to the same outputs."""

    def __init__(self, life: Life, beginning: Path) -> None:
        self.life, self.beginning = life, beginning
        self.before = life.outputs()
        if life.home.exists():
            shutil.copytree(life.home, beginning)
        self.steps = steps_of(life.live)
        life.check_finished()
        self.wanted = life.outputs()

    def begin(self) -> None:
        shutil.rmtree(self.life.home)
        if self.beginning.exists():
            shutil.copytree(self.beginning, self.life.home)

    def check_dead(self) -> None:
        """Every object is whole and among those that are to be, or were, and no temporary is among them."""
        for name, data in self.life.outputs().items():
            assert data in (EMPTY, self.wanted.get(name), self.before.get(name)), name
        self.life.check_records()

    def check_finished(self) -> None:
        self.life.check_finished()
        assert self.life.outputs() == self.wanted


@pytest.mark.long
def test_a_run_that_dies_before_any_step_comes_to_the_same_end(life: Life, tmp_path: Path) -> None:
    trial = Trial(life, tmp_path / "beginning")
    for step in trial.steps:
        trial.begin()
        assert not lived(life.live, step.number)
        trial.check_dead()
        life.live()
        trial.check_finished()
    assert {step.call for step in trial.steps} - {"link"} == {
        "mkdir",
        "open",
        "write",
        "fsync",
        "replace",
        "unlink",
        "rmdir",
    }


def test_a_run_that_dies_again_and_again_comes_to_the_same_end(life: Life, tmp_path: Path) -> None:
    trial, chance = Trial(life, tmp_path / "beginning"), random.Random(3)
    for _ in range(4):
        trial.begin()
        while not lived(life.live, chance.randint(1, len(trial.steps))):
            trial.check_dead()
        trial.check_finished()


def test_no_record_gets_its_name_before_its_outputs_have_theirs_on_the_disk(life: Life, tmp_path: Path) -> None:
    trial, pending, claims = Trial(life, tmp_path / "beginning"), set(), 0
    for step in trial.steps:
        if step.call == "fsync":
            pending.discard(step.path)
        elif step.call in ("replace", "link", "mkdir"):
            if "/records/" in step.path or step.path.endswith("finished.json"):
                claims += step.call == "replace"
                assert not [folder for folder in pending if "/runs/" not in folder]
            pending.add(os.path.dirname(step.path))
    assert claims > life.run.units
    assert not pending


# Kill -9.


@pytest.mark.parametrize("kills", [12, pytest.param(1000, marks=pytest.mark.long)])
def test_kill_9_leaves_the_bytes_of_an_undisturbed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: time.sleep(0.002))  # on a disk that is neither fast nor slow
    chance, layer, scratch = random.Random(5), tmp_path / "layer", tmp_path / "tmp"
    contents = {f"{i}": chance.randbytes(20_000) for i in range(24)}

    def write_all() -> None:
        store = Store(scratch=url(scratch))
        for name, data in sorted(contents.items(), key=lambda _: random.random()):
            store.put(url(layer / name), data, "gzip")

    begun = time.monotonic()
    write_all()
    usual = time.monotonic() - begun
    wanted, torn = tree(layer), 0
    assert wanted == {f"{name}.gz": compressed(data, "gzip") for name, data in contents.items()}
    shutil.rmtree(layer)
    for _ in range(kills // 2):
        both = [forked(write_all), forked(write_all)]
        time.sleep(chance.uniform(0, usual))
        for pid in both:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert tree(layer).items() <= wanted.items()
        torn = max(torn, len(os.listdir(scratch)) if scratch.exists() else 0)
    assert torn > 0  # some were killed while they wrote
    write_all()
    Store(scratch=url(scratch)).sweep()
    assert tree(tmp_path) == {f"layer/{name}": data for name, data in wanted.items()}
