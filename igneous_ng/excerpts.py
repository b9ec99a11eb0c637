"""A part of a recipe: from some steps on, and up to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from igneous_ng.errors import SpecError
from igneous_ng.recipes import Recipe, reached


def part(recipe: Recipe, first: Sequence[str], last: Sequence[str]) -> Recipe:
    """From the steps ``first`` on, what is before them being there already, and no further than ``last``.

    Names are of steps, or of all instances of one; none: from the beginning, or to the end. Nothing is redone.
    """
    waits = {step.name: frozenset(step.after) for step in recipe.steps}
    ends = {one for name in last for one in _named(recipe, name)} or set(waits)
    before = {one for name in first for step in _named(recipe, name) for one in reached(waits, step)}
    kept = ends.union(*(reached(waits, one) for one in ends)) - before
    if not kept:
        raise SpecError(f"{recipe.name}: all that leads to {', '.join(last)} is before {', '.join(first)}")
    return replace(
        recipe,
        steps=tuple(
            replace(step, after=tuple(name for name in step.after if name in kept))
            for step in recipe.steps
            if step.name in kept
        ),
        redo=None,
    )


def _named(recipe: Recipe, name: str) -> list[str]:
    found = [step.name for step in recipe.steps if name in (step.name, step.name.partition("[")[0])]
    if not found:
        names = ", ".join(step.name for step in recipe.steps)
        raise SpecError(f"{recipe.name}: no step is called {name!r}; there are: {names}")
    return found
