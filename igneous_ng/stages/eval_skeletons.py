"""A segmentation against skeletons: how far neurons can be followed in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as naturals
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.census import Shuffle
from igneous_ng.contingencies import Contingency
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns
from igneous_ng.formats.info import round_to_chunks
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import contingency, run_lengths
from igneous_ng.kernels.run_lengths import KINDS, PER_NM, Runs
from igneous_ng.labelled import unsigned
from igneous_ng.stage import Chain, LayerUrl, Stage, arg, opt
from igneous_ng.true_skeletons import Skeleton, Skeletons
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_SMALL = 256_000_000  # bytes of the skeletons of a part, in all their forms
_WORST = 50
_DIGITS = 3  # of nm


@dataclass(frozen=True, kw_only=True)
class OnSkeletons(Stage):
    """The fields that say what is compared, and how."""

    segmentation: LayerUrl = arg("Layer of segments; 0 is none.")
    skeletons: LayerUrl = arg("Layer with the true skeletons, their folder, or one of SWC files in micrometres.")
    out: LayerUrl = arg("Folder to write run_lengths.json to.")
    mip: int = opt(0, "Level of the segmentation.")
    merged: int = opt(1, "A segment merges if it holds at least so many nodes of each of two skeletons.")
    cell: Vec3 = opt((256, 256, 256), "Voxels that are read at once, rounded up to whole chunks.")
    parts: int = opt(32, "Tasks for skeletons that are in no shards.")
    fill_missing: bool = opt(False, "Read missing chunks as 0.")

    def check(self) -> None:
        """Cells are real, and there are parts."""
        if min(self.cell) < 1 or self.merged < 1 or not 1 <= self.parts <= 1 << 20:
            raise SpecError(f"{self.name}: cell, merged and parts are at least 1, and parts at most 2**20")

    def home(self) -> str:
        """Records lie with the scores."""
        return self.out

    def units(self, io: IO) -> range:
        """Shards of the skeletons, or parts of them."""
        return self.source(io).units

    def source(self, io: IO) -> Skeletons:
        """The skeletons."""
        return Skeletons(io, self.skeletons, self.parts)

    def table(self, io: IO) -> Contingency:
        """Nodes by segment and skeleton."""
        return Contingency(io, f"{self.out}/eval/segments", Shuffle(len(self.source(io).units)))

    def volume(self, io: IO) -> Volume:
        """The segmentation; SpecError where it holds no labels."""
        volume = io.volume(self.segmentation, self.mip, self.fill_missing)
        if volume.dtype.kind == "f" or volume.channels != 1:
            raise SpecError(f"{self.name}: {volume.path} is no layer of labels; give one of a single integer a voxel")
        return volume

    def need(self, io: IO, phase: str) -> None:
        """DataError unless a level of `eval nodes` is finished."""
        if not io.exists(f"{self.out}/eval/done/{phase}.json"):
            raise DataError(f"{self.out}: `eval {phase.replace('-', ' --level ')} ...` has not finished; run it")


@dataclass(frozen=True, kw_only=True)
class Nodes(OnSkeletons, name="eval nodes"):
    """Look up the segment of each node of the true skeletons, one level of the shuffle at a time.

    Level 0 reads the cells of the segmentation in which nodes lie; the levels above put together which skeletons each
    segment holds. A node outside of the segmentation lies in no segment.
    """

    example = "./seg ./truth/skeletons ./runs"

    level: int = opt(0, "0 looks up nodes; 1 and above add up.")

    def check(self) -> None:
        """Levels are counted from 0."""
        super().check()
        if self.level < 0:
            raise SpecError(f"{self.name}.level: {self.level}; levels begin at 0")

    def prepare(self, io: IO) -> None:
        """Write what is asked for, or refuse to add up before the level below is finished."""
        self.volume(io)
        if self.level:
            self.need(io, f"nodes-{self.level - 1}")
        url, told = f"{self.out}/eval/plan.json", self._plan()
        found = io.get_json(url)
        if found is None:
            io.put_json(url, told)
        elif found != told:
            raise SpecError(f"{url}: evaluated otherwise ({found} there, {told} asked for); name another folder")

    def units(self, io: IO) -> range:
        """Parts of the skeletons, or of the table."""
        shuffle = self.table(io).shuffle
        if self.level > shuffle.top:
            raise SpecError(f"{self.name}.level: {self.level}; here are levels 0 to {shuffle.top}")
        return range(shuffle.units(self.level)) if self.level else super().units(io)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A cell beside the skeletons, or a part of the table."""
        if self.level:
            return _SMALL + self.table(io).merge_bytes(self.level, unit)
        volume = self.volume(io)
        return _SMALL + 2 * Box.sized((0, 0, 0), round_to_chunks(volume.scale, self.cell)).voxels * volume.voxel_bytes

    def execute(self, unit: int, io: IO) -> None:
        """Look up the nodes of one part, or add up one part."""
        if self.level:
            self.table(io).merge(self.level, unit)
            return
        found = list(self.source(io).read(unit))
        points = np.concatenate([np.zeros((0, 3)), *(one.points for one in found)])
        segments = self._segments(io, points)
        sizes = [len(one.points) for one in found]
        numbers = np.repeat(np.array([one.number for one in found], np.uint64), sizes)
        io.put(f"{self.out}/eval/nodes/{unit}", columns.pack(_packed(found, segments)))
        some, ones = segments > 0, np.ones(len(segments), np.int64)
        rows = {
            "one": segments[some],
            "other": numbers[some],
            "count": ones[some],
            "most": ones[some],
            "place": ones[some],
        }
        self.table(io).store(0, unit, contingency.summed([rows]))
        io.note(skeletons=len(found), nodes=len(segments), unassigned=int(len(segments) - some.sum()))

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        io.put_json(f"{self.out}/eval/done/nodes-{self.level}.json", {})

    def _segments(self, io: IO, points: Array) -> Array:
        """The segment at each of ``points`` in nm, uint64; cell by cell, of each the box that its points need."""
        volume = self.volume(io)
        lo, hi = (np.array(corner) for corner in (volume.bounds.lo, volume.bounds.hi))
        at = np.floor(points / np.array(volume.resolution)).astype(np.int64)
        found, inside = np.zeros(len(at), np.uint64), ((at >= lo) & (at < hi)).all(axis=1)
        cell = (at - lo) // np.array(round_to_chunks(volume.scale, self.cell))
        rows = np.flatnonzero(inside)
        _, which = np.unique(cell[rows], axis=0, return_inverse=True)
        order = np.argsort(which.ravel(), kind="stable")
        for chosen in np.split(rows[order], np.flatnonzero(np.diff(which.ravel()[order])) + 1) if len(rows) else []:
            box = Box(vec(at[chosen].min(axis=0)), vec(at[chosen].max(axis=0) + 1))
            labels = unsigned(io.read(volume, box), volume, box)
            found[chosen] = labels[tuple((at[chosen] - np.array(box.lo)).T)]
        return found

    def _plan(self) -> dict[str, Any]:
        """What results depend on."""
        return {name: getattr(self, name) for name in ("segmentation", "skeletons", "mip", "parts", "fill_missing")}


