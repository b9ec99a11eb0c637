"""Steps in their order, here and on queues; whatever is killed, each unit is done once and the bytes are the same."""

from __future__ import annotations

import dataclasses
import importlib
import os
import random
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import chains, cleaning, history, lineage, pipeline, queues, recipes, records, run, steering, survey
from igneous_ng.errors import SpecError, TransientError
from igneous_ng.pipeline import Change, Fleet, Here
from igneous_ng.recipes import Recipe, Step
from igneous_ng.records import Run
from igneous_ng.store import Store
from igneous_ng.worker.policy import Policy
from tests.drill import CLI, drill
from tests.layers import create
from tests.queue_harness import use_emulator

__all__ = ["drill"]
STORE = Store()
DIAMOND = """
[parameters]
count = 3
seconds = 0.0
[steps.top]
stage = "drill run"
layer = "top"
count = "{count}"
seconds = "{seconds}"
[steps.left]
stage = "drill run"
layer = "left"
count = "{count}"
seconds = "{seconds}"
after = ["top"]
[steps.right]
stage = "drill run"
foreach = { part = ["a", "b"] }
layer = "right-{part}"
count = "{count}"
seconds = "{seconds}"
after = ["top"]
[steps.bottom]
stage = "drill run"
layer = "bottom"
count = "{count}"
seconds = "{seconds}"
after = ["left", "right"]
"""
STEPS = {"top": "top", "left": "left", "right[a]": "right-a", "right[b]": "right-b", "bottom": "bottom"}


@pytest.fixture
def recipe(drill: Any, tmp_path: Path) -> Recipe:
    return parse(DIAMOND, tmp_path)


@pytest.fixture
def heard() -> list[Change]:
    return []


def parse(text: str, folder: Path, **settings: str) -> Recipe:
    return recipes.parse(text, f"{folder}/pipe.toml", None, settings)


def memory() -> str:
    return f"memory://{uuid.uuid4().hex}"


def here() -> Here:
    return Here(1, lambda _: None)


def worker(url: str, heard: list[str] | None = None) -> Callable[[float], None]:
    """What a driver does instead of sleeping: it works on the queue until that is empty."""

    def work(_seconds: float) -> None:
        try:
            run.execute(url, Policy(processes=2, idle=0.2))
        except run.DeadLetters as error:
            if heard is not None:
                heard.append(str(error))

    return work


def states(recipe: Recipe) -> dict[str, str]:
    return {view.step.name: view.state for view in survey.views(STORE, recipe)}


def runs(folder: Path, layer: str) -> list[Run]:
    return list(history.runs(STORE, f"file://{folder}/{layer}"))


def began(folder: Path, layer: str) -> Counter[int]:
    """How often each unit was begun."""
    lines = (folder / layer / "diary.txt").read_text().splitlines()
    return Counter(int(line.split()[1]) for line in lines if line.startswith("began"))


def objects(folder: Path) -> dict[str, bytes]:
    """What the steps made, without records and diaries."""
    found = (p for layer in STEPS.values() for p in (folder / layer).rglob("*") if p.is_file())
    kept = (p for p in found if p.name != "diary.txt" and "runs" not in p.relative_to(folder).parts)
    return {str(p.relative_to(folder)): p.read_bytes() for p in kept}


def faulty(recipe: Recipe, name: str) -> Recipe:
    """The recipe with one step of which a unit fails once, for good."""

    def wrong(step: Step) -> Step:
        stage: Any = step.stage
        return dataclasses.replace(step, stage=dataclasses.replace(stage, faults=("1:data:1",)))

    steps = (wrong(step) if step.name == name else step for step in recipe.steps)
    return dataclasses.replace(recipe, steps=tuple(steps))


def whole(count: int) -> dict[str, bytes]:
    content = importlib.import_module("igneous_drill").content
    made = {f"{layer}/data/{unit}": content(unit) for layer in STEPS.values() for unit in range(count)}
    return {**made, **{f"{layer}/published": b"yes" for layer in STEPS.values()}}


# Order.


