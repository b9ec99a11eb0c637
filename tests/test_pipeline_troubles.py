"""Steps that fail, storage that fails, drivers that are killed: each unit is done once, and the bytes are the same."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from igneous_ng import chains, pipeline, queues, records, run, steering, survey
from igneous_ng.errors import SpecError, TransientError
from igneous_ng.pipeline import Change, Fleet
from igneous_ng.recipes import Recipe, Step
from igneous_ng.records import Run
from igneous_ng.store import Store
from tests.diamond import (
    DIAMOND,
    STEPS,
    STORE,
    began,
    drill,
    faulty,
    heard,
    here,
    memory,
    objects,
    parse,
    recipe,
    runs,
    states,
    whole,
    worker,
)
from tests.drill import CLI
from tests.queue_harness import use_emulator

__all__ = ["drill", "heard", "recipe"]


# Trouble.


def test_a_dead_letter_stops_what_needs_it_and_nothing_else(
    recipe: Recipe, tmp_path: Path, heard: list[Change]
) -> None:
    broken = faulty(recipe, "left")
    url = f"fq://{tmp_path}/queue"
    with pytest.raises(run.DeadLetters) as caught:
        pipeline.carry_out(broken, Fleet(url), heard.append, worker(url, []))
    (dead,) = runs(tmp_path, "left")
    assert f"step left: {dead.folder}: units were given up; `igneous-ng status {dead.folder}` says more" in str(
        caught.value
    )
    assert "left undone: bottom." in str(caught.value)
    assert states(broken) == {
        "top": "done", "left": "failed", "right[a]": "done", "right[b]": "done", "bottom": "waits"
    }  # fmt: skip
    assert [change.state for change in heard if change.step == "left"] == ["begun", "trouble"]
    pipeline.carry_out(broken, Fleet(url), heard.append, worker(url))
    assert objects(tmp_path) == whole(3)
    assert began(tmp_path, "left") == Counter({0: 1, 1: 2, 2: 1}), "only what was given up is tried again"
    assert len(runs(tmp_path, "left")) == 1


def test_here_too_what_does_not_need_a_failed_step_is_done(recipe: Recipe, tmp_path: Path) -> None:
    broken = faulty(recipe, "right[a]")
    with pytest.raises(
        run.DeadLetters, match=r"(?s)step right\[a\]: file://.*/right-a/runs/.*says more; because of that"
    ):
        pipeline.carry_out(broken, here(), lambda _: None)
    assert states(broken) == {
        "top": "done", "left": "done", "right[a]": "failed", "right[b]": "done", "bottom": "waits"
    }  # fmt: skip
    pipeline.carry_out(broken, here(), lambda _: None)
    assert objects(tmp_path) == whole(3)


def test_letters_that_are_put_back_meanwhile_let_the_step_go_on(
    recipe: Recipe, tmp_path: Path, heard: list[Change]
) -> None:
    url, looks = memory(), [0]
    target = queues.connect(url)

    def work(seconds: float) -> None:
        looks[0] += 1
        if looks[0] == 2:  # a letter of one branch dies, and nobody has begun with the others
            for lease in list(iter(lambda: target.lease(60), None)):
                message = records.Message.parse(lease.body)
                if message.run.home.endswith("left") and message.lo == 1:
                    records.give_up(STORE, message, {"cause": "data"})
                    target.fail(lease, "no")
                else:
                    target.release(lease)
            return
        if looks[0] == 3:
            assert steering.retry(STORE, target) == 1
        worker(url)(seconds)

    pipeline.carry_out(recipe, Fleet(url), heard.append, work)
    assert objects(tmp_path) == whole(3)
    assert [change.state for change in heard if change.step == "left"] == ["begun", "trouble", "done"]


def test_a_cancelled_run_ends_the_pipeline_and_is_taken_up_when_it_is_started_again(
    recipe: Recipe, tmp_path: Path
) -> None:
    url = memory()

    def cancel(_seconds: float) -> None:
        steering.cancel(STORE, runs(tmp_path, "top")[0])

    with pytest.raises(run.DeadLetters, match="step top: .*it was cancelled.*left undone: left, right"):
        pipeline.carry_out(recipe, Fleet(url), lambda _: None, cancel)
    pipeline.carry_out(recipe, Fleet(url), lambda _: None, worker(url))
    assert objects(tmp_path) == whole(3)
    assert len(runs(tmp_path, "top")) == 1


def test_what_is_refused_at_the_beginning_begins_nothing(recipe: Recipe, tmp_path: Path) -> None:
    more = parse(DIAMOND + '[steps.wrong]\nstage = "drill run"\nlayer = "w"\nneeds = 9_000_000_000\n', tmp_path)
    with pytest.raises(SpecError, match="memory is 3,000,000,000"):
        pipeline.carry_out(more, here(), lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused_later_is_a_wrong_request_of_that_step(recipe: Recipe, tmp_path: Path) -> None:
    text = DIAMOND + '[steps.wrong]\nstage = "drill run"\nlayer = "w"\nneeds = 9_000_000_000\nafter = ["top"]\n'
    with pytest.raises(SpecError, match="step wrong: drill run: a task would take"):
        pipeline.carry_out(parse(text, tmp_path), here(), lambda _: None)
    assert objects(tmp_path) == whole(3)


def test_storage_that_fails_for_a_moment_is_asked_again(
    recipe: Recipe, tmp_path: Path, heard: list[Change], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, chance, real = memory(), random.Random(1), records.finished

    def shaky(store: Store, ready: Run) -> bool:
        if chance.random() < 0.3:
            raise TransientError("the bucket is slow")
        return real(store, ready)

    fleet = Fleet(url)
    with monkeypatch.context() as shaking:
        shaking.setattr(records, "finished", shaky)
        shaking.setattr(survey, "views", lambda _store, _recipe: iter(()))  # what is planned before is not the matter
        shaking.setattr(pipeline, "_TRIES", 200)

        def work(seconds: float) -> None:
            with monkeypatch.context() as calm:
                calm.setattr(records, "finished", real)
                worker(url)(seconds)

        pipeline.carry_out(recipe, fleet, heard.append, work)
    assert any("will be tried again: the bucket is slow" in change.text for change in heard)
    assert objects(tmp_path) == whole(3)
    assert all(began(tmp_path, layer) == Counter(range(3)) for layer in STEPS.values())


def test_storage_that_never_answers_ends_it(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(store: Store, ready: Run) -> bool:
        raise TransientError("no")

    monkeypatch.setattr(records, "finished", broken)
    looks: list[float] = []
    with pytest.raises(TransientError):
        pipeline.carry_out(recipe, Fleet(memory()), lambda _: None, looks.append)
    assert len(looks) == 20


# Killed and started again.


def test_an_empty_queue_gets_again_what_a_run_lacks(recipe: Recipe, tmp_path: Path) -> None:
    url, now = memory(), [0.0]

    def lose(_seconds: float) -> None:
        if now[0] == 0:
            queues.connect(url).purge()
        now[0] += 30
        if now[0] > 70:
            worker(url)(0)

    pipeline.carry_out(recipe, Fleet(url, clock=lambda: now[0]), lambda _: None, lose)
    assert objects(tmp_path) == whole(3)
    assert all(len(runs(tmp_path, layer)) == 1 for layer in STEPS.values())


@pytest.mark.long
def test_on_sqs_another_driver_goes_on(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_emulator(monkeypatch)
    url = f"sqs://{uuid.uuid4().hex}"

    def die(_seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.carry_out(recipe, Fleet(url, "high"), lambda _: None, die)
    pipeline.carry_out(recipe, Fleet(url, "high"), lambda _: None, worker(url))
    assert objects(tmp_path) == whole(3)
    for layer in STEPS.values():
        assert began(tmp_path, layer) == Counter(range(3)), "nothing was put twice"


@pytest.mark.parametrize("kills", [2, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_a_killed_driver_is_followed_by_another_elsewhere(drill: Any, tmp_path: Path, kills: int) -> None:
    count = 3 * kills
    url, chance = f"fq://{tmp_path}/queue", random.Random(kills)
    file = tmp_path / "pipe.toml"
    file.write_text(DIAMOND)
    words = ["run", str(file), "--queue", url, "--set", f"count={count}", "--set", "seconds=0.1"]
    queues.connect(url).put(())
    fleet = [subprocess.Popen([*CLI, "execute", url, "--wait"], stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        killed = 0
        for number in range(kills):
            folder = tmp_path / f"elsewhere-{number}"
            folder.mkdir()
            driver = subprocess.Popen([*CLI, *words], cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            time.sleep(0.3 + chance.expovariate(4))
            killed += driver.poll() is None
            driver.kill()
            driver.wait()
        assert killed > kills // 2, "most had something left to do"
        done = subprocess.run([*CLI, *words], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
    finally:
        for one in fleet:
            one.send_signal(signal.SIGTERM)
            one.wait()
    assert objects(tmp_path) == whole(count)
    for layer in STEPS.values():
        assert len(runs(tmp_path, layer)) == 1
        assert began(tmp_path, layer) == Counter(range(count)), "nothing is done twice"


@pytest.mark.parametrize("kills", [1, pytest.param(30, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_here_too_it_goes_on_where_it_was_killed(drill: Any, tmp_path: Path, kills: int) -> None:
    count, chance = 5 * kills, random.Random(kills)
    file = tmp_path / "pipe.toml"
    file.write_text(DIAMOND)
    words = ["run", str(file), "-p", "2", "--set", f"count={count}", "--set", "seconds=0.05"]
    for number in range(kills):
        folder = tmp_path / f"elsewhere-{number}"
        folder.mkdir()
        driver = subprocess.Popen(
            [*CLI, *words], cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(0.4 + chance.expovariate(2))
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    done = subprocess.run([*CLI, *words], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert objects(tmp_path) == whole(count)
    assert all(len(runs(tmp_path, layer)) == 1 for layer in STEPS.values())


def test_where_storage_has_no_locks_one_step_at_a_time_publishes_in_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    home = "s3://bucket/seg"
    layers = {"a": home, "b": home, "c": f"{home}2"}
    text = "".join(f'[steps.{n}]\nstage = "mesh merge"\nlayer = "{url}"\ndir = "{n}"\n' for n, url in layers.items())
    recipe = parse(text, Path("/"))
    recipe = dataclasses.replace(recipe, steps=tuple(dataclasses.replace(step, after=()) for step in recipe.steps))
    going: list[set[str]] = [set()]
    ready = records.new_run({"stage": "mesh merge"}, home, 1)

    def pursued(step: Step, *_: Any) -> Generator[Run, None, Run]:
        going.append(going[-1] | {step.name})
        yield ready
        yield ready
        going.append(going[-1] - {step.name})
        return ready

    monkeypatch.setattr(pipeline, "_pursued", pursued)
    monkeypatch.setattr(survey, "views", lambda _store, _recipe: iter(()))
    monkeypatch.setattr(records, "finished", lambda _store, _run: False)
    monkeypatch.setattr(chains, "trouble", lambda _store, _run: "")
    pipeline.carry_out(recipe, here(), lambda _: None, lambda _: None)
    assert {"a", "c"} in going
    assert {"b"} in going
    assert not [names for names in going if {"a", "b"} <= names]
