"""The Precomputed file ``provenance``: how a layer came to be, as CloudVolume writes and reads it.

It has one entry for each finished run, and is made anew from the records each time, so that nobody's entry is lost
when several runs finish at once; what others wrote into it stays.
"""

from __future__ import annotations

import time
from typing import Any

from igneous_ng import ledger, records
from igneous_ng.records import Run
from igneous_ng.store import Store

_EMPTY: dict[str, Any] = {"description": "", "owners": [], "processing": [], "sources": []}


def publish(store: Store, home: str) -> None:
    """Bring the file of the layer ``home`` up to date; who writes last has seen all that finished before."""
    seen: list[Run] | None = None
    while seen != (now := _finished(store, home)):
        seen = now
        _write(store, home, now)


def _write(store: Store, home: str, runs: list[Run]) -> None:
    url = f"{home}/provenance"
    old = store.get_json(url) or {}
    others = [entry for entry in old.get("processing", []) if "igneous_ng" not in entry.get("method", {})]
    own = [_entry(store, run) for run in runs]
    inputs = {one["url"] for run in runs for one in records.about(store, run).get("inputs", ())} - {home}
    sources = sorted(inputs | set(old.get("sources", [])))
    new = {**_EMPTY, **old, "processing": others + own, "sources": sources}
    if new != old:
        store.put_json(url, new)


def _entry(store: Store, run: Run) -> dict[str, Any]:
    about, finished = records.about(store, run), records.finished_at(store, run)
    fields = {name: value for name, value in run.stage.items() if name not in ("stage", "version")}
    return {
        "method": {
            "task": run.name,
            **fields,
            "igneous_ng": {"run": run.id, "units": run.units, "stage_version": run.stage["version"], **_code(about)},
        },
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(finished)),
        "by": about.get("by", ""),
    }


def _code(about: dict[str, Any]) -> dict[str, Any]:
    return {name: about[name] for name in ("code", "environment") if name in about}


def _finished(store: Store, home: str) -> list[Run]:
    """The runs that made something and were not undone, the oldest first."""
    return [run for run in ledger.runs(store, home) if records.finished(store, run)]
