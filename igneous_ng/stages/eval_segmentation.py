"""A segmentation against the truth: variation of information, adapted Rand error, and where the errors are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as naturals
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.census import Shuffle
from igneous_ng.errors import DataError, SpecError
from igneous_ng.evaluations import FAN, SIDES, Evaluation, Plan, rounded, scored, tops
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import contingency, partition_scores
from igneous_ng.kernels.partition_scores import Sums
from igneous_ng.labelled import unsigned
from igneous_ng.masks import Masked
from igneous_ng.native import edt
from igneous_ng.stage import Chain, LayerUrl, Stage, arg, opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_SMALL = 32_000_000  # bytes of lists, at any rate
_PAIR = 900  # bytes of a pair in lists of numbers
_SURELY = 1 + 1e-6  # what is so far is that far, whatever the rounding


@dataclass(frozen=True, kw_only=True)
class Evaluating(Masked):
    """The fields that say what is compared, and how."""

    segmentation: LayerUrl = arg("Layer of segments; 0 is none.")
    truth: LayerUrl = arg("Layer of the same resolution that tells the true objects.")
    layer: LayerUrl = arg("Layer to create: the map of errors, with scores.json beside it.")
    mip: int = opt(0, "Level of the segmentation.")
    truth_mip: int = opt(0, "Level of the truth.")
    ignore: tuple[int, ...] = opt((0,), "Labels of the truth whose voxels are not counted.")
    border: float = opt(0.0, "Nor are those within so many nm of a voxel of another true label.")
    block: Vec3 = opt((32, 32, 32), "Voxels of the segmentation that are one of the map.")
    cell: Vec3 = opt((256, 256, 256), "Voxels of one task, rounded up to 8 blocks along each axis.")
    fill_missing: bool = opt(False, "Read missing chunks as 0.")

    def check(self) -> None:
        """There are blocks and cells, and the map has a place of its own."""
        super().check()
        if min(self.cell) < 1 or min(self.block) < 1:
            raise SpecError(f"{self.name}: cells of {self.cell} and blocks of {self.block}; sides are at least 1 voxel")
        if self.border < 0:
            raise SpecError(f"{self.name}.border: {self.border:g} nm; give 0 or a positive number")
        if self.layer in (self.segmentation, self.truth):
            raise SpecError(f"{self.name}: {self.layer} is what is compared; give another layer for the map of errors")

    def home(self) -> str:
        """Records lie with the map of errors."""
        return self.layer

    def asked(self, io: IO) -> Plan:
        """The plan; SpecError where the layers cannot be compared."""
        one, other = self.volumes(io)
        if one.resolution != other.resolution:
            raise SpecError(
                f"{self.name}: {one.path} mip {one.mip} has voxels of {one.resolution} nm and {other.path} mip "
                f"{other.mip} of {other.resolution}; give levels of one resolution"
            )
        bounds = one.bounds & other.bounds
        if not bounds.voxels:
            raise SpecError(f"{self.name}: {one.bounds} and {other.bounds} have no voxel in common; check the offsets")
        return Plan(
            segmentation=self.segmentation,
            mip=self.mip,
            truth=self.truth,
            truth_mip=self.truth_mip,
            fill_missing=self.fill_missing,
            bounds=bounds,
            resolution=one.resolution,
            block=self.block,
            cell=rounded(self.cell, self.block),
            border=self.border,
            ignore=self.ignore,
            mask=self.mask_parameters(),
        )

    def volumes(self, io: IO) -> tuple[Volume, Volume]:
        """The segmentation and the truth; SpecError where these are no labels."""
        found = (
            io.volume(self.segmentation, self.mip, self.fill_missing),
            io.volume(self.truth, self.truth_mip, self.fill_missing),
        )
        for one in found:
            if one.dtype.kind == "f" or one.channels != 1:
                raise SpecError(f"{self.name}: {one.path} is no layer of labels; give one of a single integer a voxel")
        return found


@dataclass(frozen=True, kw_only=True)
class Overlaps(Evaluating, name="eval overlaps"):
    """Count the voxels of each pair of true object and segment, one level of the shuffle at a time.

    Level 0 counts cells; the levels above add up, each task a part of the labels: of the objects, then of the segments.
    """

    example = "./seg ./truth ./scores"

    level: int = opt(0, "0 counts cells; 1 and above add up.")

    def check(self) -> None:
        """Levels are counted from 0."""
        super().check()
        if self.level < 0:
            raise SpecError(f"{self.name}.level: {self.level}; levels begin at 0")

    def prepare(self, io: IO) -> None:
        """Write the plan, or refuse to add up before the level below is finished."""
        made = Evaluation(io, self.layer)
        if self.level:
            made.need(f"overlaps-{self.level - 1}", f"eval overlaps --level {self.level - 1} ... {self.layer}")
        made.begin(self.asked(io))

    def units(self, io: IO) -> range:
        """The numbers of the cells, or of the parts of both tables."""
        shuffle = self._shuffle(io)
        if self.level > shuffle.top:
            raise SpecError(f"{self.name}.level: {self.level}; here are levels 0 to {shuffle.top}")
        return range(len(SIDES) * shuffle.units(self.level) if self.level else shuffle.cells)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """Both layers of a cell and their pairs, or a part of the pairs of many."""
        if self.level:
            side, which = self._of(unit, io)
            return _SMALL + Evaluation(io, self.layer).side(side).merge_bytes(self.level, which)
        plan, (one, other) = self.asked(io), self.volumes(io)
        box = plan.voxels(plan.grid[unit])
        known = self._around(box, other).voxels
        near = known * 32 if self.border else 0
        read = 3 * one.voxel_bytes * box.voxels + 3 * other.voxel_bytes * known
        return _SMALL + read + near + 34 * box.voxels + self.mask_bytes(io, box, plan.resolution)

    def execute(self, unit: int, io: IO) -> None:
        """Count one cell, or add up one part."""
        made = Evaluation(io, self.layer)
        if self.level:
            side, which = self._of(unit, io)
            made.side(side).merge(self.level, which)
            return
        plan = self.asked(io)
        cell = plan.grid[unit]
        pairs = self._pairs(io, plan, cell)
        made.put_blocks(unit, pairs)
        table = contingency.located(pairs, plan.numbers(cell))
        made.side(SIDES[0]).store(0, unit, table)
        made.side(SIDES[1]).store(0, unit, contingency.turned(table))
        total = int(pairs["count"].sum())
        none = int(pairs["count"][pairs["other"] == 0].sum())
        io.note(counted=total, ignored=plan.voxels(cell).voxels - total, unassigned=none)

    def finish(self, io: IO) -> None:
        """Allow the next level."""
        Evaluation(io, self.layer).done(f"overlaps-{self.level}")

    def _shuffle(self, io: IO) -> Shuffle:
        return Shuffle(len(self.asked(io).grid))

    def _of(self, unit: int, io: IO) -> tuple[str, int]:
        side, which = divmod(unit, self._shuffle(io).units(self.level))
        return SIDES[side], which

    def _pairs(self, io: IO, plan: Plan, cell: Box) -> dict[str, Array]:
        """The pairs of each block of a cell, ascending."""
        segments, truth = self.volumes(io)
        box = plan.voxels(cell)
        objects, left_out = self._objects(io, truth, box)
        masked = self.excluded(io, box, plan.resolution)
        if masked is not None:
            left_out |= masked
        labels = unsigned(io.read(segments, box), segments, box)
        return contingency.tally(objects, labels, left_out, plan.places(cell))

    def _objects(self, io: IO, truth: Volume, box: Box) -> tuple[Array, Array]:
        """The true labels of a box, and which of its voxels are not counted."""
        known = self._around(box, truth)
        labels = unsigned(io.read(truth, known), truth, known)
        inside = box.slices(known.lo)
        limit = np.iinfo(labels.dtype).max
        left_out = np.isin(labels[inside], np.array([v for v in self.ignore if 0 <= v <= limit], labels.dtype))
        if self.border:
            left_out |= _near(labels, truth, self.border)[inside]
        return labels[inside], left_out

    def _around(self, box: Box, truth: Volume) -> Box:
        """A box and all voxels of the truth whose labels tell which of it lie at a border."""
        reach = vec(math.ceil(self.border * _SURELY / r) for r in truth.resolution)
        return box.grow(reach, reach) & truth.bounds


def _near(labels: Array, truth: Volume, reach: float) -> Array:
    """Which voxels lie within ``reach`` nm of one of another label, centre to centre."""
    import fastremap

    numbers, _ = fastremap.renumber(labels, start=1, preserve_zero=False)
    off = edt.distances(np.asfortranarray(numbers, np.uint32), truth.resolution, False)
    near: Array = off <= reach * _SURELY
    return near


@dataclass(frozen=True, kw_only=True)
class Step(Stage):
    """What the later steps have in common: they follow the plan of `eval overlaps`."""

    layer: LayerUrl = arg("Layer that `eval overlaps` was given to create.")

    def home(self) -> str:
        """Records lie with the map of errors."""
        return self.layer

    def inputs(self, io: IO) -> tuple[str, ...]:
        """What is compared."""
        plan = self.made(io).plan
        return (plan.segmentation, plan.truth)

    def made(self, io: IO) -> Evaluation:
        """The evaluation."""
        return Evaluation(io, self.layer)


@dataclass(frozen=True, kw_only=True)
class Scores(Step, name="eval scores"):
    """Sum up what scores are made of, and find the worst objects: level 0 parts of the tables, then 64 results at once.

    The highest level writes `scores.json`: variation of information and adapted Rand error, with voxels that no segment
    holds counted as one segment, each as its own, or not at all; the objects that are split the most, and the segments
    that merge the most, with what they are made of, and where.
    """

    example = "./scores --level 0"

    level: int = opt(0, "0 sums parts of the tables; 1 and above add up.")

    def prepare(self, io: IO) -> None:
        """Refuse to begin before the level below is finished."""
        made = self.made(io)
        if self.level:
            made.need(f"scores-{self.level - 1}", f"eval scores --level {self.level - 1} {self.layer}")
        else:
            made.need(f"overlaps-{made.shuffle.top}", f"eval overlaps --level {made.shuffle.top} ... {self.layer}")

    def units(self, io: IO) -> range:
        """Parts of the tables, or 64 of those below."""
        parts = tops(self.made(io).side(SIDES[0]).parts)
        if not 0 <= self.level < len(parts):
            raise SpecError(f"{self.name}.level: {self.level}; here are levels 0 to {len(parts) - 1}")
        return range(parts[self.level])

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The larger of two parts, in lists, or what is known of 64."""
        made = self.made(io)
        pairs = 0 if self.level else max(made.side(side).pairs(unit) for side in SIDES)
        return 2 * _SMALL + pairs * _PAIR

    def execute(self, unit: int, io: IO) -> None:
        """Sum up one part, or add up what was found of parts."""
        made = self.made(io)
        if self.level:
            below = range(unit * FAN, min((unit + 1) * FAN, tops(made.side(SIDES[0]).parts)[self.level - 1]))
            found = _added([io.get_json(self._url(io, self.level - 1, n)) for n in below])
        else:
            objects, split = partition_scores.of_objects(made.side(SIDES[0]).part(unit))
            segments, merged = partition_scores.of_segments(made.side(SIDES[1]).part(unit))
            pairs = max(made.side(side).pairs(unit) for side in SIDES)
            found = {"sums": vars(objects + segments), "split": split, "merged": merged, "largest": pairs}
        io.put_json(self._url(io, self.level, unit), found)

    def finish(self, io: IO) -> None:
        """Write the scores, once all is summed; or allow the next level."""
        made = self.made(io)
        if self.level == len(tops(made.side(SIDES[0]).parts)) - 1:
            found: Any = io.get_json(self._url(io, self.level, 0))
            io.put_json(f"{self.layer}/scores.json", scored(found, made.plan))
            made.put_unassigned(found["sums"]["unassigned"])
        made.done(f"scores-{self.level}")

    def said(self, io: IO) -> str:
        """The scores."""
        return partition_scores.told(self.made(io).scores)

    def _url(self, io: IO, level: int, number: int) -> str:
        return f"{self.made(io).url}/sums/{level}/{number}.json"


