"""What a stage took when it was run before, from its records, as a measure for another run of it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from igneous_ng import catalog, extents, history, records
from igneous_ng.errors import IgneousError
from igneous_ng.extents import Extent
from igneous_ng.io import IO
from igneous_ng.records import Line, Run
from igneous_ng.store import Store

_LINES = 400  # that are read of a run, about, spread over it: a few units may take most of the time
_FILES = 24  # at least
_READ = ("seconds", "cpu_seconds", "peak_bytes", "writes")
_PLACES = ("level", "step")  # fields in which the runs of one stage of a chain differ


@dataclass(frozen=True)
class Past:
    """What all units of ``run`` take, judged by ``lines`` of them; of a chain's step also those of its other levels.

    ``unsure`` is the standard error of the CPU time, as a part of it.
    """

    run: Run
    units: int
    lines: int
    extent: Extent | None
    cpu_seconds: float
    seconds: float
    longest: float
    unsure: float
    peak_bytes: int
    written: float
    puts: float


def past(io: IO, where: str, name: str) -> Past | None:
    """What the stage ``name`` took last at ``where``, a layer or the folder of a run; None: it is not recorded."""
    found = [(run, lines) for run in _levels(io.store, where, name) if (lines := _sample(io.store, run))]
    if not found:
        return None
    first = found[0][0]
    sums = {key: sum(run.units * _mean(lines, key) for run, lines in found) for key in ("cpu_seconds", "seconds")}
    every = [line for _, lines in found for line in lines]
    return Past(
        run=first,
        units=sum(run.units for run, _ in found),
        lines=len(every),
        extent=_extent(first, io),
        longest=max(line["cpu_seconds"] for line in every),
        unsure=max(_unsure(run, lines) for run, lines in found),
        peak_bytes=max(line["peak_bytes"] for line in every),
        written=sum(run.units * statistics.fmean(_written(line)[0] for line in lines) for run, lines in found),
        puts=sum(run.units * statistics.fmean(_written(line)[1] for line in lines) for run, lines in found),
        **sums,
    )


def _levels(store: Store, where: str, name: str) -> Iterator[Run]:
    """The newest run of a stage, and the newest of each that differs from it in nothing but its place in a chain."""
    if not where.startswith(history.LISTED):
        return
    single = store.exists(f"{where}/run.json")
    runs = iter((records.load(store, where),)) if single else history.runs(store, where)
    asked: dict[str, Any] | None = None
    seen: list[dict[str, Any]] = []
    for run in runs:
        if run.name != name or run.stage in seen:
            continue
        asked = _elsewhere(run) if asked is None else asked
        if _elsewhere(run) == asked:
            seen.append(run.stage)
            yield run


def _elsewhere(run: Run) -> dict[str, Any]:
    """The request, wherever in a chain it stands."""
    return {key: value for key, value in run.stage.items() if key not in _PLACES}


def _sample(store: Store, run: Run) -> list[Line]:
    files = list(records.stored(store, run))
    count = min(len(files), max(_FILES, _LINES // run.span))
    spread = [files[i * len(files) // count] for i in range(count)]
    return [line for lines in store.map(lambda file: records.lines_of(store, file, _READ), spread) for line in lines]


def _mean(lines: Sequence[Line], key: str) -> float:
    return statistics.fmean(line[key] for line in lines)


def _unsure(run: Run, lines: Sequence[Line]) -> float:
    """The standard error of the mean of a sample, beside the mean; 0 where it is no sample but all."""
    mean = _mean(lines, "cpu_seconds")
    if len(lines) >= run.units or not mean:
        return 0.0
    if len(lines) < 2:
        return 1.0
    return float(statistics.stdev(line["cpu_seconds"] for line in lines) / mean / len(lines) ** 0.5)


def _written(line: Line) -> tuple[int, int]:
    """The bytes and the number of objects that a unit stored."""
    stored = [one["bytes"] for one in line.get("writes", ()) if "bytes" in one and not one.get("kept")]
    return sum(stored), len(stored)


def _extent(run: Run, io: IO) -> Extent | None:
    """What the run was about; None where this program cannot tell."""
    try:
        return extents.extent(catalog.decode(run.stage), io)
    except IgneousError:
        return None
