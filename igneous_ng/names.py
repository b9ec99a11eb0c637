"""Which objects the units of a run wrote: an index of 64 bits a name, by which a part of an older run learns what of it
still holds, without the ledgers of all that came later.

The file ``names`` of a run holds numbers of 64 bits, little endian: of how many units it tells, then the keys
(:func:`igneous_ng.ledger.key`), ascending. It follows from the records and may be removed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from igneous_ng import folders, ledger, records
from igneous_ng.errors import DataError
from igneous_ng.ledger import PREPARED, PUBLISHED, Entry, Page
from igneous_ng.records import Line, Run
from igneous_ng.spans import Span
from igneous_ng.store import Store

Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
_WORD = 8  # bytes
_SLICE = 1 << 19  # keys held at once


def keys(urls: Iterable[str]) -> Keys:
    """The keys of names, ascending, each once."""
    return np.unique(np.array(array("Q", map(ledger.key, urls)), np.uint64))


def keep(store: Store, run: Run) -> None:
    """Store the index of ``run``, unless there is one of all its units."""
    head = store.get(_url(run), (0, _WORD))
    if head is not None and int.from_bytes(head, "little") == run.units:
        return
    units, found = 0, array("Q")
    for line in records.all_lines(store, run):
        found.extend(map(ledger.key, _urls(line)))
        units += 1
    index = np.unique(np.array(found, np.uint64))
    store.put(_url(run), units.to_bytes(_WORD, "little") + index.astype("<u8").tobytes())


def among(store: Store, run: Run, wanted: Keys) -> Mask:
    """Which of ``wanted``, ascending, are names that units of ``run`` wrote or removed. Holds a slice of the index."""
    found = np.zeros(len(wanted), np.bool_)
    for part in _slices(store, run):
        lo, hi = np.searchsorted(wanted, [part[0], part[-1]], "left").tolist()
        hi = min(hi + 1, len(wanted))
        at = np.searchsorted(part, wanted[lo:hi])
        found[lo:hi] |= part[np.minimum(at, len(part) - 1)] == wanted[lo:hi]
    return found


def known(store: Store, runs: Iterable[Run], wanted: Keys) -> Mask:
    """Which of ``wanted``, ascending, any of ``runs`` wrote or removed, in its units or beside them."""
    found = np.zeros(len(wanted), np.bool_)
    for run in runs if len(wanted) else ():
        beside = [url for page in records.frame(store, run).values() for url in _urls(page)]
        found |= among(store, run, wanted) | np.isin(wanted, keys(beside))
    return found


def pages(store: Store, layer: str, ident: str, within: Span) -> Iterator[Page]:
    """The ledgers of the units ``within`` of a run of ``layer``, each with those of its entries that hold.

    With the first unit come those of preparing and of publishing. DataError where there is no such run any more.
    """
    runs = ledger.runs(store, layer)
    place = next((place for place, run in enumerate(runs) if run.id == ident), None)
    if place is None:
        raise DataError(f"{layer}/runs/{ident}: this run was removed or rolled back meanwhile; verify again")
    run, later = runs[place], runs[place + 1 :]
    gone = ledger.cleaned(store, layer, run)
    frame = records.frame(store, run)
    published = keys(_urls(frame.get("finished", {})))

    def superseded(own: Keys) -> Keys:
        return np.union1d(own[known(store, later, own)], published)

    old = superseded(keys(url for line in records.all_lines(store, run, within) for url in _urls(line)))
    for line in records.all_lines(store, run, within):
        yield Page(run, line["unit"], line, _holding(line, old, gone))
    if within[0]:
        return
    if "finished" in frame:
        page = frame["finished"]
        yield Page(run, PUBLISHED, page, _holding(page, published[known(store, later, published)], gone))
    if "prepared" in frame:
        page = frame["prepared"]
        own = keys(_urls(page))
        yield Page(run, PREPARED, page, _holding(page, np.union1d(superseded(own), own[among(store, run, own)]), gone))


def _holding(page: Line, old: Keys, gone: tuple[str, ...]) -> list[Entry]:
    """The last entry of each object, unless it is among ``old`` or was cleaned away."""
    last = {entry["url"]: entry for entry in ledger.writes(page)}
    kept = {url: entry for url, entry in last.items() if not url.startswith(gone)}
    superseded = set(old[np.isin(old, keys(kept))].tolist()) if len(old) else set[int]()
    return [entry for url, entry in kept.items() if not superseded or ledger.key(url) not in superseded]


def _slices(store: Store, run: Run) -> Iterator[Keys]:
    """The index of a run in parts, none empty; where none was made, of its records as they come."""
    url = _url(run)
    size = folders.size(url)
    if size is None:
        found = (keys(_urls(line)) for line in records.all_lines(store, run))
        yield from (part for part in found if len(part))
        return
    for start in range(_WORD, size, _SLICE * _WORD):
        yield np.frombuffer(store.get(url, (start, min(size, start + _SLICE * _WORD))) or b"", "<u8").astype(np.uint64)


def _urls(page: Line) -> Iterator[str]:
    return (entry["url"] for entry in ledger.writes(page))


def _url(run: Run) -> str:
    return f"{run.folder}/names"
