"""What each stage of the demo took, from its records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from igneous_ng import history, records
from igneous_ng.recipes import Recipe
from igneous_ng.records import Run
from igneous_ng.store import Store


@dataclass(frozen=True)
class Cost:
    """All runs of a stage at one layer: what they took together, and the most that a process held."""

    stage: str
    layer: str
    units: int
    cpu_seconds: float
    span_seconds: float
    """From the begin of the first unit of a run to the end of its last."""
    peak_bytes: int
    begun: float


def of(parts: Iterable[Recipe]) -> list[Cost]:
    """Those of all stages at the layers that the steps of some recipes make, in the order in which they began."""
    store, homes = Store(), sorted({step.stage.home() for recipe in parts for step in recipe.steps})
    found: dict[tuple[str, str], Cost] = {}
    for run in (run for home in homes for run in history.runs(store, home)):
        one, key = _cost(store, run), (run.name, run.home)
        if one is not None:
            found[key] = _together(found[key], one) if key in found else one
    return sorted(found.values(), key=lambda one: one.begun)


def _cost(store: Store, run: Run) -> Cost | None:
    lines = list(records.all_lines(store, run))
    if not lines:
        return None
    begun = min(line["start"] for line in lines)
    span = max(line["start"] + line["seconds"] for line in lines) - begun
    cpu, peak = sum(line["cpu_seconds"] for line in lines), max(line["peak_bytes"] for line in lines)
    return Cost(run.name, run.home.rpartition("/")[2], len(lines), cpu, span, peak, begun)


def _together(one: Cost, other: Cost) -> Cost:
    return replace(
        one,
        units=one.units + other.units,
        cpu_seconds=one.cpu_seconds + other.cpu_seconds,
        span_seconds=one.span_seconds + other.span_seconds,
        peak_bytes=max(one.peak_bytes, other.peak_bytes),
        begun=min(one.begun, other.begun),
    )
