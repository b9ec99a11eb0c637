"""How far the steps of a recipe are, from records alone, and what is left would take. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from igneous_ng import chains, history, lineage, records, run
from igneous_ng.errors import IgneousError
from igneous_ng.io import IO
from igneous_ng.recipes import Recipe, Step
from igneous_ng.records import Run
from igneous_ng.stage import Stage
from igneous_ng.store import Store

State = Literal[
    "done",
    "waits",  # for other steps
    "ready",  # nothing of it is begun, or of the stage that is next
    "again",  # it was begun before what it needs was finished last: it is to be done anew
    "begun",  # some units are recorded, or none yet
    "paused",
    "failed",  # units were given up, or it was cancelled; starting the pipeline tries again
    "unknown",  # what it reads says less than its stages need to be counted up
]


@dataclass(frozen=True)
class View:
    """A step at a moment: of its ``run``, the last finished or the one begun, ``done`` units are recorded.

    ``needs`` names the steps that are to be finished before; ``next`` is the stage to be done next; ``why`` says more.
    """

    step: Step
    state: State
    needs: tuple[str, ...] = ()
    run: Run | None = None
    done: int = 0
    next: Stage | None = None
    why: str = ""


def reached(store: Store, stage: Stage, sources: Sequence[Run]) -> tuple[list[Run], Stage | None]:
    """The runs of a request that stand, in order, and the stage to be done next; None where all of it is done.

    A run stands if it is the newest of its very request, is finished, and saw the results of ``sources``, the runs of
    what the request needs, or of the stage before it.
    """
    if (runs := lineage.closed(store, stage)) and lineage.unseen(store, runs[0], sources) is None:
        return runs, None
    stand: list[Run] = []
    for step in stage.steps(IO()):
        found = lineage.newest(store, step)
        if found is None or not records.finished(store, found) or lineage.unseen(store, found, stand[-1:] or sources):
            return stand, step
        stand.append(found)
    return stand, None


def views(store: Store, recipe: Recipe) -> Iterator[View]:
    """Each step of ``recipe``, in order."""
    ends: dict[str, Run] = {}
    for step in recipe.steps:
        needs = tuple(name for name in step.after if name not in ends)
        view = View(step, "waits", needs) if needs else _view(store, step, [ends[name] for name in step.after])
        if view.state == "done" and view.run is not None:
            ends[step.name] = view.run
        yield view


def _view(store: Store, step: Step, sources: Sequence[Run]) -> View:
    """A step whose needs are met."""
    try:
        runs, stage = reached(store, step.stage, sources)
    except IgneousError as error:
        return View(step, "unknown", why=str(error))
    if stage is None:
        return View(step, "done", run=runs[-1], done=runs[-1].units)
    found = lineage.newest(store, stage)
    if found is None:
        return View(step, "ready", next=stage)
    if newer := lineage.unseen(store, found, runs[-1:] or sources):
        return View(step, "again", next=stage, why=f"{newer.name} was run since ({newer.folder})")
    why = chains.trouble(store, found)
    state: State = "failed" if why else "paused" if records.marked(store, found, "paused") else "begun"
    return View(step, state, run=found, done=records.done(store, found), next=stage, why=why)


# What is left.


@dataclass(frozen=True)
class Forecast:
    """What the stage that is next of a step would take, as far as that can be planned: else ``error`` says why not.

    ``tasks`` are all units, ``left`` those without a record; ``seconds`` is the time of these in one process, None
    where no earlier run tells. ``notes`` are what the stage wants a user to know before.
    """

    view: View
    tasks: int = 0
    left: int = 0
    peak_bytes: int = 0
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    error: IgneousError | None = None


def forecast(view: View) -> Forecast:
    """What is left of a step."""
    if view.state == "done" and view.run is not None:
        return Forecast(view, tasks=view.run.units, peak_bytes=view.run.peak_bytes, seconds=0.0)
    io = IO()
    try:
        stage = view.next or next(view.step.stage.steps(io))
        plan = run.plan(stage)
        notes = stage.forecast(io)
    except IgneousError as error:
        return Forecast(view, error=error)
    left = plan.run.units - (view.done if view.run is not None and view.run.units == plan.run.units else 0)
    usual = history.usual_seconds(io.store, stage.home(), stage.name)
    return Forecast(view, plan.run.units, left, plan.peak_bytes, None if usual is None else left * usual, notes)
