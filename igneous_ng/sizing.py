"""What a job takes before it is begun: tasks, messages, time, memory, bytes, requests. Writes nothing.

Tasks and messages come from the plan and are exact. What they take comes from records of the same stage: of this very
run, of another in the layer, or of one that is named; else from the rates that come with the package, by voxels; else
it is not known. A step that cannot be planned yet is taken for as many voxels as what it waits for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from igneous_ng import extents, history, rates, recollection, records, run, words
from igneous_ng.errors import IgneousError
from igneous_ng.extents import Extent
from igneous_ng.io import IO
from igneous_ng.rates import Rate
from igneous_ng.recollection import Past
from igneous_ng.records import Run
from igneous_ng.spans import Spans, size
from igneous_ng.stage import Chain, Stage
from igneous_ng.survey import View

_SAME = 1.2  # the least factor within which an estimate is said to be, from units of the very same request ...
_LIKE = 1.5  # ... of another one ...
_ELSEWHERE = 2.0  # ... and from rates, beside what volumes differ: other machines, other tissue
_CHECKPOINT_S = 10.0  # of work between two checkpoints of a message
_RENEWAL_S = 40.0  # between two renewals of a lease
_BATCH = 10  # messages in one request that puts them


@dataclass(frozen=True)
class Work:
    """What some units take. ``source`` says whence it is known, ``factor`` within which CPU time should be right.

    ``longest`` is the CPU time of the longest unit; ``peak_bytes`` the most that a process was seen to hold. None
    is not known.
    """

    basis: str  # records or rates
    source: str
    factor: float
    cpu_seconds: float
    gpu_seconds: float | None
    longest: float
    peak_bytes: int | None
    read: float | None
    written: float
    gets: float | None
    puts: float


@dataclass(frozen=True)
class Part:
    """One stage of a job. ``left`` of its ``units`` are to be done, in ``messages``; None: known only later.

    ``error`` says why it cannot be planned now; ``again`` that more passes of the stage follow on coarser levels.
    """

    stage: str
    step: str = ""
    units: int | None = None
    left: int | None = None
    messages: int | None = None
    extent: Extent | None = None
    assumed: bool = False
    task_bytes: int | None = None
    on_device: bool = False
    work: Work | None = None
    again: int = 0
    error: IgneousError | None = None
    notes: tuple[str, ...] = ()

    def wall_seconds(self, processes: int) -> float | None:
        """With so many processes that never wait for storage: as many rounds of units as it takes, each alike."""
        if self.work is None or self.left == 0:
            return None if self.work is None else 0.0
        if self.left is None:
            return self.work.cpu_seconds / processes
        each = self.work.cpu_seconds / self.left
        return max(math.ceil(self.left / processes) * each, self.work.longest)

    @property
    def stored_puts(self) -> float | None:
        """Objects and records that are stored."""
        if self.work is None:
            return None
        return self.work.puts + (self.messages or 0) + self.work.cpu_seconds / _CHECKPOINT_S

    @property
    def queue_requests(self) -> float | None:
        """Of a queue such as SQS: to put, to receive, to keep and to delete each message."""
        if self.messages is None or self.work is None:
            return None
        return math.ceil(self.messages / _BATCH) + 2 * self.messages + self.work.cpu_seconds / _RENEWAL_S


@dataclass
class Estimator:
    """Estimates parts of jobs; ``like`` names layers or runs whose records are asked first."""

    like: Sequence[str] = ()
    table: rates.Rates = field(default_factory=rates.shipped)
    io: IO = field(default_factory=IO)

    def stage(self, stage: Stage, missing: bool = False) -> Iterator[Part]:
        """The parts of one request; with ``missing`` what is left of its newest run."""
        steps = stage.steps(self.io)
        first = next(steps)
        plan = run.plan(first).run
        begun = history.same(self.io.store, plan) if missing else None
        part = self.planned(first, begun)
        names = self._following(stage, first, steps)
        yield replace(part, again=names.count(first.name))
        yield from self._later(names, first, part)

    def planned(self, stage: Stage, begun: Run | None = None) -> Part:
        """A stage that can be planned; of a run that was ``begun`` what is left."""
        plan = run.plan(stage).run
        same = begun if begun is not None and begun.units == plan.units else None
        spans = records.missing(self.io.store, same) if same is not None else [(0, plan.units)]
        part = Part(
            stage=stage.name,
            units=plan.units,
            left=size(spans),
            messages=messages(same or plan, spans),
            extent=extents.extent(stage, self.io),
            task_bytes=plan.peak_bytes,
            on_device=plan.device_bytes > 0,
            notes=stage.forecast(self.io),
        )
        return replace(part, work=self._work(stage, part, same or plan))

    def awaited(self, stage: Stage, like: Extent | None, error: IgneousError | None = None) -> Part:
        """A stage that cannot be planned yet, by its own extent or that of what it waits for."""
        own = extents.extent(stage, self.io)
        part = Part(stage.name, extent=own or like, assumed=own is None and like is not None, error=error)
        return part if error is not None else replace(part, work=self._work(stage, part, None))

    def recipe(self, views: Iterable[View]) -> Iterator[Part]:
        """The parts of all steps of a pipeline that are not done."""
        found: dict[str, Extent | None] = {}
        for view in views:
            needed = next((found[name] for name in view.step.after if found.get(name)), None)
            parts = [] if view.state == "done" else list(self._step(view, needed))
            yield from (replace(part, step=view.step.name) for part in parts)
            found[view.step.name] = (parts[0].extent if parts else extents.extent(view.step.stage, self.io)) or needed

    def _step(self, view: View, needed: Extent | None) -> Iterator[Part]:
        asked = view.step.stage
        try:
            steps = asked.steps(self.io)
            stage = next((step for step in steps if view.next in (None, step)), view.next or asked)
            part = self.planned(stage, view.run)
        except IgneousError as error:
            known = error if view.state != "waits" else None
            stage, steps = _first(asked), iter(())
            part = self.awaited(stage, needed, known)
        names = self._following(asked, stage, steps)
        yield replace(part, again=names.count(stage.name))
        yield from self._later(names, stage, part)

    # What follows of a chain.

    def _following(self, asked: Stage, first: Stage, steps: Iterator[Stage]) -> list[str]:
        """The names of the stages after ``first``: as they were met when rates were measured, else as far as told."""
        if isinstance(asked, Chain) and asked.name in self.table.chains:
            names = list(self.table.chains[asked.name])
            return names[names.index(first.name) + 1 :] if first.name in names else names
        told: list[str] = []
        try:
            told.extend(step.name for step in steps)
        except IgneousError:
            told.append(f"the rest of {asked.name}")
        return told

    def _later(self, names: Sequence[str], first: Stage, part: Part) -> Iterator[Part]:
        """The stages that follow, each once: rates of steps are for all steps of that name, by what the first reads."""
        told = extents.facts(first, part.extent, self.io)
        for name in dict.fromkeys(names):
            if name != first.name:
                later = Part(name, extent=part.extent, assumed=True)
                yield replace(later, work=self._taken(first.home(), told, later, None))

    # What work takes.

    def _work(self, stage: Stage, part: Part, plan: Run | None) -> Work | None:
        told = extents.facts(stage, part.extent, self.io)
        return self._taken(stage.home(), told, part, plan)

    def _taken(self, home: str, told: Mapping[str, Any], part: Part, plan: Run | None) -> Work | None:
        """From the first records that tell, else from the rates of this package, else None."""
        rate = self.table.find(part.stage, told)
        for where in (*self.like, home):
            found = recollection.past(self.io, where, part.stage)
            if found is not None and (measure := _measure(found, part, plan)) is not None:
                return self._recorded(found, part, measure, rate)
        return None if rate is None or part.extent is None else self._rated(rate, part, part.extent)

    def _recorded(self, found: Past, part: Part, measure: tuple[float, float], rate: Rate | None) -> Work:
        """From what a run took; reads, whose sizes no record tells, from a rate."""
        share, least = measure
        read = self._rated(rate, part, part.extent) if rate is not None and part.extent is not None else None
        return Work(
            basis="records",
            source=f"{found.lines:,} of {words.count(found.units, 'unit')} of {found.run.folder}",
            factor=max(least, 1 + 2 * found.unsure),
            cpu_seconds=share * found.cpu_seconds,
            gpu_seconds=share * found.seconds if part.on_device else 0.0,
            longest=found.longest if part.left else 0.0,
            peak_bytes=found.peak_bytes,
            read=None if read is None else read.read,
            written=share * found.written,
            gets=None if read is None else read.gets,
            puts=share * found.puts,
        )

    def _rated(self, rate: Rate, part: Part, extent: Extent) -> Work:
        """By voxels and chunks."""
        voxels = extent.voxels * _left(part)
        chunks = voxels / (extent.chunk or rates.CHUNK)
        return Work(
            basis="rates",
            source=rate.on,
            factor=_ELSEWHERE * rate.spread,
            cpu_seconds=voxels * rate.cpu_ns / 1e9,
            gpu_seconds=None if part.on_device else 0.0,
            longest=0.0,
            peak_bytes=None,
            read=voxels * rate.read,
            written=voxels * rate.written,
            gets=chunks * rate.gets,
            puts=chunks * rate.puts,
        )


def _left(part: Part) -> float:
    """The share of the units that is to be done."""
    return 1.0 if part.left is None or not part.units else part.left / part.units


def _measure(found: Past, part: Part, plan: Run | None) -> tuple[float, float] | None:
    """How many times what a run took the part is, and the least factor within which that is right.

    By units of the very same request, by voxels of another; None where it cannot be told.
    """
    if plan is not None and (plan.stage, plan.units) == (found.run.stage, found.units):
        return _left(part), _SAME
    if found.extent is None or not found.extent.voxels or part.extent is None:
        return None
    return part.extent.voxels / found.extent.voxels * _left(part), _LIKE


def _first(stage: Stage) -> Stage:
    """The first stage of a request, if that can be told; else the request itself."""
    try:
        return next(stage.steps(IO()))
    except IgneousError:
        return stage


def messages(planned: Run, spans: Spans) -> int:
    """How many messages carry the units of ``spans``."""
    return sum((hi - 1) // planned.span - lo // planned.span + 1 for lo, hi in spans if hi > lo)
