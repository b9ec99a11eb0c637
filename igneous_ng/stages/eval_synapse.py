"""Synapses against the truth: which clefts were found, and with which partners."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import sites
from igneous_ng.block_groups import Groups
from igneous_ng.climbing import Joining, Spreading, over, settled
from igneous_ng.errors import SpecError
from igneous_ng.formats import columns
from igneous_ng.geometry import vec
from igneous_ng.io import IO
from igneous_ng.kernels import synapse_scores
from igneous_ng.matching import SIDES, Matching, Plan, Rows
from igneous_ng.stage import Chain, Layer, LayerUrl, Stage, arg, opt
from igneous_ng.synapses import Synapses
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_SMALL = 64_000_000  # bytes of lists, at any rate
_ROW = 2000  # bytes of a row in all its forms
TRUE, WRONG = 1, 2
"""Outcomes: matched; found and not true, or true and not found. 0 is not counted."""


@dataclass(frozen=True, kw_only=True)
class Matches(Stage):
    """The fields that say what is compared, and how."""

    found: LayerUrl = arg("Table of synapses that were found.")
    truth: LayerUrl = arg("Table of true synapses.")
    layer: LayerUrl = arg("Folder to write scores.json and tables of outcomes to.")
    segmentation: Layer | None = opt(None, "Layer of true segments: partners are the same where it has one label.")
    mip: int = opt(0, "Level of the segmentation.")
    by: Literal["labels", "places"] = opt(
        "labels", "Without it, partners have equal labels in the tables, or are near."
    )
    sites: Literal["both", "pre", "post"] = opt("both", "Whose distances are the cost of partners, and limited.")
    distance: float = opt(200.0, "Greatest distance in nm between clefts that are the same.")
    reach: float = opt(400.0, "Greatest distance in nm between sites of partners that are the same.")
    score: Literal["confidence", "mean", "peak"] = opt("confidence", "Column of found synapses that thresholds are of.")
    threshold: int = opt(0, "Outcomes are of found synapses of at least this score, 0 to 255.")
    thresholds: tuple[int, ...] = opt(tuple(range(0, 256, 16)), "Scores are told of each of these.")
    partial: bool = opt(False, "Count rows without a segment on a side as partners, too.")
    cell: int = opt(30_000, "nm along each side of what one task matches.")

    def check(self) -> None:
        """Distances and scores are real, and the result is elsewhere."""
        if min(self.distance, self.reach) <= 0 or max(self.distance, self.reach) > 1e6:
            raise SpecError(f"{self.name}: distances of {self.distance:g} and {self.reach:g} nm; give 0 to 1,000,000")
        if not all(0 <= one <= 255 for one in (self.threshold, *self.thresholds)):
            raise SpecError(f"{self.name}: a threshold is not within 0 to 255")
        if self.cell < 1 or self.mip < 0:
            raise SpecError(f"{self.name}: cells have at least 1 nm, and levels are counted from 0")
        if self.layer in (self.found, self.truth):
            raise SpecError(f"{self.name}: {self.layer} is what is compared; give another folder for the scores")

    def home(self) -> str:
        """Records lie with the scores."""
        return self.layer

    def plan(self) -> Plan:
        """What all steps follow."""
        named = {name: getattr(self, name) for name in Plan.__dataclass_fields__ if hasattr(self, name)}
        by = "segmentation" if self.segmentation else self.by
        return Plan(**{**named, "by": by, "thresholds": tuple(sorted({*self.thresholds, self.threshold}))})


@dataclass(frozen=True, kw_only=True)
class Sites(Matches, name="eval groups sites"):
    """Gather what is compared of both tables: the first step of `eval synapse`.

    Duplicates are left out; so are, as partners, autapses, and rows without a segment on a side unless they are asked
    for. Labels are looked up in the segmentation, if one is given; outside of it there are none.
    """

    example = "./synapses ./truth ./synapse-scores"

    def prepare(self, io: IO) -> None:
        """Write the plan; SpecError where the tables cannot be compared."""
        if self.segmentation:
            self._volume(io)
        Matching(io, self.layer).begin(self.plan())

    def units(self, io: IO) -> range:
        """Groups of the blocks of the one table, then of the other."""
        return range(sum(len(portions) for portions in self._portions(io)))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The rows of a block, and a part of the segmentation."""
        read = sites.labels_bytes(self._volume(io)) if self.segmentation else 0
        side, portion = self._of(unit, io)
        table, portions = self._table(io, side), self._portions(io)[SIDES.index(side)]
        return _SMALL + read + 12 * max(table.size("rows", at) for at in portions.blocks(portion))

    def execute(self, unit: int, io: IO) -> None:
        """Gather one portion."""
        side, portion = self._of(unit, io)
        desk, reach = Matching(io, self.layer), {"place": 0, "site": 0}
        counts = {"clefts": 0, "partners": 0}
        for at in Groups(desk.frames[side]).blocks(portion):
            rows = self._rows(io, side, desk.source(side).rows(at))
            desk.put(side, at, rows)
            middles = desk.middles(rows["key"])
            for what, name in (("place", "place"), ("site", desk.plan.anchor)):
                reach[what] = max(reach[what], int(np.abs(rows[name] - middles).max(initial=0)))
            counts["clefts"] += int(rows["cleft"].sum())
            counts["partners"] += int(rows["partner"].sum())
        io.put_json(f"{desk.url}/reach/{unit}.json", reach)
        io.note(**counts)

    def finish(self, io: IO) -> None:
        """Write how far sites lie from their clefts."""
        desk, told = Matching(io, self.layer), {side: {"place": 0, "site": 0} for side in SIDES}
        for unit in self.units(io):
            raw: Any = io.get_json(f"{desk.url}/reach/{unit}.json")
            mine = told[self._of(unit, io)[0]]
            mine |= {what: max(mine[what], raw[what]) for what in mine}
        io.put_json(f"{desk.url}/reach.json", told)
        desk.done("sites")

    def _portions(self, io: IO) -> list[Groups]:
        return [Groups(self._table(io, side).frame) for side in SIDES]

    def _table(self, io: IO, side: str) -> Synapses:
        return Synapses(io, self.found if side == SIDES[0] else self.truth)

    def _of(self, unit: int, io: IO) -> tuple[str, int]:
        """The table, and which of its portions."""
        first = len(self._portions(io)[0])
        return (SIDES[0], unit) if unit < first else (SIDES[1], unit - first)

    def _rows(self, io: IO, side: str, rows: Rows) -> Rows:
        """What is compared of the rows of a block."""
        labels = {}
        if self.segmentation:
            volume = self._volume(io)
            labels = {name: sites.labels_at(io, volume, rows[f"{name}_place"]) for name in ("pre", "post")}
        return sites.gathered({**rows, **labels}, side, self.score, self.partial)

    def _volume(self, io: IO) -> Volume:
        volume = io.volume(self.segmentation or "", self.mip)
        if volume.dtype.kind == "f" or volume.channels != 1:
            raise SpecError(f"{self.name}: {volume.path} is no layer of labels; give one of a single integer a voxel")
        return volume


