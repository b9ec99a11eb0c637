"""The steps of the demo, carried out by worker processes through a queue in a folder."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path

from igneous_ng import pipeline, recipes
from igneous_ng.errors import ConfigurationError, SpecError
from igneous_ng.recipes import Recipe, Step
from igneous_ng.reporting.steps import Board

SPECIMEN, PIPELINE, MEASURES = RECIPES = ("specimen.toml", "PIPELINE.toml", "measures.toml")
MARKS = {SPECIMEN: "specimen ", PIPELINE: "", MEASURES: "measure "}
"""What is put before the names of steps, where those of all recipes are together."""
_LOOK_S = 0.2  # between two looks at records, which are on this machine
_PATIENCE_S = 60.0  # until workers that were asked to end are killed


@dataclass(frozen=True)
class Course:
    """The demo in ``folder``, by so many worker processes."""

    folder: Path
    size: str
    processes: int

    @property
    def queue(self) -> str:
        """Where tasks wait for workers."""
        return f"fq://{self.folder}/queue"

    def lay_out(self) -> None:
        """Copy the recipes into the folder; SpecError where something else is there."""
        if self.folder.exists() and (not self.folder.is_dir() or self._strange()):
            raise SpecError(f"{self.folder}: is there, and is no folder of a demo; name one that is not there yet")
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in RECIPES:
            (self.folder / name).write_text(_shipped(name), encoding="utf-8")

    def recipe(self, name: str) -> Recipe:
        """One of the recipes, as it lies in the folder."""
        path = self.folder / name
        profile = self.size if name == SPECIMEN else None
        return recipes.parse(path.read_text(encoding="utf-8"), str(path), profile)

    def go(self, say: Callable[[str], None]) -> None:
        """Carry out all recipes: what is done already is passed over."""
        recipe, place = self.whole(), pipeline.Fleet(self.queue)
        say(f"{len(recipe.steps)} steps, on {self.queue}")
        with self._workers() as workers, Board([step.name for step in recipe.steps]) as board:
            pipeline.carry_out(recipe, place, board, partial(_looked, workers, board, self.folder))

    def whole(self) -> Recipe:
        """All recipes as one: each step waits for all of the recipes before its own, and is done again after them."""
        steps, before = list[Step](), tuple[str, ...]()
        for name in RECIPES:
            own = {one.name: f"{MARKS[name]}{one.name}" for one in self.recipe(name).steps}
            for one in self.recipe(name).steps:
                steps.append(replace(one, name=own[one.name], after=(*before, *(own[other] for other in one.after))))
            before = tuple(own.values())
        return replace(self.recipe(PIPELINE), steps=tuple(steps))

    @contextlib.contextmanager
    def _workers(self) -> Iterator[subprocess.Popen[bytes]]:
        words = ["execute", self.queue, "--wait", "-p", str(self.processes), "--root", str(self.folder)]
        with (self.folder / "workers.txt").open("ab") as told:
            workers = subprocess.Popen([sys.executable, "-m", "igneous_ng.cli", *words], stdout=told, stderr=told)
            try:
                yield workers
            finally:
                _end(workers)

    def _strange(self) -> bool:
        return any(self.folder.iterdir()) and not (self.folder / PIPELINE).exists()


def _shipped(name: str) -> str:
    return (resources.files("igneous_ng.demo") / name).read_text(encoding="utf-8")


def _looked(workers: subprocess.Popen[bytes], board: Board, folder: Path, _: float) -> None:
    """Wait until the next look, less than is usual; ConfigurationError where there are no workers any more."""
    if workers.poll() is not None:
        raise ConfigurationError(f"the workers ended with {workers.returncode}; {folder}/workers.txt says why")
    board.pause(_LOOK_S)


def _end(workers: subprocess.Popen[bytes]) -> None:
    workers.send_signal(signal.SIGTERM)
    try:
        workers.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        workers.kill()
        workers.wait()
