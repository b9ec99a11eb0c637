"""Redo what is stale, and nothing else: request after request in the order in which they were first made.

A unit is stale when something that it read has another digest now. Before the units of a request are run, those that
made what they read and what is gone since (intermediates that were cleaned away) are run, too. Then the next
request is looked at: what came out the same makes nothing stale. Where a region is named, units that read some of it
are run in any case, and of the others only those are looked at that read what was made again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from igneous_ng import audit, catalog, ledger, records
from igneous_ng.dependence import Request, Standing, Touched, Unit, requests, subset_of
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import chunk_box, chunk_range
from igneous_ng.geometry import Box, vec
from igneous_ng.inputs import Inputs
from igneous_ng.io import IO
from igneous_ng.records import Line, Run
from igneous_ng.spans import Spans, joined, size
from igneous_ng.stage import Stage
from igneous_ng.store import MISSING, Store
from igneous_ng.subsets import Subset
from igneous_ng.worker.former import Former

WHY = "redo"
"""What subsets say that a redo makes."""


@dataclass(frozen=True)
class Region:
    """A box of voxels of level ``mip`` of ``layer``."""

    layer: str
    mip: int
    box: Box


@dataclass(frozen=True)
class Wave:
    """Some units of a stage that are to be run together; ``restoring``: for what they make and was removed."""

    stage: Stage
    subset: Subset
    restoring: bool = False


@dataclass
class Look:
    """What was found of one request: which units are stale, what of their inputs is gone, what nobody could check."""

    stale: list[Unit] = field(default_factory=list)
    gone: Touched = field(default_factory=Touched)
    unknown: int = 0


@dataclass(frozen=True)
class Forecast:
    """Of a request, by its newest run, the ranges of units that are stale, and of those that may be soon."""

    run: Run
    units: int
    stale_units: Spans
    following_units: Spans

    @property
    def stale(self) -> int:
        """How many are stale."""
        return size(self.stale_units)

    @property
    def following(self) -> int:
        """How many may be soon."""
        return size(self.following_units)

    def to_json(self) -> dict[str, Any]:
        """It in JSON's types."""
        return {**vars(self), "run": self.run.folder, "stage": self.run.stage}