@dataclass(frozen=True, kw_only=True)
class Step(Stage):
    """What the later steps have in common: they follow the plan of `eval groups sites`."""

    layer: LayerUrl = arg("Folder of the scores, as `eval groups sites` was given.")

    def home(self) -> str:
        """Records lie with the scores."""
        return self.layer

    def inputs(self, io: IO) -> tuple[str, ...]:
        """What is compared."""
        plan = self.desk(io).plan
        return tuple(url for url in (plan.found, plan.truth, plan.segmentation) if url)

    def desk(self, io: IO) -> Matching:
        """Where the steps leave what they know."""
        return Matching(io, self.layer)


@dataclass(frozen=True, kw_only=True)
class Candidates(Step, name="eval groups candidates"):
    """Tie what may be the same, in each cell: clefts that are near, and partners that are."""

    example = "./synapse-scores"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before all is gathered."""
        self.desk(io).need("sites", f"eval groups sites ... {self.layer}")

    def units(self, io: IO) -> range:
        """The cells."""
        return range(len(self.desk(io).cells))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The rows in reach of a cell."""
        desk = self.desk(io)
        return _SMALL + desk.rows_bytes(desk.around(desk.cells.at(desk.cells[unit])))

    def execute(self, unit: int, io: IO) -> None:
        """Tie what is in one cell."""
        desk = self.desk(io)
        io.note(**desk.tie(desk.cells.at(desk.cells[unit])))

    def finish(self, io: IO) -> None:
        """Allow joining."""
        self.desk(io).done("candidates")


