"""Agglomeration of supervoxels: up a tree of nodes over the leaves, and down again, for each threshold."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from igneous_ng.agglomerating import Step, quantile
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.segmentation import Agglomeration, Supervoxels
from igneous_ng.stage import Chain, LayerUrl, Stage, arg, opt

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_LITTLE = 10_000_000  # bytes that the plan may take


@dataclass(frozen=True, kw_only=True)
class Of(Stage):
    """The fields that say which agglomeration is meant."""

    layer: LayerUrl = arg("Layer of supervoxels, with graphs by `segment graph`.")
    agglomeration: str = opt("default", "Name of the agglomeration; a layer can have several.")

    def check(self) -> None:
        """A name is one of a folder."""
        super().check()
        if not _NAME.fullmatch(self.agglomeration):
            raise SpecError(
                f"{self.name}.agglomeration: {self.agglomeration!r} is no name; give letters, digits, dashes and dots"
            )

    def home(self) -> str:
        """Records lie with the supervoxels."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the agglomeration."""
        known = Supervoxels(io, self.layer)
        return known.agglomeration_url(self.agglomeration), f"{known.url}/done/{self.agglomeration}"


@dataclass(frozen=True, kw_only=True)
class Deciding(Of):
    """The fields that say how supervoxels become segments."""

    thresholds: tuple[float, ...] = opt(
        (0.5,), "Falling scores, 0 to 1, down to which regions are joined; more take less memory for the same result."
    )
    linkage: str = opt("mean", "Score of an edge, from its affinities: mean, max, or quantile:0.5 (needs histograms).")
    guard_size: int = opt(0, "Keep two regions apart that both have so many voxels (0: none are kept apart) ...")
    guard_threshold: float = opt(0.0, "... and whose score is below this.")
    small_size: int = opt(0, "Join regions of fewer voxels than this (0: none) also below the last threshold ...")
    small_threshold: float = opt(0.0, "... down to this score.")
    fan: int = opt(2, "Nodes joined along each axis by one of the level above.")

    def check(self) -> None:
        """Scores are from 0 to 1 and fall, rules are whole, and only the last step refuses."""
        super().check()
        quantile(self.linkage)
        falling = list(self.thresholds)
        if not falling or any(a <= b for a, b in itertools.pairwise(falling)):
            raise SpecError(f"{self.name}.thresholds: {falling}; give falling ones, such as 0.9,0.7,0.5")
        if not all(0 < score <= 1 for score in falling):
            raise SpecError(f"{self.name}.thresholds: {falling}; give scores above 0 and up to 1")
        if self.fan < 2:
            raise SpecError(f"{self.name}.fan: {self.fan}; a node joins at least 2 along each axis")
        self._check_rule("guard", self.guard_size, self.guard_threshold)
        self._check_rule("small", self.small_size, self.small_threshold)

    def _check_rule(self, rule: str, size: int, threshold: float) -> None:
        if size < 0 or not 0 <= threshold <= 1 or (size == 0) != (threshold == 0):
            raise SpecError(
                f"{self.name}: {rule}_size {size} and {rule}_threshold {threshold:g}; give both, a number of voxels "
                "and a score from 0 to 1, or neither"
            )
        if len(self.thresholds) > 1 and self.thresholds[-2] < threshold:
            raise SpecError(
                f"{self.name}.{rule}_threshold: {threshold:g} is above the threshold {self.thresholds[-2]:g} of a step "
                "that is not the last, and only the last can refuse; leave that threshold out"
            )

    def plan(self) -> Agglomeration:
        """What is asked for."""
        rules = ("thresholds", "linkage", "guard_size", "guard_threshold", "small_size", "small_threshold", "fan")
        return Agglomeration(name=self.agglomeration, **{rule: getattr(self, rule) for rule in rules})