class Redo:
    """One redo of the layers at ``layers``, in ``region`` if one is given.

    With ``changes``, options by their names, those units that read some of the region run again with these, of stages
    that can have others there (``Stage.local``); and then what that makes stale.
    """

    def __init__(
        self,
        store: Store,
        layers: Sequence[str],
        region: Region | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        self._store, self._layers, self._options = store, layers, dict(changes or {})
        self._made: Touched | None = None
        self._named = Touched()
        if region is not None:
            self._made = Touched()
            self._named.add_box(region.layer, region.mip, region.box)
        self.unknown = 0
        self._see()

    def _see(self) -> None:
        """Look at the records as they are now."""
        self.requests = requests(self._store, self._layers)
        self._standing = Standing(self._store, self._layers)

    def waves(self) -> Generator[Wave, Run, None]:
        """What is to be run, one after the other: each is asked for when the one before is finished; send its run.

        What another redo began and did not finish comes first, wherever that was killed.
        """
        begun = list(self._begun())
        for wave in begun:
            self._enter((yield wave))
        for wave in self._changed():
            self._enter((yield wave))
        if begun or self._options:
            self._see()
        for number, request in enumerate(self.requests):
            look = self.look(request)
            self.unknown += look.unknown
            if look.stale:
                for wave in self._restored(self.requests[:number], look.gone):
                    self._enter((yield wave))
                self._enter((yield self._wave(request, look.stale)))

    def _changed(self) -> list[Wave]:
        """The units of the region with other options; SpecError where no stage can have these there."""
        found = []
        for request in self.requests if self._options else ():
            stage = catalog.decode(request.newest.stage)
            units = [unit for unit in self._standing.units(request) if self._named.read_by(unit.line)]
            if units and self._options.keys() <= set(stage.local):
                subset = subset_of(request, self._store, units, WHY)
                found.append(Wave(replace(stage, **self._options), subset))
        if self._options and not found:
            raise SpecError(self._unchangeable())
        return found

    def _unchangeable(self) -> str:
        stages = {request.newest.name: catalog.decode(request.newest.stage).local for request in self.requests}
        able = [f"{name}: {', '.join(local)}" for name, local in stages.items() if local]
        return (
            f"redo: no stage of these layers that read the box can have another {', '.join(self._options)} there; "
            f"what can be set in a part: {'; '.join(able) or 'nothing of what made these layers'}"
        )

    def _begun(self) -> Iterator[Wave]:
        runs = (run for layer in self._layers for run in ledger.runs(self._store, layer))
        for run in sorted(runs, key=lambda run: run.id):
            subset = records.subset(self._store, run)
            over = records.finished(self._store, run) or records.marked(self._store, run, "cancelled")
            if subset is not None and subset.why == WHY and not over:
                yield Wave(catalog.decode(run.stage), subset)

    def forecast(self) -> Iterator[Forecast]:
        """For each request what is stale now, and what of it reads that, or reads what reads that."""
        touched = Touched()
        for request in self.requests:
            look = self.look(request)
            self.unknown += look.unknown
            stale = {unit.number for unit in look.stale}
            more = [u for u in self._standing.units(request) if u.number not in stale and touched.read_by(u.line)]
            own = records.subset(self._store, request.newest)
            total = own.of if own else request.newest.units
            yield Forecast(request.newest, total, joined(sorted(stale)), joined(sorted(unit.number for unit in more)))
            for unit in (*look.stale, *more):
                touched.add_written(unit.line)

    def look(self, request: Request) -> Look:
        """Which units of a request are stale now."""
        found = Look()
        known = {run.id: self._inputs(run) for run in request.runs}
        cleaned = tuple(c for layer in self._layers for c in ledger.cleaned(self._store, layer, request.runs[0]))
        for unit in self._standing.units(request):
            inputs = known[unit.former[0]]
            if not self._options and self._named.read_by(unit.line):
                found.stale.append(unit)
                self._note_gone(unit.line, inputs, found)
            elif self._made is None or self._made.read_by(unit.line):
                changes = self._changes(unit.line, inputs, cleaned)
                found.unknown += changes.count(None)
                if True in changes:
                    found.stale.append(unit)
                    self._note_gone(unit.line, inputs, found)
        return found

    def _inputs(self, run: Run) -> Inputs:
        return Inputs(self._store, tuple(records.about(self._store, run).get("inputs", ())))

    def _changes(self, line: Line, inputs: Inputs, cleaned: tuple[str, ...]) -> list[bool | None]:
        """Of each read whether it would give something else now.

        Left out is what the unit itself wrote, and what is not there because it was ``cleaned`` away.
        """
        asked = (entry for entry in line["reads"] if not audit.own(entry, line))
        return [not _within(entry, cleaned, inputs) and inputs.changed(entry) for entry in asked]

    def _note_gone(self, line: Line, inputs: Inputs, found: Look) -> None:
        for entry in line["reads"]:
            if entry["digest"] != MISSING and inputs.digest(entry) == MISSING:
                found.gone.add_read(entry)

    def _restored(self, earlier: Sequence[Request], gone: Touched) -> list[Wave]:
        """The units that made what is ``gone``, and what they need in their turn, in the order in which to run them."""
        found: list[Wave] = []
        for request in reversed(earlier):
            if not gone:
                break
            makers = [unit for unit in self._standing.units(request) if gone.written_by(unit.line)]
            inputs, look = Inputs(self._store), Look(gone=gone)
            for unit in makers:
                self._note_gone(unit.line, inputs, look)
            if makers:
                found.append(self._wave(request, makers, restoring=True))
        return found[::-1]

    def _wave(self, request: Request, units: Iterable[Unit], restoring: bool = False) -> Wave:
        subset = subset_of(request, self._store, units, WHY)
        return Wave(catalog.decode(request.newest.stage), subset, restoring)

    def _enter(self, run: Run) -> None:
        """Enter what was made again among what makes others worth a look."""
        if self._made is not None:
            for line in records.all_lines(self._store, run):
                self._made.add_written(line)


def _within(entry: dict[str, Any], cleaned: tuple[str, ...], inputs: Inputs) -> bool:
    """Whether what was read lies in one of the folders ``cleaned``, and is there no more."""
    place = entry.get("layer") or entry.get("url") or entry["list"]
    return f"{place}/".startswith(cleaned) and (inputs.digest(entry) == MISSING or "list" in entry)


@dataclass
class Outcome:
    """What a run of some units came to, in objects."""

    same: int = 0
    changed: int = 0
    new: int = 0
    removed: int = 0

    def count(self, entry: ledger.Entry, before: Mapping[str, str]) -> None:
        """Enter what was written, given the digests of ``before``."""
        if "deleted" in entry:
            self.removed += "replaced" in entry
        elif "replaced" in entry:
            self.changed += 1
        elif entry["url"] in before or "same" in entry:
            self.same += 1
        else:
            self.new += 1

    @property
    def altered(self) -> int:
        """Objects that are not as they were."""
        return self.changed + self.new + self.removed

    def add(self, other: Outcome) -> None:
        """Count those of another run, too."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def __str__(self) -> str:
        told = [f"{value} objects {name}" for name, value in vars(self).items() if value]
        return ", ".join(told) or "no objects"


def outcome(store: Store, wave: Wave, run: Run) -> Outcome:
    """What ``run``, of the units of ``wave``, changed."""
    found = Outcome()
    for message in run.messages():
        former = Former(store, message, wave.subset)
        for place, line in records.read(store, message).items():
            before = former.made(place)
            for entry in ledger.writes(line):
                found.count(entry, before)
    return found


def region(store: Store, layer: str, mip: int, box: Box) -> Region:
    """The region of all chunks that ``box`` touches; SpecError where it has no part of the level."""
    scale = IO(store).volume(layer, mip).scale
    cells = chunk_range(scale, box)
    if not cells.voxels:
        raise SpecError(f"--box {box} has no part of {layer} mip {mip}, {scale.bounds}")
    first, last = chunk_box(scale, cells.lo), chunk_box(scale, vec(n - 1 for n in cells.hi))
    return Region(layer, mip, first | last)


def carried_out(redo: Redo, execute: Callable[[Wave], Run]) -> Iterator[tuple[Wave, Run]]:
    """Let ``execute`` run each wave to its end; what was run."""
    waves = redo.waves()
    wave = next(waves, None)
    while wave is not None:
        ready = execute(wave)
        yield wave, ready
        try:
            wave = waves.send(ready)
        except StopIteration:
            return