@dataclass(frozen=True, kw_only=True)
class Join(Step, Joining, name="eval groups join"):
    """Join groups of what may be the same over cells, one level of the tree at a time, upwards from 1."""

    example = "./synapse-scores --level 1"
    first = "candidates"


@dataclass(frozen=True, kw_only=True)
class Spread(Step, Spreading, name="eval groups spread"):
    """Tell the cells which groups their clefts are in, one level of the tree at a time, downwards to 1."""

    example = "./synapse-scores --level 1"


@dataclass(frozen=True, kw_only=True)
class Match(Step, name="eval matches"):
    """Match what was found with the truth, group by group, so that the sum of distances is least (Hungarian method).

    Writes `scores.json`: precision, recall and F1 of clefts and of partners, for each threshold.
    """

    example = "./synapse-scores"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before groups are known."""
        settled(self.desk(io), "eval groups", self.layer)

    def units(self, io: IO) -> range:
        """The cells."""
        return range(len(self.desk(io).cells))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The rows of the cells in which groups lie that this one matches."""
        desk = self.desk(io)
        at = desk.cells.at(desk.cells[unit])
        return _SMALL + sum(desk.rows_bytes(desk.cells.box(one)) for one in desk.reached(at))

    def execute(self, unit: int, io: IO) -> None:
        """Match the groups of one cell."""
        desk = self.desk(io)
        found, truth = desk.groups(at := desk.cells.at(desk.cells[unit]))
        clefts = desk.clefts(found, truth)
        costs = np.sqrt(synapse_scores.square(found["place"], truth["place"], clefts).astype(np.float64))
        told: dict[str, Any] = {}
        kept: dict[str, Array] = {}
        pairs = {
            "cleft": (clefts, costs, desk.plan.distance),
            "partner": (*desk.partners(found, truth), desk.plan.reach),
        }
        for what, (ties, cost, most) in pairs.items():
            score = found["cleft_score" if what == "cleft" else "score"]
            counted = found[what] > 0
            told[what] = {"known": int(truth[what].sum()), "found": [], "true": []}
            for threshold in desk.plan.thresholds:
                rows = np.flatnonzero(score[ties[:, 0]] >= threshold)
                chosen = rows[synapse_scores.matched(ties[rows], cost[rows], (len(score), len(truth["id"])), most)]
                told[what]["found"].append(int((counted & (score >= threshold)).sum()))
                told[what]["true"].append(len(chosen))
                if threshold == desk.plan.threshold:
                    one, other = ties[chosen].T
                    name = "key" if what == "cleft" else "id"
                    kept |= {f"{what}_found": found[name][one], f"{what}_truth": truth[name][other],
                             f"{what}_nm": cost[chosen].astype(np.float32)}  # fmt: skip
        desk.put("matches", at, kept)
        io.put_json(f"{desk.url}/sums/{unit}.json", told)
        io.note(**_noted(told, desk.plan))

    def finish(self, io: IO) -> None:
        """Write the scores."""
        desk = self.desk(io)
        plan, sums = (
            desk.plan,
            {what: np.zeros((2, len(desk.plan.thresholds)), np.int64) for what in ("cleft", "partner")},
        )
        known = dict.fromkeys(sums, 0)
        for unit in self.units(io):
            raw: Any = io.get_json(f"{desk.url}/sums/{unit}.json")
            for what, one in raw.items():
                sums[what] += [one["true"], one["found"]]
                known[what] += one["known"]
        scores = {
            name: [{"threshold": threshold, **synapse_scores.scores(int(true), int(found), known[what])}
                   for threshold, true, found in zip(plan.thresholds, *sums[what], strict=True)]
            for name, what in (("detection", "cleft"), ("partners", "partner"))
        }  # fmt: skip
        asked = {name: value for name, value in plan.to_json().items() if name not in ("cell", "thresholds")}
        io.put_json(f"{self.layer}/scores.json", {**asked, **scores})
        desk.done("matches")

    def said(self, io: IO) -> str:
        """The scores at the threshold, and the best."""
        return self.desk(io).told()


def _noted(told: dict[str, Any], plan: Plan) -> dict[str, int]:
    at = plan.thresholds.index(plan.threshold)
    found = dict[str, int]()
    for what, one in told.items():
        true = one["true"][at]
        found |= {f"{what}_true": true, f"{what}_false": one["found"][at] - true, f"{what}_missed": one["known"] - true}
    return found


