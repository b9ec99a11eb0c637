"""What depends on what: the requests that made layers, their units as they stand, and which of these read something.

Told from ledgers alone, through whatever halos, levels and shards a stage has: what a unit read is written there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import catalog, ledger, records
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box
from igneous_ng.records import Line, Run
from igneous_ng.stage import Stage, to_dict
from igneous_ng.store import Store
from igneous_ng.subsets import Former, Subset

Corners = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Request:
    """A request and the runs of all or some of its units, the oldest first."""

    runs: tuple[Run, ...]

    @property
    def newest(self) -> Run:
        """The run that was begun last."""
        return self.runs[-1]


@dataclass(frozen=True)
class Unit:
    """A unit of a request as it stands: its number in the stage, and where its newest record is."""

    number: int
    former: Former
    line: Line = field(repr=False)


def requests(store: Store, layers: Iterable[str]) -> list[Request]:
    """All requests whose runs lie at ``layers``, in the order in which they were first made.

    One that has other options in a part of a layer comes after the one that made the whole, before what read that.
    """
    found: dict[tuple[str, str], list[Run]] = {}
    first: dict[tuple[str, str], str] = {}
    for layer in layers:
        for run in ledger.runs(store, layer):
            found.setdefault((layer, records.mark(run.stage)), []).append(run)
            whole = layer, records.mark(base(run))
            first[whole] = min(first.get(whole, run.id), run.id)

    def order(runs: list[Run]) -> tuple[str, str]:
        return first[runs[0].home, records.mark(base(runs[0]))], runs[0].id

    return [Request(tuple(runs)) for runs in sorted(found.values(), key=order)]


def base(run: Run) -> dict[str, Any]:
    """The request of a run without what may differ in parts of a layer (``Stage.local``)."""
    try:
        local = catalog.load(run.name).local
    except SpecError:  # of a package that is not here
        local = ()
    return {key: value for key, value in run.stage.items() if key not in local}


def base_of(stage: Stage) -> dict[str, Any]:
    """As :func:`base`, of a stage."""
    return {key: value for key, value in to_dict(stage).items() if key not in stage.local}


class Standing:
    """Which records of the runs at some layers still say what is there."""

    def __init__(self, store: Store, layers: Iterable[str]) -> None:
        self._store = store
        self._holds: dict[str, npt.NDArray[np.bool_]] = {}
        self._some: set[str] = set()
        for layer in layers:
            for page in ledger.state(store, layer):
                self._enter(page)

    def _enter(self, page: ledger.Page) -> None:
        run = page.run
        if run.id not in self._holds:
            self._holds[run.id] = np.zeros(run.units, bool)
        if page.unit >= 0:
            self._holds[run.id][page.unit] = bool(page.newest) or not ledger.writes(page.line)
            if page.newest:
                self._some.add(run.id)

    def units(self, request: Request) -> Iterator[Unit]:
        """The units of a request that stand, each with its newest record.

        One that wrote nothing stands if others of the request do: that it has nothing to say is its result.
        """
        if not any(run.id in self._some for run in request.runs):
            return
        seen: set[int] = set()
        for run in reversed(request.runs):
            subset = records.subset(self._store, run)
            for line in records.all_lines(self._store, run):
                number = subset.unit(line["unit"]) if subset else line["unit"]
                if number not in seen:
                    seen.add(number)
                    if self._holds[run.id][line["unit"]]:
                        yield Unit(number, (run.id, line["unit"]), line)


class Touched:
    """Places: boxes of levels of layers, and objects. Tells which ledgers name some of them."""

    def __init__(self) -> None:
        self._boxes: dict[tuple[str, int], list[Box]] = {}
        self._corners: dict[tuple[str, int], tuple[Corners, Corners]] = {}
        self._objects: set[str] = set()
        self._folders: set[str] = set()

    def add_box(self, layer: str, mip: int, box: Box) -> None:
        """Enter a box of voxels of a level."""
        self._boxes.setdefault((layer, mip), []).append(box)
        self._corners.pop((layer, mip), None)

    def add_object(self, url: str) -> None:
        """Enter an object; a list of its folder names it, too."""
        self._objects.add(url)
        self._folders.add(url.rpartition("/")[0])

    def add_written(self, line: Line) -> None:
        """Enter all that a ledger says was written."""
        for entry in line.get("covers", ()):
            self.add_box(entry["layer"], int(entry["mip"]), Box.parse(entry["box"]))
        for entry in ledger.writes(line):
            self.add_object(entry["url"])

    def add_read(self, entry: dict[str, Any]) -> None:
        """Enter what an entry of a ledger says was read."""
        if "layer" in entry:
            self.add_box(entry["layer"], int(entry["mip"]), Box.parse(entry["box"]))
        elif "list" not in entry:
            self.add_object(entry["url"])

    def read_by(self, line: Line) -> bool:
        """Whether a ledger read some of it."""
        return any(self._has(entry) for entry in line.get("reads", ()))

    def written_by(self, line: Line) -> bool:
        """Whether a ledger wrote some of it."""
        objects = any(entry["url"] in self._objects for entry in ledger.writes(line))
        return objects or any(self._has(entry) for entry in line.get("covers", ()))

    def __bool__(self) -> bool:
        return bool(self._boxes or self._objects)

    def _has(self, entry: dict[str, Any]) -> bool:
        if "layer" in entry:
            return self._meets(entry["layer"], int(entry["mip"]), Box.parse(entry["box"]))
        if "list" in entry:
            return entry["list"] in self._folders
        return entry["url"] in self._objects

    def _meets(self, layer: str, mip: int, box: Box) -> bool:
        key = layer, mip
        if key not in self._boxes:
            return False
        if key not in self._corners:
            boxes = self._boxes[key]
            self._corners[key] = np.array([b.lo for b in boxes]), np.array([b.hi for b in boxes])
        low, high = self._corners[key]
        return bool(((low < box.hi) & (high > box.lo)).all(axis=1).any())


def subset_of(request: Request, store: Store, units: Iterable[Unit], why: str) -> Subset:
    """The subset of a request that is made of ``units``, and ``why`` they are run again."""
    run = request.newest
    own = records.subset(store, run)
    return Subset.of_units(own.of if own else run.units, ((unit.number, unit.former) for unit in units), why)