@dataclass(frozen=True, kw_only=True)
class Decide(Deciding, name="segment decide"):
    """Write down how supervoxels are to become segments: what `segment merge` and `segment spread` follow.

    `segment agglomerate` runs them all. The same name can be decided again only in the same way.
    """

    example = "./supervoxels --thresholds 0.5,0.3"

    def prepare(self, io: IO) -> None:
        """Write the plan, if the graph is there and has what the linkage needs."""
        known = Supervoxels(io, self.layer)
        known.need("graph", f"segment graph {self.layer}")
        if quantile(self.linkage) and "bins" not in known.read("graph", (0, 0, 0), ("bins",)):
            raise DataError(
                f"{self.layer}: the graph has no histograms, which linkage {self.linkage} needs; "
                "run `segment graph` with --histogram"
            )
        known.decide(self.plan())

    def units(self, io: IO) -> Sequence[int]:
        """One."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """Next to nothing."""
        return _LITTLE

    def execute(self, unit: int, io: IO) -> None:
        """Enter how high the tree is."""
        known = Supervoxels(io, self.layer)
        made = known.agglomeration(self.agglomeration)
        io.note(steps=len(made.thresholds), levels=known.hierarchy(made).top + 1)


@dataclass(frozen=True, kw_only=True)
class Level(Of):
    """What the phases of a step have in common: they work at a level of the tree."""

    step: int = opt(0, "Step of the agglomeration, one for each threshold, from 0.")
    level: int = opt(0, "Level of the tree; 0 are the leaves.")

    def at_work(self, io: IO) -> Step:
        """The step."""
        return Step(io, self.layer, self.agglomeration, self.step)

    def within(self, size: int) -> int:
        """``size``; SpecError if it is more than the memory of a task."""
        if size > self.memory:
            raise SpecError(
                f"{self.name}: a node of level {self.level} would take {size:,} bytes and memory is {self.memory:,}; "
                "agglomerate under another name with more thresholds (such as 0.9,0.8,0.7,0.5: the result is the "
                "same), give more --memory, or begin with larger leaves"
            )
        return size


@dataclass(frozen=True, kw_only=True)
class Merge(Level, name="segment merge"):
    """Join regions as far as each node of a level knows them whole, from level 0 upwards to the top.

    What a node knows in part only goes up, with the edges between; so the result is that of the whole volume at once.
    """

    example = "./supervoxels --level 0"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before the level below is finished, or the step before."""
        work = self.at_work(io)
        if self.level > 0:
            command = f"segment merge {self.layer} --step {self.step} --level {self.level - 1}"
            work.known.need(work.phase("merge", self.level - 1), command)
        elif self.step > 0:
            before = Step(io, self.layer, self.agglomeration, self.step - 1)
            work.known.need(before.phase("spread", 0), f"segment spread {self.layer} --step {before.number} --level 0")

    def units(self, io: IO) -> Sequence[int]:
        """The nodes of the level."""
        tree = self.at_work(io).tree
        tree.check(self.level, tree.top, 0)
        return range(tree.nodes(self.level).voxels)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The tables of the parts, and a graph of them."""
        work = self.at_work(io)
        return self.within(work.merge_bytes(self.level, work.tree.at(self.level, unit)))

    def execute(self, unit: int, io: IO) -> None:
        """Agglomerate one node."""
        work = self.at_work(io)
        work.merge(self.level, work.tree.at(self.level, unit))

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        work = self.at_work(io)
        work.known.done(work.phase("merge", self.level))


@dataclass(frozen=True, kw_only=True)
class Spread(Level, name="segment spread"):
    """Tell the nodes of a level what their regions became, from the one below the top down to level 0.

    At level 0 the graphs of the next step are written, or after the last one the segment of each supervoxel.
    """

    example = "./supervoxels --level 0"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before the level above knows."""
        work, above = self.at_work(io), self.level + 1
        what = "merge" if above == work.tree.top else "spread"
        command = f"segment {what} {self.layer} --step {self.step} --level {above}"
        work.known.need(work.phase(what, above), command)

    def units(self, io: IO) -> Sequence[int]:
        """The nodes of the level."""
        tree = self.at_work(io).tree
        tree.check(self.level, tree.top - 1, 0)
        return range(tree.nodes(self.level).voxels)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The tables of the node and of its parent."""
        work = self.at_work(io)
        return self.within(work.spread_bytes(self.level, work.tree.at(self.level, unit)))

    def execute(self, unit: int, io: IO) -> None:
        """Settle one node."""
        work = self.at_work(io)
        work.spread(self.level, work.tree.at(self.level, unit))

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        work = self.at_work(io)
        work.known.done(work.phase("spread", self.level))

    def said(self, io: IO) -> str:
        """How many regions a step left, once all know."""
        if self.level > 0:
            return ""
        work = self.at_work(io)
        count, largest, refused = work.totals()
        what, threshold = "segments" if work.last else "regions", work.made.thresholds[self.step]
        less = f"; {refused:,} joins were refused" if refused else ""
        return f"{count:,} {what} at threshold {threshold:g}, the largest of {largest:,} voxels{less}"


@dataclass(frozen=True, kw_only=True)
class Agglomerate(Deciding, Chain, name="segment agglomerate"):
    """Join supervoxels to segments: always over the best edge of the whole volume next, down to a threshold.

    The segments are those of the whole volume at once, whatever the leaves, the fan, the order of tasks and the
    thresholds before the last. They are called by their smallest supervoxels and kept with the supervoxels, for
    `segment relabel`.
    """

    example = "./supervoxels --thresholds 0.5,0.3 -p 4"

    def steps(self, io: IO) -> Iterator[Stage]:
        """Decide; then, for each threshold, merge upwards and spread downwards."""
        yield self.step(Decide)
        made = Supervoxels(io, self.layer)
        top = made.hierarchy(made.agglomeration(self.agglomeration)).top
        for step in range(len(self.thresholds)):
            for level in range(top + 1):
                yield self.step(Merge, step=step, level=level)
            for level in range(top - 1, -1, -1):
                yield self.step(Spread, step=step, level=level)