@dataclass(frozen=True, kw_only=True)
class Outcomes(Step, name="eval outcomes"):
    """Write what became of each synapse: tables of true, false and missed ones, block by block.

    `found` and `truth` of the folder have a file a block, as the tables have: ids, places, labels and scores, and for
    the cleft and for the partners the outcome (1 matched, 2 not, 0 not counted), what it is matched with, and how far
    that is.
    """

    example = "./synapse-scores"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before all is matched."""
        self.desk(io).need("matches", f"eval matches {self.layer}")

    def units(self, io: IO) -> range:
        """Groups of the blocks of the one table, then of the other."""
        return range(sum(len(Groups(frame)) for frame in self.desk(io).frames.values()))

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The rows of a portion, and the matches of the cells that groups of theirs lie in."""
        desk = self.desk(io)
        side, portion = self._of(unit, desk)
        blocks = [desk.size(side, at) for at in Groups(desk.frames[side]).blocks(portion)]
        cells = [desk.size("clefts", desk.cells.at(cell)) for cell in desk.cells]
        return _SMALL + 8 * max(blocks) + 12 * sum(sorted(cells)[-27:])

    def execute(self, unit: int, io: IO) -> None:
        """Write one portion."""
        desk = self.desk(io)
        side, portion = self._of(unit, desk)
        for at in Groups(desk.frames[side]).blocks(portion):
            rows = desk.read(side, at)
            io.put(
                f"{self.layer}/{side}/{'-'.join(map(str, at))}",
                columns.pack({**rows, **self._outcomes(desk, side, rows)}),
            )

    def spent(self, io: IO) -> tuple[str, ...]:
        """All that the steps told each other."""
        return (self.desk(io).url,)

    def said(self, io: IO) -> str:
        """The scores, which are known by now."""
        return self.desk(io).told()

    def _of(self, unit: int, desk: Matching) -> tuple[str, int]:
        first = len(Groups(desk.frames[SIDES[0]]))
        return (SIDES[0], unit) if unit < first else (SIDES[1], unit - first)

    def _outcomes(self, desk: Matching, side: str, rows: Rows) -> Rows:
        """What became of the rows of a block."""
        found: Rows = {}
        owners = desk.owners(rows["key"])
        matches = [desk.read("matches", vec(at)) for at in np.unique(owners, axis=0)]
        other = SIDES[1 - SIDES.index(side)]
        for what, name, score in (("cleft", "key", "cleft_score"), ("partner", "id", "score")):
            mine, theirs, nm = (
                np.concatenate([np.zeros(0, kind), *(one[f"{what}_{part}"] for one in matches)])
                for part, kind in ((side, np.uint64), (other, np.uint64), ("nm", np.float32))
            )
            order = np.argsort(mine)
            at = np.searchsorted(mine[order], rows[name])
            at[at == len(mine)] = 0
            there = (mine[order][at] == rows[name]) if len(mine) else np.zeros(len(at), bool)
            counted = np.ones(len(at), bool) if what == "cleft" else rows["partner"] > 0
            if side == SIDES[0]:
                counted &= rows[score] >= desk.plan.threshold
            found[f"{what}_outcome"] = np.where(counted, np.where(there, TRUE, WRONG), 0).astype(np.uint8)
            partner, apart = np.zeros(len(at), np.uint64), np.full(len(at), np.nan, np.float32)
            partner[there], apart[there] = theirs[order][at[there]], nm[order][at[there]]
            found[f"{what}_match"] = partner >> np.uint64(1) << np.uint64(8) if what == "cleft" else partner
            found[f"{what}_nm"] = apart
        return found


@dataclass(frozen=True, kw_only=True)
class EvalSynapse(Matches, Chain, name="eval synapse"):
    """Measure synapses against the truth: precision, recall and F1 of clefts and of partners.

    Clefts are matched by their centroids. Partners are matched as CREMI does: both sites are near, and the segments
    the same; the cost is the mean of both distances, and the sum of costs is least. Writes `scores.json`, of several
    thresholds of the score, and what became of each synapse.
    """

    example = "./synapses ./truth ./synapse-scores --distance 300"

    def steps(self, io: IO) -> Iterator[Stage]:
        """Gather, tie, up the tree, down the tree, match, write."""
        yield self.step(Sites)
        yield self.step(Candidates)
        yield from over(self, Matching(io, self.layer).tree, Join, Spread)
        yield self.step(Match)
        yield self.step(Outcomes)