@pytest.mark.parametrize("place", ["here", "fleet"])
def test_every_step_is_done_once_and_after_those_that_it_waits_for(
    recipe: Recipe, tmp_path: Path, heard: list[Change], place: str
) -> None:
    url = memory()
    pipeline.carry_out(recipe, here() if place == "here" else Fleet(url), heard.append, worker(url))
    assert objects(tmp_path) == whole(3)
    ends = [change.step for change in heard if change.state == "done"]
    assert ends[0] == "top"
    assert ends[-1] == "bottom"
    assert sorted(ends) == sorted(STEPS)
    assert states(recipe) == dict.fromkeys(STEPS, "done")
    for layer in STEPS.values():
        assert began(tmp_path, layer) == Counter(range(3))
    last, first = runs(tmp_path, "bottom")[0], runs(tmp_path, "top")[0]
    sources = STORE.get_json(f"{last.folder}/after.json")["runs"]  # type: ignore[index]
    assert sources == [runs(tmp_path, layer)[0].folder for layer in ("left", "right-a", "right-b")]
    assert STORE.get_json(f"{first.folder}/after.json") == {"runs": []}


def test_all_that_can_be_done_waits_on_the_queue_at_once(recipe: Recipe, heard: list[Change]) -> None:
    url = memory()
    waiting: list[int] = []

    def work(seconds: float) -> None:
        waiting.append(queues.connect(url).counts().waiting)
        worker(url)(seconds)

    pipeline.carry_out(recipe, Fleet(url), heard.append, work)
    assert waiting == [3, 9, 3]
    order = [(change.step, change.state) for change in heard]
    branches = [order.index((name, "begun")) for name in ("left", "right[a]", "right[b]")]
    assert max(branches) < min(order.index((name, "done")) for name in ("left", "right[a]", "right[b]"))
    queues.connect(url).purge()


def test_what_is_done_is_passed_over_by_whoever_comes_later(
    recipe: Recipe, tmp_path: Path, heard: list[Change]
) -> None:
    pipeline.carry_out(recipe, here(), heard.append)
    heard.clear()
    url = memory()
    pipeline.carry_out(recipe, Fleet(url), heard.append, lambda _: pytest.fail("there is nothing to wait for"))
    assert [change.step for change in heard] == list(STEPS)
    assert all("is done already, by run" in change.text for change in heard)
    assert all(len(runs(tmp_path, layer)) == 1 for layer in STEPS.values())


# Doing again.


def test_what_came_before_a_new_run_of_its_inputs_is_done_again_and_only_that(
    recipe: Recipe, tmp_path: Path, heard: list[Change]
) -> None:
    pipeline.carry_out(recipe, here(), heard.append)
    (left,) = (step.stage for step in recipe.steps if step.name == "left")
    run.here(left)
    assert states(recipe) == {**dict.fromkeys(STEPS, "done"), "bottom": "again"}
    heard.clear()
    pipeline.carry_out(recipe, here(), heard.append)
    again = [change for change in heard if change.state == "begun"]
    assert {change.step for change in again} == {"bottom"}
    assert f"is to be done anew: drill run was run since ({runs(tmp_path, 'left')[0].folder})" in again[0].text
    assert [len(runs(tmp_path, layer)) for layer in STEPS.values()] == [1, 2, 1, 1, 2]
    assert states(recipe) == dict.fromkeys(STEPS, "done")


def test_a_rolled_back_run_counts_for_nothing(recipe: Recipe, tmp_path: Path, heard: list[Change]) -> None:
    pipeline.carry_out(recipe, here(), heard.append)
    records.set_mark(STORE, runs(tmp_path, "top")[0], "rolledback")
    assert states(recipe)["top"] == "ready"
    assert states(recipe)["bottom"] == "waits"
    pipeline.carry_out(recipe, here(), heard.append)
    assert [len(runs(tmp_path, layer)) for layer in STEPS.values()] == [2] * 5


def test_a_rolled_back_second_run_leaves_the_first_one_but_what_saw_the_second_is_done_again(
    recipe: Recipe, tmp_path: Path, heard: list[Change]
) -> None:
    pipeline.carry_out(recipe, here(), heard.append)
    (left,) = (step.stage for step in recipe.steps if step.name == "left")
    second = run.here(left)
    pipeline.carry_out(recipe, here(), heard.append)
    records.set_mark(STORE, second, "rolledback")
    assert states(recipe) == {**dict.fromkeys(STEPS, "done"), "bottom": "again"}