def _added(found: list[Any]) -> dict[str, Any]:
    worst = {side: partition_scores.worst_of(o for one in found for o in one[side]) for side in ("split", "merged")}
    sums = sum((Sums(**one["sums"]) for one in found), Sums())
    return {"sums": vars(sums), **worst, "largest": max(one["largest"] for one in found)}


@dataclass(frozen=True, kw_only=True)
class Errors(Step, name="eval errors"):
    """Write the map of errors: what the voxels of each block add to split and merge, in bits a voxel that is counted.

    The means of its two channels, weighted by the voxels counted in each block, are the two parts of the variation of
    information. Voxels that no segment holds count as one segment.
    """

    example = "./scores"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before the scores are known; write the info of the map."""
        made = self.made(io)
        made.need(f"scores-{len(tops(made.side(SIDES[0]).parts)) - 1}", f"eval scores {self.layer}")
        io.create_layer(self.layer, made.plan.info)

    def units(self, io: IO) -> range:
        """The numbers of the cells."""
        return range(len(self.made(io).plan.grid))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The pairs of a cell, and the largest part of a table."""
        made = self.made(io)
        top = len(tops(made.side(SIDES[0]).parts)) - 1
        found: Any = io.get_json(f"{made.url}/sums/{top}/0.json") or {"largest": 0}
        return _SMALL + 12 * made.blocks_bytes(unit) + 4 * contingency.ROW * int(found["largest"])

    def execute(self, unit: int, io: IO) -> None:
        """Map one cell."""
        made = self.made(io)
        plan = made.plan
        cell, pairs = plan.grid[unit], made.blocks(unit)
        voxels = np.bincount(pairs["part"], pairs["count"], cell.voxels)
        found = np.zeros((cell.voxels, 2))
        for channel, cost in enumerate(_costs(made, pairs)):
            lost = np.bincount(pairs["part"], pairs["count"] * cost, cell.voxels)
            np.divide(lost, voxels, out=found[:, channel], where=voxels > 0)
        array = found.astype(np.float32).reshape((*cell.shape, 2), order="F")
        io.write(io.volume(self.layer, 0, info=plan.info), cell, np.asfortranarray(array))

    def said(self, io: IO) -> str:
        """The scores, which are known by now."""
        return partition_scores.told(self.made(io).scores)

    def spent(self, io: IO) -> tuple[str, ...]:
        """All that the steps told each other."""
        return (self.made(io).url,)


