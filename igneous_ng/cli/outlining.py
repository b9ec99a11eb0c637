"""The steps of a pipeline in words for people, and in JSON's types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from igneous_ng import words
from igneous_ng.recipes import Recipe
from igneous_ng.survey import Forecast, View

_LEFT = {"ready": "to do", "paused": "to continue, paused", "again": "to do again"}


def status(recipe: Recipe, views: Sequence[View]) -> str:
    """How far all steps are, a line for each."""
    done = sum(view.state == "done" for view in views)
    rows = [(view.step.name, view.step.stage.name, _state(view), _more(view)) for view in views]
    return f"{_head(recipe)}: {done} of {words.count(len(views), 'step')} done\n{_joined(rows)}"


def _head(recipe: Recipe) -> str:
    profile, queue = recipe.profile.name, recipe.profile.queue
    return recipe.name + (f", profile {profile}" if profile else "") + (f", on {queue}" if queue else "")


def _state(view: View) -> str:
    if view.run is not None and view.state != "done":
        counted = f"{view.done:,} of {words.count(view.run.units, 'unit')}"
        return f"{view.state}: {counted}" if view.state != "begun" else counted
    if view.state == "waits":
        return f"waits for {', '.join(view.needs)}"
    return _LEFT.get(view.state, view.state)


def _more(view: View) -> str:
    """What else there is to say: which stage of several, what is wrong, and where to look."""
    said = [view.next.name] if view.next is not None and view.next.name != view.step.stage.name else []
    said += [view.why] if view.why else []
    said += [view.run.folder] if view.run is not None else []
    return "; ".join(said)


def raw(view: View) -> dict[str, Any]:
    """A step in JSON's types."""
    return {
        "step": view.step.name,
        "stage": view.step.stage.name,
        "state": view.state,
        "needs": list(view.needs),
        "next": view.next.name if view.next else None,
        "run": view.run.folder if view.run else None,
        "units": view.run.units if view.run else None,
        "done": view.done,
        "why": view.why,
    }


def forecast(recipe: Recipe, found: Sequence[Forecast], price: float | None) -> str:
    """What is left of all steps, a line for each, and the sums."""
    rows = [(one.view.step.name, one.view.step.stage.name, _outlook(one), *_figures(one, price)) for one in found]
    notes = [f"  {one.view.step.name}: {note}" for one in found for note in one.notes]
    return "\n".join([_head(recipe), _joined(rows), *notes, *_sums(recipe, found, price), "nothing was written"])


def _outlook(one: Forecast) -> str:
    view = one.view
    if view.state == "done":
        return "done"
    if view.state == "waits":
        needs = ", ".join(view.needs)
        return f"not yet plannable: needs {needs} first" if one.error else f"to do after {needs}"
    if one.error:
        return f"cannot be planned: {one.error}"
    if view.run is not None:
        return f"to continue{', paused' if view.state == 'paused' else ''}: {one.left:,} of {one.tasks:,} left"
    return _LEFT.get(view.state, view.state)


def _figures(one: Forecast, price: float | None) -> Iterator[str]:
    """Tasks, memory, time and cost; nothing where they are not known."""
    if one.error or one.view.state == "done":
        return
    several = one.view.next is not None and one.view.next.name != one.view.step.stage.name
    yield words.count(one.left, "task") + (f" of {one.view.next.name}" if one.view.next and several else "")
    yield f"each at most {words.amount(one.peak_bytes)}"
    if one.seconds is None:
        yield "time unknown: no earlier run here"
        return
    yield f"about {words.cpu(one.seconds)}"
    if price is not None:
        yield f"cost about {one.seconds / 3600 * price:.3g}"


def _sums(recipe: Recipe, found: Sequence[Forecast], price: float | None) -> Iterator[str]:
    left = [one for one in found if one.view.state != "done"]
    known = [one for one in left if not one.error]
    timed = [one.seconds for one in known if one.seconds is not None]
    yield f"{len(found) - len(left)} of {words.count(len(found), 'step')} done; of {len(known)} more it is known:"
    yield f"  {words.count(sum(one.left for one in known), 'task')}"
    if known:
        yield f"  {words.amount(max(one.peak_bytes for one in known))} of memory at most in one task"
    if timed:
        processes = recipe.profile.processes
        spread = (
            f", {words.duration(sum(timed) / processes)} on {processes} at once" if not recipe.profile.queue else ""
        )
        yield f"  about {words.cpu(sum(timed))} for {words.count(len(timed), 'step')}{spread}"
        if price is not None:
            yield f"  cost about {sum(timed) / 3600 * price:.3g}"


def raw_forecast(one: Forecast, price: float | None) -> dict[str, Any]:
    """What is left of a step, in JSON's types."""
    cost = None if price is None or one.seconds is None else one.seconds / 3600 * price
    return {
        **raw(one.view),
        "tasks": None if one.error else one.tasks,
        "left": None if one.error else one.left,
        "peak_bytes": None if one.error else one.peak_bytes,
        "seconds": None if one.error else one.seconds,
        "cost": cost,
        "notes": list(one.notes),
        "error": str(one.error) if one.error else None,
    }


def _joined(rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(words.table(rows))
