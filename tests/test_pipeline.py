"""Steps in their order, here and on queues, and again where their inputs are newer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import cleaning, history, lineage, pipeline, queues, records, run, survey
from igneous_ng.pipeline import Change, Fleet
from igneous_ng.recipes import Recipe
from igneous_ng.stage import to_dict
from igneous_ng.subsets import Subset
from tests.diamond import (
    DIAMOND,
    STEPS,
    STORE,
    began,
    drill,
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
from tests.layers import create

__all__ = ["drill", "heard", "recipe"]


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


@pytest.mark.long
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


@pytest.mark.long
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
    whole_run = history.of(STORE, left.home(), to_dict(left))
    some = Subset.of_units(3, [(1, (next(whole_run).id, 1))])
    records.save(STORE, run.plan(left, some).run)
    assert states(recipe) == dict.fromkeys(STEPS, "done")


@pytest.mark.long
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


@pytest.mark.long
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