def _packed(found: list[Skeleton], segments: Array) -> dict[str, Array]:
    """All of some skeletons that run lengths are made of; names as JSON."""
    names = json.dumps([one.name for one in found]).encode()
    return {
        "number": np.array([one.number for one in found], np.uint64),
        "names": np.frombuffer(names, np.uint8),
        "nodes": np.array([len(one.points) for one in found], np.int64),
        "edges": np.array([len(one.edges) for one in found], np.int64),
        "segment": segments,
        "edge": np.concatenate([np.zeros((0, 2), np.int64), *(one.edges for one in found)]),
        "length": np.concatenate([np.zeros(0, np.int64), *(run_lengths.lengths(o.points, o.edges) for o in found)]),
    }


@dataclass(frozen=True, kw_only=True)
class RunLengths(OnSkeletons, name="eval runs"):
    """Measure the runs of each skeleton, and the expected run length of all: after all levels of `eval nodes`."""

    example = "./seg ./truth/skeletons ./runs"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before it is known which segments merge."""
        self.need(io, f"nodes-{self.table(io).shuffle.top}")

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The skeletons, and a part of the table."""
        table = self.table(io)
        return 2 * _SMALL + 4 * contingency.ROW * max(map(table.pairs, range(table.parts)))

    def execute(self, unit: int, io: IO) -> None:
        """Measure the skeletons of one part."""
        url = f"{self.out}/eval/nodes/{unit}"
        data = io.get(url)
        if data is None:
            raise DataError(f"{url} is missing; run `eval nodes` again")
        found = columns.unpack(data, url)
        merging = self._merging(io, found["segment"])
        runs = list(_runs(found, merging))
        names = json.loads(found["names"].tobytes())
        told = [_told(name, one) for name, one in zip(names, runs, strict=True)]
        io.put_json(f"{self.out}/eval/runs/{unit}.json", {"sums": vars(sum(runs, Runs())), "worst": _worst(told)})

    def finish(self, io: IO) -> None:
        """Put the runs of all parts together."""
        found: list[Any] = [io.get_json(f"{self.out}/eval/runs/{unit}.json") for unit in self.units(io)]
        sums = sum((Runs(**one["sums"]) for one in found), Runs())
        worst = _worst([skeleton for one in found for skeleton in one["worst"]])
        raw = {**_told("", sums), "skeletons": sums.skeletons, "merged_from": self.merged, "worst": worst}
        del raw["name"]
        io.put_json(f"{self.out}/run_lengths.json", raw)

    def said(self, io: IO) -> str:
        """The expected run length, and how edges are wrong."""
        raw: Any = io.get_json(f"{self.out}/run_lengths.json")
        edges = "; ".join(f"{kind} {raw[kind]['edges']:,} ({raw[kind]['nm'] / 1000:,.1f} um)" for kind in KINDS)
        return (
            f"expected run length {raw['expected'] / 1000:,.2f} um of {raw['possible'] / 1000:,.2f} "
            f"({raw['normalized']:.1%}), {raw['skeletons']:,} skeletons\nedges: {edges}"
        )

    def spent(self, io: IO) -> tuple[str, ...]:
        """What the steps told each other."""
        return (f"{self.out}/eval",)

    def _merging(self, io: IO, segments: Array) -> Array:
        """For each node, whether its segment holds nodes enough of two skeletons."""
        names, which = np.unique(segments, return_inverse=True)
        merging = np.zeros(len(names), bool)

        def look(table: contingency.Table, rows: Array) -> None:
            labels, often = np.unique(table["one"][table["count"] >= self.merged], return_counts=True)
            merging[rows] = np.isin(names[rows], labels[often > 1])

        self.table(io).each(names, look)
        return merging[which]


