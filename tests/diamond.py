"""What tests of pipelines share: a recipe of five steps of the drill, and what they leave."""

from __future__ import annotations

import dataclasses
import importlib
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from igneous_ng import history, recipes, run, survey
from igneous_ng.pipeline import Change, Here
from igneous_ng.recipes import Recipe, Step
from igneous_ng.records import Run
from igneous_ng.store import Store
from igneous_ng.worker.policy import Policy
from tests.drill import drill

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
    kept = (p for p in found if p.name not in ("diary.txt", "provenance") and "runs" not in p.relative_to(folder).parts)
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