def test_a_run_of_a_part_of_the_units_is_no_run_of_the_step(recipe: Recipe, tmp_path: Path) -> None:
    pipeline.carry_out(recipe, here(), lambda _: None)
    (left,) = (step.stage for step in recipe.steps if step.name == "left")
    part = run.plan(left).run
    records.save(STORE, part)
    STORE.put_json(f"{part.folder}/subset.json", {})
    assert states(recipe) == dict.fromkeys(STEPS, "done")


def test_another_value_of_a_parameter_is_another_request(recipe: Recipe, tmp_path: Path) -> None:
    pipeline.carry_out(recipe, here(), lambda _: None)
    other = parse(DIAMOND, tmp_path, count="4")
    assert states(other)["top"] == "ready"
    pipeline.carry_out(other, here(), lambda _: None)
    assert objects(tmp_path) == whole(4)


def test_a_run_by_hand_is_judged_by_the_clocks(recipe: Recipe, tmp_path: Path) -> None:
    stages = {step.name: step.stage for step in recipe.steps}
    for name in ("left", "top", "right[a]", "right[b]"):
        run.here(stages[name])
    assert states(recipe) == {
        "top": "done", "left": "again", "right[a]": "done", "right[b]": "done", "bottom": "waits"
    }  # fmt: skip


def test_an_unfinished_run_that_saw_older_inputs_is_cancelled_and_begun_anew(recipe: Recipe, tmp_path: Path) -> None:
    stages = {step.name: step.stage for step in recipe.steps}
    url = memory()
    run.here(stages["top"])
    old = run.enqueue(stages["left"], url)
    lineage.enter(STORE, old, runs(tmp_path, "top"))
    run.here(stages["top"])
    pipeline.carry_out(recipe, Fleet(url), lambda _: None, worker(url))
    assert records.marked(STORE, old, "cancelled")
    assert not records.finished(STORE, old)
    assert objects(tmp_path) == whole(3)
    assert began(tmp_path, "left") == Counter(range(3)), "workers leave what is cancelled alone"


def test_a_chain_is_done_even_where_what_its_stages_told_each_other_is_cleaned_away(tmp_path: Path) -> None:
    create(tmp_path / "seg", np.ones((8, 8, 8, 1), np.uint8), (0, 0, 0))
    text = '[steps.parts]\nstage = "ccl auto"\nsource = "seg"\nlayer = "parts"\ncell = [4, 4, 4]\n'
    recipe = parse(text, tmp_path)
    url = memory()
    pipeline.carry_out(recipe, Fleet(url), lambda _: None, worker(url))
    count = len(runs(tmp_path, "parts"))
    assert count > 4
    for waste in list(cleaning.wastes(STORE, f"file://{tmp_path}/parts", 0.0)):
        cleaning.remove(STORE, waste)
    assert not (tmp_path / "parts" / "ccl").exists()
    assert states(recipe) == {"parts": "done"}
    pipeline.carry_out(recipe, here(), lambda _: None)
    assert len(runs(tmp_path, "parts")) == count


def test_a_chain_goes_on_with_the_stage_where_it_was_left(tmp_path: Path, heard: list[Change]) -> None:
    create(tmp_path / "seg", np.ones((8, 8, 8, 1), np.uint8), (0, 0, 0))
    text = '[steps.parts]\nstage = "ccl auto"\nsource = "seg"\nlayer = "parts"\ncell = [4, 4, 4]\n'
    recipe, url = parse(text, tmp_path), memory()
    looks = [2]

    def work(seconds: float) -> None:
        if not looks[0]:
            raise KeyboardInterrupt
        looks[0] -= 1
        worker(url)(seconds)

    with pytest.raises(KeyboardInterrupt):
        pipeline.carry_out(recipe, Fleet(url), lambda _: None, work)
    (view,) = survey.views(STORE, recipe)
    assert (view.state, view.next.name if view.next else "") == ("begun", "ccl rank")
    pipeline.carry_out(recipe, here(), heard.append)
    names = Counter(one.name for one in runs(tmp_path, "parts"))
    assert names == {"ccl label": 1, "ccl join": 1, "ccl rank": 2, "ccl relabel": 1}
    assert "goes on with ccl rank" in heard[0].text


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


@pytest.mark.parametrize("kills", [5, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
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


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
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