def _runs(found: dict[str, Array], merging: Array) -> Iterator[Runs]:
    """The runs of each of the skeletons."""
    node = edge = 0
    for nodes, edges in zip(found["nodes"].tolist(), found["edges"].tolist(), strict=True):
        mine, own = slice(node, node + nodes), slice(edge, edge + edges)
        yield run_lengths.of_skeleton(found["segment"][mine], found["edge"][own], found["length"][own], merging[mine])
        node, edge = node + nodes, edge + edges


def _told(name: str, runs: Runs) -> dict[str, Any]:
    kinds = {
        kind: {"edges": getattr(runs, kind), "nm": round(getattr(runs, f"{kind}_length") / PER_NM, _DIGITS)}
        for kind in KINDS
    }
    expected, possible = round(runs.expected, _DIGITS), round(runs.possible, _DIGITS)
    share = round(runs.runs_square / runs.whole_square, 6) if runs.whole_square else 0.0
    return {"name": name, "expected": expected, "possible": possible, "normalized": share,
            "nm": round(runs.length / PER_NM, _DIGITS), **kinds}  # fmt: skip


def _worst(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The skeletons of which most is lost."""
    return sorted(told, key=lambda one: (one["expected"] - one["possible"], one["name"]))[:_WORST]


@dataclass(frozen=True, kw_only=True)
class EvalSkeletons(OnSkeletons, Chain, name="eval skeletons"):
    """Measure how far neurons can be followed in a segmentation: expected run length (Januszewski et al. 2018).

    Writes `run_lengths.json`: the expected run length in nm, what it would be without errors, and of edges of the true
    skeletons how many, and of what length, are correct, split, merged and omitted; and the skeletons that lose most.
    """

    example = "./seg ./truth/skeletons ./runs"

    def steps(self, io: IO) -> Iterator[Stage]:
        """Nodes, each level of the shuffle, runs."""
        for level in naturals():
            yield self.step(Nodes, level=level)
            if level == self.table(io).shuffle.top:
                break
        yield self.step(RunLengths)
