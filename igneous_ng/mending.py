"""From units that are wrong to runs that make them anew: who else must work again, what must be out of the way first,
and which units can leave what they left.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from igneous_ng import audit, catalog, fences, ledger, names, records
from igneous_ng.errors import SpecError
from igneous_ng.inputs import UNKNOWN, Inputs
from igneous_ng.ledger import PREPARED, PUBLISHED, Page
from igneous_ng.records import Line, Run
from igneous_ng.spans import Spans, joined, without
from igneous_ng.stage import Stage
from igneous_ng.store import MISSING, Compression, Store, digest_of, kept_at
from igneous_ng.subsets import Former, Subset

Wrong = Mapping[str, Spans]
"""Ranges of units, by the id of their run; :data:`PREPARED` and :data:`PUBLISHED` may be among them."""
FRAME = (PREPARED, PUBLISHED + 1)
"""The range that stands for preparing and publishing."""
_WINDOW = 10_000  # records of a run that are looked through at once


def subsets(store: Store, layer: str, wrong: Wrong, why: str) -> list[tuple[Stage, Subset]]:
    """The runs that make what is ``wrong`` anew, one for all equal requests, in the order in which these began.

    That is also the order to run them in, for a later request may read what an earlier one makes. A subset has no
    units where only what was prepared or published is wrong. SpecError where a stage is not known here.
    """
    requests: dict[str, tuple[dict[str, Any], int]] = {}
    asked: dict[str, dict[int, Former]] = {}
    for run in ledger.runs(store, layer):
        part = records.subset(store, run)
        of = run.units if part is None else part.of
        name = json.dumps([run.stage, of], sort_keys=True)
        requests.setdefault(name, (run.stage, of))
        for lo, hi in wrong.get(run.id, ()):
            units = asked.setdefault(name, {})
            for number in range(max(lo, 0), hi):  # the newest record of a unit takes the place of older ones
                units[number if part is None else part.unit(number)] = (run.id, number)
    return [
        (catalog.decode(stage), Subset.of_units(of, asked[name].items(), why))
        for name, (stage, of) in requests.items()
        if name in asked
    ]


def with_later(store: Store, layer: str, wrong: Wrong) -> dict[str, Spans]:
    """``wrong``, and those units that wrote over something of it: when that is made anew, they must do so again."""
    found = {ident: list(spans) for ident, spans in wrong.items()}
    old: dict[str, str] = {}  # what will be as it once was, until somebody writes over it: its digest then
    for run in ledger.runs(store, layer):
        if old and names.among(store, run, names.keys(old)).any():
            units = [line["unit"] for line in records.all_lines(store, run) if _other(line, old)]
            found[run.id] = without([*found.get(run.id, ()), *joined(units)], ())
        for page in _pages(store, layer, run, found.get(run.id, [])):
            holding = {entry["url"] for entry in page.newest}
            for entry in ledger.writes(page.line):
                if entry["url"] in holding:
                    old.pop(entry["url"], None)
                else:
                    old[entry["url"]] = entry.get("digest", MISSING)
    return {ident: spans for ident, spans in found.items() if spans}


def _other(line: Line, old: Mapping[str, str]) -> bool:
    """Whether a unit made something else of an object than is ``old``."""
    made = ((entry["url"], entry.get("digest", MISSING)) for entry in ledger.writes(line))
    return any(url in old and old[url] != fingerprint for url, fingerprint in made)


def _pages(store: Store, layer: str, run: Run, spans: Spans) -> Iterator[Page]:
    """The ledgers of the units in ``spans``, a window of records at a time."""
    numbers = (number for lo, hi in spans for number in range(max(lo, 0), hi))
    for window, inside in itertools.groupby(numbers, lambda number: number // _WINDOW):
        wanted = set(inside)
        for page in names.pages(store, layer, run.id, (window * _WINDOW, (window + 1) * _WINDOW)):
            if page.unit in wanted:
                yield page


# What is prepared and published is often made from what is there: a wrong one must not be.


@dataclass
class Beside:
    """An object that was prepared or published: the digest that it should have, and who wrote it, the newest last."""

    digest: str = MISSING
    writers: list[Run] = field(default_factory=list)


def published(store: Store, layer: str) -> dict[str, Beside]:
    """What was prepared and published, by URL."""
    found: dict[str, Beside] = {}
    for run in ledger.runs(store, layer):
        for url, fingerprint in beside(store, run):
            one = found.setdefault(url, Beside())
            one.digest = fingerprint
            one.writers += [run] if run not in one.writers else []
    return found


def beside(store: Store, run: Run) -> Iterator[tuple[str, str]]:
    """What preparing and publishing ``run`` wrote: URLs and digests."""
    for page in records.frame(store, run).values():
        for entry in ledger.writes(page):
            yield entry["url"], entry.get("digest", MISSING)


def make_way(store: Store, layer: str, wrong: Wrong) -> dict[str, Spans]:
    """Put what preparing or publishing left, and is wrong now, back to what was there before; ``wrong``, perhaps more.

    Where that is not kept any more, those who wrote the object before must write it again, too.
    """
    runs = ledger.runs(store, layer)
    found = {ident: list(spans) for ident, spans in wrong.items()}
    for place, run in enumerate(runs):
        if any(lo < 0 for lo, _ in wrong.get(run.id, ())):
            for url in _damaged(store, layer, run):
                _check_beside(layer, url)
                for other in _put_back(store, url, runs[: place + 1]):
                    found[other] = without([*found.get(other, ()), FRAME], ())
    return found


def _check_beside(layer: str, url: str) -> None:
    """SpecError for what lies neither in a layer nor beside it: so far its records, which others may write, reach."""
    if not fences.below(url, layer.rpartition("/")[0]):
        raise SpecError(f"{layer}: its records name {fences.shown(url)}, outside of its folder; repair that by hand")


def _damaged(store: Store, layer: str, run: Run) -> list[str]:
    """What preparing and publishing a run left and is not so any more."""
    holding = [entry for page in names.pages(store, layer, run.id, (0, 0)) for entry in page.newest]
    now = ((entry, store.stored(entry["url"])) for entry in holding)
    return [entry["url"] for entry, found in now if digest_of(found and found[0]) != entry.get("digest", MISSING)]


def _put_back(store: Store, url: str, runs: list[Run]) -> list[str]:
    """Undo the last writing of an object, or each of which the former state is lost; the runs that did so."""
    undone = list[str]()
    for run in reversed(runs):
        if any(url == other for other, _ in beside(store, run)):
            undone.append(run.id)
            kept = store.stored(kept_at(f"{run.folder}/replaced", url))
            if kept is not None:
                store.put_stored(url, *kept)
                return undone
    store.delete(url)
    return undone


# What can be made as it was.


def able(store: Store, layer: str, subset: Subset) -> tuple[Subset, list[str]]:
    """Those units of ``subset`` whose inputs are what their former records say, and why the others are not among them.

    A unit that works in place finds there again what it replaced; what a unit once removed is removed.
    """
    units, refused = list[tuple[int, Former]](), list[str]()
    for ident, spans in itertools.groupby(sorted(subset.spans, key=lambda span: span[2:]), lambda span: span[2]):
        run = records.load(store, f"{layer}/runs/{ident}")
        before = tuple(records.about(store, run).get("inputs", ()))
        inputs = Inputs(Store(), before)  # a new store, for others may have written what this one remembers
        unit_of = {number + unit - lo: unit for lo, hi, _, number in spans for unit in range(lo, hi)}
        for page in _pages(store, layer, run, joined(unit_of)):
            hindrance = _hindrance(store, run, page.line, inputs)
            if hindrance is None:
                units.append((unit_of[page.unit], (ident, page.unit)))
                for entry in page.newest:
                    if "deleted" in entry and fences.below(entry["url"], layer):
                        store.delete(entry["url"])
            else:
                refused.append(f"unit {page.unit} of {run.name} {ident}: {hindrance}")
    return Subset.of_units(subset.of, units, subset.why), refused


def _hindrance(store: Store, run: Run, line: Line, inputs: Inputs) -> str | None:
    """Why a unit would not leave what it left; None where it would."""
    other = next(audit.changed(line, inputs), None)
    if other is not None:
        return f"{other.url} is not what was read then; make it what it was, or redo what depends on it"
    mine = [read for read in line["reads"] if "layer" in read and audit.own(read, line)]
    if _same(mine, inputs):
        return None
    urls = [entry["url"] for entry in ledger.writes(line)]
    kept = {url: store.stored(kept_at(f"{run.folder}/replaced", url)) for url in urls}
    now = {url: store.stored(url) for url in urls}
    _put(store, kept)
    if _same(mine, inputs):
        return None
    _put(store, now)
    return "it works in place, and what was there before is not kept any more"


def _put(store: Store, objects: Mapping[str, tuple[bytes, Compression] | None]) -> None:
    for url, found in objects.items():
        if found is not None:
            store.put_stored(url, *found)


def _same(reads: list[dict[str, Any]], inputs: Inputs) -> bool:
    return all(audit.digest_now(read, inputs) in (read["digest"], UNKNOWN) for read in reads)
