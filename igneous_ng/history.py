"""The runs of a layer, newest first: which there are, which is meant, and what a unit of a stage usually takes."""

from __future__ import annotations

import calendar
import contextlib
import statistics
import time
from collections.abc import Iterator
from typing import Any

from igneous_ng import records
from igneous_ng.errors import DataError, SpecError, VersionError
from igneous_ng.records import Run
from igneous_ng.store import Store

LISTED = ("file://", "s3://", "gs://", "mem://")
"""Where folders can be listed, so that runs are found."""
_SAMPLED = 24  # files of records, spread over the run: the first units are seldom like the others


def runs(store: Store, home: str, mark: str = "") -> Iterator[Run]:
    """The runs kept at ``home`` whose ids end in ``mark``, the newest first; those of other formats are left out."""
    for name in reversed(store.list(f"{home}/runs")):
        if name.endswith(mark) and store.exists(f"{home}/runs/{name}/run.json"):
            with contextlib.suppress(VersionError):
                yield records.load(store, f"{home}/runs/{name}")


def begun_at(run: Run) -> float:
    """When a run was planned, in seconds since 1970, by its id."""
    whole, _, rest = run.id.partition(".")
    return calendar.timegm(time.strptime(whole, "%Y%m%dT%H%M%S")) + float(f"0.{rest.partition('-')[0]}")


def find(store: Store, where: str, ident: str = "") -> Run:
    """The run whose folder is ``where``, or that of the layer ``where``: called ``ident``, or else the newest."""
    if ident:
        return records.load(store, f"{where}/runs/{ident}")
    if store.exists(f"{where}/run.json"):
        return records.load(store, where)
    newest = next(runs(store, where), None)
    if newest is None:
        raise DataError(f"{where}: neither the folder of a run nor a layer that has runs; name LAYER or LAYER/runs/ID")
    return newest


def of(store: Store, home: str, stage: dict[str, Any], subset: str = "") -> Iterator[Run]:
    """The runs of one very request, the newest first, of all of its units or of a subset; none that was rolled back."""
    for run in runs(store, home, f"-{records.mark(stage, subset)}"):
        if (run.stage, run.subset) == (stage, subset) and not records.marked(store, run, "rolledback"):
            yield run


def same(store: Store, wanted: Run) -> Run | None:
    """The newest run of the very request that ``wanted`` is, of as many units; None where there is none."""
    found = of(store, wanted.home, wanted.stage, wanted.subset)
    return next((run for run in found if run.units == wanted.units), None)


def usual_seconds(store: Store, home: str, stage: str) -> float | None:
    """The median seconds of a unit in the last run of this stage at ``home``, of a sample; None where there is none."""
    for run in runs(store, home):
        if run.name == stage:
            files = list(records.stored(store, run))
            sample = files[:: max(1, len(files) // _SAMPLED)]
            if seconds := [line["seconds"] for file in sample for line in records.lines_of(store, file, ("seconds",))]:
                return float(statistics.median(seconds))
    return None


def state(store: Store, layer: str) -> dict[str, str]:
    """The newest finished run of a layer, if it has any that can be seen: what is in it may have come from that."""
    with contextlib.suppress(SpecError):  # HTTP lists nothing
        for run in runs(store, layer):
            if records.finished(store, run) and not records.marked(store, run, "rolledback"):
                return {"run": run.id}
    return {}
