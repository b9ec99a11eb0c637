"""What each stage of the demo took, from its records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from igneous_ng import history, records
from igneous_ng.recipes import Recipe
from igneous_ng.store import Store


@dataclass(frozen=True)
class Cost:
    """One run: what it took in all, and the most that a process held."""

    stage: str
    units: int
    cpu_seconds: float
    span_seconds: float
    """From the begin of its first unit to the end of its last."""
    peak_bytes: int
    begun: float


def of(parts: Iterable[Recipe]) -> list[Cost]:
    """Those of all runs at the layers that the steps of some recipes make, in the order in which they began."""
    store, homes = Store(), sorted({step.stage.home() for recipe in parts for step in recipe.steps})
    found = []
    for run in (run for home in homes for run in history.runs(store, home)):
        lines = list(records.all_lines(store, run))
        if lines:
            begun = min(line["start"] for line in lines)
            span = max(line["start"] + line["seconds"] for line in lines) - begun
            cpu, peak = sum(line["cpu_seconds"] for line in lines), max(line["peak_bytes"] for line in lines)
            found.append(Cost(run.name, len(lines), cpu, span, peak, begun))
    return sorted(found, key=lambda one: one.begun)
