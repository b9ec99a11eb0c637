"""Parts of a recipe: from some steps on, up to others, and what is refused."""

from __future__ import annotations

import pytest

from igneous_ng import excerpts, recipes
from igneous_ng.errors import SpecError
from igneous_ng.recipes import Recipe

TEXT = """
[steps.create]
stage = "image create"
source = "a.npy"
layer = "seg"
axes = "zyx"
resolution = [8, 8, 8]
[steps.pyramid]
stage = "image downsample"
layer = "@create"
num_mips = 1
[steps.pieces]
stage = "mesh forge"
layer = "@pyramid"
[steps.meshes]
stage = "mesh merge"
layer = "@pieces"
[steps.forest]
stage = "skeleton forge"
layer = "@pyramid"
[steps.skeletons]
stage = "skeleton merge"
layer = "@forest"
[redo]
"""


def recipe() -> Recipe:
    return recipes.parse(TEXT, "/data/file.toml")


def kept(first: list[str], last: list[str]) -> dict[str, tuple[str, ...]]:
    return {step.name: step.after for step in excerpts.part(recipe(), first, last).steps}


def test_from_a_step_on_what_was_before_it_is_not_waited_for() -> None:
    found = kept(["pieces", "forest"], [])
    assert found == {"pieces": (), "meshes": ("pieces",), "forest": (), "skeletons": ("forest",)}


def test_up_to_a_step_only_what_leads_to_it() -> None:
    assert list(kept([], ["pieces"])) == ["create", "pyramid", "pieces"]
    assert kept(["pieces"], ["meshes"]) == {"pieces": (), "meshes": ("pieces",)}


def test_the_stages_are_those_of_the_whole_and_nothing_is_redone() -> None:
    whole = {step.name: step.stage for step in recipe().steps}
    part = excerpts.part(recipe(), ["pieces"], [])
    assert all(step.stage == whole[step.name] for step in part.steps)
    assert recipe().redo is not None
    assert part.redo is None


def test_all_of_it_where_nothing_is_named() -> None:
    assert excerpts.part(recipe(), [], []).steps == recipe().steps


def test_unknown_steps_and_empty_parts_are_refused() -> None:
    with pytest.raises(SpecError, match=r"file.toml: no step is called 'mesh'; there are: create, .*skeletons"):
        excerpts.part(recipe(), ["mesh"], [])
    with pytest.raises(SpecError, match="all that leads to create is before meshes"):
        excerpts.part(recipe(), ["meshes"], ["create"])
