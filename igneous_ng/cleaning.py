"""What the finished runs of a layer leave behind and no longer need, and its removal.

Records and results stay. Kept is, too, whatever another run of the same area (all of ``mesh ...``, say) may still
need: one that goes on, or that finished after the run which would let it go had begun.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from igneous_ng import catalog, folders, history, ledger, records
from igneous_ng.errors import IgneousError
from igneous_ng.io import IO
from igneous_ng.records import Run
from igneous_ng.store import Store

_DAY_S = 86400.0


@dataclass(frozen=True)
class Waste:
    """Objects that are not needed: the whole folder ``place``, or ``urls`` in it. ``kept`` says why they stay yet.

    Of intermediates, ``layer`` is whose they are.
    """

    place: str
    what: str
    objects: int
    bytes: int
    urls: tuple[str, ...] = ()
    kept: str = ""
    layer: str = ""


def wastes(store: Store, layer: str, failures_s: float) -> Iterator[Waste]:
    """What can go at ``layer``, and what could but for a run that may need it. Changes nothing.

    Notes on failures are kept for ``failures_s`` seconds after their run finished.
    """
    runs = list(history.runs(store, layer))
    for run in runs:
        if (since := records.finished_at(store, run)) is not None:
            parts = [file.url for file in records.stored(store, run) if not file.whole]
            yield from _some(f"{run.folder}/records", "leftover checkpoints", parts)
            if time.time() - since > failures_s:
                yield from _all(f"{run.folder}/failures", "notes on failures")
    yield from _intermediates(store, runs)
    left = [found.url for found in folders.abandoned(layer, _DAY_S)]
    yield from _some(layer, "temporary files older than a day", left)


def remove(store: Store, waste: Waste) -> None:
    """Remove it; of intermediates it is noted first, so that nobody will miss them."""
    if waste.layer:
        ledger.note_cleaned(store, waste.layer, waste.place)
    for url in waste.urls:
        store.delete(url)
    if not waste.urls:
        folders.remove(waste.place)


def _all(folder: str, what: str, kept: str = "", layer: str = "") -> Iterator[Waste]:
    found = list(folders.walk(folder))
    if found:
        yield Waste(folder, what, len(found), sum(one.bytes for one in found), kept=kept, layer=layer)


def _some(place: str, what: str, urls: list[str]) -> Iterator[Waste]:
    sizes = {one.url: one.bytes for one in folders.walk(place)} if urls else {}
    if urls:
        yield Waste(place, what, len(urls), sum(sizes.get(url, 0) for url in urls), tuple(urls))


def _intermediates(store: Store, runs: list[Run]) -> Iterator[Waste]:
    """What the stages of finished runs call spent, each folder once."""
    seen: set[str] = set()
    for run in runs:
        if records.finished_at(store, run) is None:
            continue
        try:
            spent = catalog.decode(run.stage).spent(IO(store))
        except IgneousError:  # of another version, or its layer is gone: it cannot say
            continue
        for folder in spent:
            if folder not in seen and folder.startswith(f"{run.home}/"):
                seen.add(folder)
                yield from _all(folder, f"intermediates of {run.name}", _needed(store, run, runs), run.home)


def _needed(store: Store, run: Run, runs: list[Run]) -> str:
    """Why what ``run`` calls spent may still be needed; empty where it is not."""
    for other in runs:
        if other.id == run.id or other.name.split()[0] != run.name.split()[0]:
            continue
        since = records.finished_at(store, other)
        if since is None and not records.marked(store, other, "cancelled"):
            return f"{other.name} {other.id} is not finished; finish or cancel it"
        if since is not None and since > history.begun_at(run):
            return f"{other.name} {other.id} finished after {run.name} had begun; run {run.name} again"
    return ""
