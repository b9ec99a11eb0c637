"""Undo a run: what it replaced comes back, what it made new goes; and what is kept for that can be let go.

A run replaced nothing unnoticed: the objects as they were before it lie in its folder ``replaced``. Undoing may be
killed at any moment and begun again; only when all is in its place is the run marked, and counts no more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from igneous_ng import fences, folders, guards, history, ledger, provenance, records
from igneous_ng.errors import SpecError
from igneous_ng.formats.compression import SUFFIXES
from igneous_ng.records import Run
from igneous_ng.store import Store, digest, kept_at

_AT_ONCE = 1000  # objects that are dealt with between two syncs
_NAMED = 3


@dataclass
class Undone:
    """How many objects came back, and how many were removed."""

    restored: int = 0
    removed: int = 0


def rollback(store: Store, run: Run) -> Undone:
    """Undo ``run``; SpecError where it is not over, later runs wrote the same objects, or what it replaced is gone."""
    if records.marked(store, run, "rolledback"):
        provenance.publish(store, run.home)  # who marked it may have been killed before this
        raise SpecError(f"{run.folder} is rolled back already; to have it again, give its command again")
    check(store, run)
    for url in touched(store, run):
        fences.check_name(url)
    store, undone = Store(scratch=f"{run.folder}/scratch"), Undone()
    batch: list[str] = []
    for url in touched(store, run):
        batch.append(url)
        if len(batch) == _AT_ONCE:
            _undo(store, run, batch, undone)
            batch = []
    _undo(store, run, batch, undone)
    records.set_mark(store, run, "rolledback", restored=undone.restored, removed=undone.removed)
    provenance.publish(store, run.home)
    store.flush()
    store.sweep()
    return undone


def check(store: Store, run: Run) -> None:
    """SpecError where the run cannot be undone as things are."""
    if not records.makes_data(store, run):
        raise SpecError(f"{run.folder} made no data: there is nothing to undo; name one of the runs that did")
    if not (records.finished(store, run) or records.marked(store, run, "cancelled")):
        raise SpecError(f"{run.folder} is not over; wait for it, or cancel it first: igneous-ng cancel {run.folder}")
    if records.marked(store, run, "pruned"):
        raise SpecError(f"{run.folder}: what it replaced was pruned and cannot come back; redo what needs it instead")
    guards.check_writable(store, run.home)
    if later := followers(store, run):
        named = ", ".join(f"{one.name} {one.id}" for one in later[:_NAMED])
        raise SpecError(
            f"{run.folder}: later runs wrote the same objects: {named}{' ...' if len(later) > _NAMED else ''}; "
            "roll back the newest of them first, or all of them by --with-later"
        )


def followers(store: Store, run: Run) -> list[Run]:
    """The later runs that wrote, or found as they would have written, objects that this one wrote; the newest first."""
    own = ledger.written(store, [run])
    later = [other for other in ledger.runs(store, run.home) if other.id > run.id]
    return [other for other in reversed(later) if any(entry["url"] in own for entry in _named(store, other))]


def _named(store: Store, run: Run) -> Iterator[ledger.Entry]:
    return (entry for _, page in ledger.pages(store, run) for entry in page.get("writes", ()))


def touched(store: Store, run: Run) -> Iterator[str]:
    """Every object that a run changed: by its ledgers, and where it was killed by what is kept for it.

    What was there with the same bytes stays. (Of a unit that was killed and tried again, what it had made is such.)
    SpecError for an object outside of the layer that is not what the run says that it made of it: ledgers lie where
    others may write, too, and must not make us remove anything else.
    """
    told = ledger.Names()
    for _, page in ledger.pages(store, run):
        for entry in ledger.writes(page):
            if entry["url"] not in told and not entry.get("same"):
                told.add([entry["url"]])
                _check_own(store, run, entry["url"], entry.get("digest"))
                yield entry["url"]
    attic = f"{run.folder}/replaced"
    for found in folders.walk(attic):
        url = _url(found.url.removeprefix(f"{attic}/"))
        if url not in told:
            _check_own(store, run, url, None)
            yield url


def _check_own(store: Store, run: Run, url: str, made: str | None) -> None:
    if fences.below(url, run.home):
        return
    found = store.stored(url)
    if found is None or found == store.stored(kept_at(f"{run.folder}/replaced", url)):
        return
    if digest(found[0]) != made:
        raise SpecError(
            f"{run.folder}: it says that it wrote {fences.shown(url)}, outside of {run.home}, where something else is "
            "now; nothing there is touched: look at the records, and undo this by hand"
        )


def _url(place: str) -> str:
    """The object that is kept at a place in the attic."""
    scheme, _, path = place.partition("/")
    for suffix in filter(None, SUFFIXES.values()):
        path = path.removesuffix(suffix)
    if path.startswith(("http:/", "https:/")):
        path = path.replace(":/", "://", 1)
    return f"{scheme}:///{path}" if scheme == "file" else f"{scheme}://{path}"


def _undo(store: Store, run: Run, urls: list[str], undone: Undone) -> None:
    def undo(url: str) -> bool:
        kept = store.stored(kept_at(f"{run.folder}/replaced", url))
        if kept is None:
            store.delete(url)
        elif store.stored(url) != kept:
            store.put_stored(url, *kept)
        return kept is not None

    found = store.map(undo, urls)
    store.flush()
    undone.restored += sum(found)
    undone.removed += len(found) - sum(found)


def prunable(store: Store, layer: str, older_s: float) -> Iterator[tuple[Run, int, int]]:
    """The runs at ``layer`` that are over since ``older_s`` seconds and keep something, with its objects and bytes."""
    for run in history.runs(store, layer):
        since = records.finished_at(store, run)
        if since is not None and time.time() - since > older_s:
            found = list(folders.walk(f"{run.folder}/replaced"))
            if found:
                yield run, len(found), sum(one.bytes for one in found)


def prune(store: Store, run: Run) -> None:
    """Let go what is kept to undo ``run``."""
    records.set_mark(store, run, "pruned")
    store.flush()
    folders.remove(f"{run.folder}/replaced")