def _costs(made: Evaluation, pairs: dict[str, Array]) -> tuple[Array, Array]:
    """What a voxel of each pair of labels adds to split and to merge, in bits."""
    both, which = np.unique(np.stack([pairs["one"], pairs["other"]], axis=1), axis=0, return_inverse=True)
    common, whole = _totals(made, SIDES[0], both[:, 0], both[:, 1])
    some = both[:, 1] > 0
    segments = np.full(len(both), 0 if some.all() else made.unassigned)
    segments[some] = _totals(made, SIDES[1], both[some, 1], both[some, 0])[1]
    logs = [np.array([math.log2(n) for n in column.tolist()]) for column in (common, whole, segments)]
    at = which.ravel()
    return (logs[1] - logs[0])[at], (logs[2] - logs[0])[at]


def _totals(made: Evaluation, side: str, one: Array, other: Array) -> tuple[Array, Array]:
    """Voxels of pairs in the whole volume, and of the first label of each."""
    counts, totals = np.zeros(len(one), np.int64), np.zeros(len(one), np.int64)

    def look(table: contingency.Table, rows: Array) -> None:
        counts[rows], totals[rows] = contingency.looked_up(table, one[rows], other[rows])

    made.side(side).each(one, look)
    if (counts < 0).any():
        raise DataError(f"{made.url}/{side}: the tables lack a pair of labels; evaluate again, from the first step on")
    return counts, totals


@dataclass(frozen=True, kw_only=True)
class EvalSegmentation(Evaluating, Chain, name="eval segmentation"):
    """Measure a segmentation against the truth, and map its errors: all of `eval overlaps`, `scores`, `errors`.

    Writes `scores.json`, and a layer whose two channels show where objects are split, and where segments merge.
    """

    example = "./seg ./truth ./scores -p 4"

    def steps(self, io: IO) -> Iterator[Stage]:
        """Cells, each level of the shuffle, each level of sums, the map."""
        made = Evaluation(io, self.layer)
        for level in naturals():
            yield self.step(Overlaps, level=level)
            if level == made.shuffle.top:
                break
        for level in range(len(tops(made.side(SIDES[0]).parts))):
            yield self.step(Scores, level=level)
        yield self.step(Errors)
