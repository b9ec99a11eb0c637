"""Synapses that were found beside true ones: what may be the same, and groups of it that can be matched alone.

A *cleft* is all rows of a table at one voxel; its key is its location without the rank, and one bit more that tells
which table. A cleft belongs to the cell, a cube of nm, that the middle of its voxel lies in. What is nearer than the
distance is tied; groups of what is tied span cells, and a tree (:mod:`igneous_ng.tree`) finds them. The cell of the
smallest key of a group matches all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import desks
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.kernels import locations, synapse_scores
from igneous_ng.kernels.unions import Reduction, Table, find
from igneous_ng.native import components as native
from igneous_ng.synapses import Frame, Synapses
from igneous_ng.tree import Tree

Array = npt.NDArray[Any]
Rows = dict[str, Array]
SIDES = ("found", "truth")
_FAN = 4  # cells that a node of the tree joins along each axis
_CORNERS: tuple[Reduction, ...] = ("min",) * 6
_HELD = 40  # bytes held for each of the rows of a cell: pairs, and copies
SITES: dict[str, str] = {
    "id": "<u8",
    "key": "<u8",  # of the cleft
    "place": "<i4",  # [3] nm: of the cleft
    "pre_place": "<i4",
    "post_place": "<i4",
    "pre": "<u8",
    "post": "<u8",
    "score": "|u1",
    "cleft_score": "|u1",  # the best of its rows
    "cleft": "|u1",  # 1: the first row of its cleft
    "partner": "|u1",  # 1: counted as a pair of partners
}
"""The columns of what is matched."""
WIDE = ("place", "pre_place", "post_place")


@dataclass(frozen=True)
class Plan:
    """What all steps follow: two tables, and what makes two synapses the same.

    ``distance`` is for clefts, ``reach`` for partners; ``by`` says which partners are the same: those of equal labels
    of the tables, of equal labels of ``segmentation``, or all that are near. ``sites`` are those whose distances count.
    """

    found: str
    truth: str
    segmentation: str | None
    mip: int
    by: str
    sites: str
    distance: float
    reach: float
    score: str
    partial: bool
    threshold: int
    thresholds: tuple[int, ...]
    cell: int

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        return {**asdict(self), "thresholds": list(self.thresholds)}

    @property
    def anchor(self) -> str:
        """The site by which candidates are looked for."""
        return "post_place" if self.sites == "post" else "pre_place"


@dataclass(frozen=True)
class Matching(desks.Desk):
    """A folder of scores, and its folder `groups`, where steps leave what the next ones need."""

    again = "run the steps of the evaluation again, from `eval groups sites` on"

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"{self.layer}/groups"

    def begin(self, plan: Plan) -> None:
        """Write the plan, or accept the same; SpecError says in what another one differs, or that tables lie apart."""
        one, other = (_box(Synapses(self.io, url).frame) for url in (plan.found, plan.truth))
        if not (one & other).voxels:
            raise SpecError(f"{plan.found} covers {one} nm and {plan.truth} {other}; they have nothing in common")
        desks.agree(self.io, f"{self.url}/plan.json", plan.to_json(), "evaluated", "name another folder")

    @cached_property
    def plan(self) -> Plan:
        """The plan; DataError if there is none."""
        raw = self.io.get_json(f"{self.url}/plan.json")
        if raw is None:
            raise DataError(f"{self.layer}: nothing is evaluated here; run `eval groups sites` first")
        try:
            return Plan(**{**raw, "thresholds": tuple(raw["thresholds"])})
        except (KeyError, TypeError) as error:
            raise DataError(f"{self.url}/plan.json: not a plan of an evaluation ({error}); evaluate anew") from error

    def source(self, side: str) -> Synapses:
        """One of the two tables."""
        return Synapses(self.io, self.plan.found if side == SIDES[0] else self.plan.truth)

    @cached_property
    def frames(self) -> dict[str, Frame]:
        """Where the tables are."""
        return {side: self.source(side).frame for side in SIDES}

    @cached_property
    def cells(self) -> Grid:
        """The cells, in nm."""
        one, other = (_box(frame) for frame in self.frames.values())
        return Grid(one | other, (self.plan.cell,) * 3)

    # Where things are.

    def middles(self, keys: Array) -> Array:
        """The middle of the voxel of each cleft, int64 [n, 3], nm, rounded down."""
        found = np.zeros((len(keys), 3), np.int64)
        for bit, side in enumerate(SIDES):
            mine = (keys & np.uint64(1)) == bit
            frame = self.frames[side]
            ids = keys[mine] >> np.uint64(1) << np.uint64(8)
            found[mine] = np.floor((frame.voxels(ids) + 0.5) * frame.resolution).astype(np.int64)
        return found

    def homes(self, keys: Array) -> Array:
        """The place of the cell of each cleft, int64 [n, 3]."""
        found: Array = (self.middles(keys) - self.cells.bounds.lo) // self.plan.cell
        return found

    def blocks(self, side: str, box: Box) -> list[Vec3]:
        """The places of the blocks of a table whose voxels may have their middles in a box of nm."""
        frame = self.frames[side]
        lo = np.floor(np.array(box.lo) / frame.resolution).astype(np.int64) - 1
        hi = np.ceil(np.array(box.hi) / frame.resolution).astype(np.int64) + 1
        inside = Box(vec(lo), vec(hi)) & frame.bounds
        grid = Grid(frame.bounds, frame.grid.cell, inside)
        return [grid.at(one) for one in grid] if inside.voxels else []

    def rows(self, side: str, box: Box) -> Rows:
        """What is matched of a table, of clefts whose middles lie in a box of nm, ascending by id."""
        parts = [self.read(side, at) for at in self.blocks(side, box)]
        found = {name: np.concatenate([_none(name), *(part[name] for part in parts)]) for name in SITES}
        middles = self.middles(found["key"])
        inside = np.flatnonzero(((middles >= box.lo) & (middles < box.hi)).all(axis=1))
        inside = inside[np.argsort(found["id"][inside])]
        return {name: column[inside] for name, column in found.items()}

    def rows_bytes(self, box: Box) -> int:
        """The most bytes that rows of both tables in a box, and what is made of them, take."""
        return _HELD * sum(self.size(side, at) for side in SIDES for at in self.blocks(side, box))

    @cached_property
    def halo(self) -> int:
        """How far apart, in nm, the middles of clefts that are tied can be along an axis."""
        raw: Any = self.io.get_json(f"{self.url}/reach.json")
        if raw is None:
            raise DataError(f"{self.url}: `eval groups sites` has not finished; wait for it, or run it")
        cleft, site = (sum(raw[side][what] for side in SIDES) for what in ("place", "site"))
        return int(max(cleft + self.plan.distance, site + self.plan.reach)) + 2

    def around(self, at: Vec3) -> Box:
        """A cell and all that may be tied to what is in it."""
        return self.cells.box(at).grow((self.halo,) * 3, (self.halo,) * 3)

    # What may be the same.

    def clefts(self, found: Rows, truth: Rows) -> Array:
        """The pairs of rows, [k, 2], the first of their clefts, that lie near enough."""
        one, other = np.flatnonzero(found["cleft"]), np.flatnonzero(truth["cleft"])
        pairs = synapse_scores.near(found["place"][one], truth["place"][other], self.plan.distance)
        return np.stack([one[pairs[:, 0]], other[pairs[:, 1]]], axis=1)

    def partners(self, found: Rows, truth: Rows) -> tuple[Array, Array]:
        """The pairs of rows, [k, 2], that may be the same partners, and their costs: mean distances in nm."""
        plan = self.plan
        one, other = np.flatnonzero(found["partner"]), np.flatnonzero(truth["partner"])
        near = synapse_scores.near(found[plan.anchor][one], truth[plan.anchor][other], plan.reach)
        pairs = np.stack([one[near[:, 0]], other[near[:, 1]]], axis=1)
        if plan.by != "places":
            for name in ("pre", "post"):
                label = found[name][pairs[:, 0]]
                pairs = pairs[(label == truth[name][pairs[:, 1]]) & (label > 0)]
        sites = ("pre", "post") if plan.sites == "both" else (plan.sites,)
        squares = [synapse_scores.square(found[f"{s}_place"], truth[f"{s}_place"], pairs) for s in sites]
        allowed = np.all([square <= plan.reach * plan.reach for square in squares], axis=0)
        costs: Array = np.sqrt(np.array(squares)).sum(axis=0) / len(sites)
        return pairs[allowed], costs[allowed]

    # Groups.

    @property
    def tree(self) -> Tree:
        """The tree over the cells; its payload are the corners of the cells that a group lies in."""
        return Tree(self.cells.counts, _FAN, f"{self.url}/tree", _CORNERS)

    def tie(self, at: Vec3) -> dict[str, int]:
        """Find the parts of groups in a cell, and what leads out of them; gives how many there are."""
        box = self.around(at)
        found, truth = (self.rows(side, box) for side in SIDES)
        tied = np.concatenate([self.clefts(found, truth), self.partners(found, truth)[0]])
        pairs = np.unique(np.stack([found["key"][tied[:, 0]], truth["key"][tied[:, 1]]], axis=1), axis=0)
        keys = np.unique(np.concatenate([found["key"], truth["key"]]))
        keys = keys[(self.homes(keys) == at).all(axis=1)]
        ends = np.stack([find(keys, pairs[:, 0]), find(keys, pairs[:, 1])], axis=1)
        both, out = (ends >= 0).all(axis=1), (ends >= 0).sum(axis=1) == 1
        parts = keys[native.sets(len(keys), ends[both, 0], ends[both, 1])]
        self.put("clefts", at, {"key": keys, "part": parts})
        owners = parts[ends[out].max(axis=1)]
        self.put("links", at, {"owner": owners, "name": pairs[out]})
        return {"clefts": len(keys), "pairs": int(both.sum()), "links": int(out.sum())}

    def table(self, at: Vec3) -> Table:
        """The parts of a cell that are tied to others."""
        links = self.read("links", at)
        keys = np.unique(links["owner"])
        corners = np.tile(np.array([*at, *(-n for n in at)], np.int64), (len(keys), 1))
        return Table(keys, corners, links["owner"], links["name"])

    def tables_bytes(self, cells: Sequence[Vec3]) -> int:
        """The most bytes that the tables of some cells, and what comes of them, take."""
        return sum(12 * self.size("links", at) for at in cells)

    def roots(self, at: Vec3) -> tuple[Array, Array, Array]:
        """The clefts of a cell, the smallest key of the group of each, and the corners of the cells of that."""
        own = self.read("clefts", at)
        answer = self.tree.answer(self.io, self.tree.parent(at))
        corners = np.tile(np.array([*at, *(-n for n in at)], np.int64), (len(own["key"]), 1))
        roots, known = own["part"].copy(), find(answer.keys, own["part"])
        roots[known >= 0] = answer.roots[known[known >= 0]]
        corners[known >= 0] = answer.payload[known[known >= 0]]
        return own["key"], roots, corners

    def reached(self, at: Vec3) -> list[Vec3]:
        """The cells in which groups may lie that a cell matches, itself among them."""
        _, roots, corners = self.roots(at)
        own = np.unique(corners[(self.homes(roots) == at).all(axis=1)], axis=0)
        found = {at}
        for corner in own.tolist():
            found |= {vec(p) for p in product(*(range(a, 1 - b) for a, b in zip(corner[:3], corner[3:], strict=True)))}
        return sorted(found)

    def owners(self, keys: Array) -> Array:
        """The cells, int64 [n, 3], that match the groups of clefts."""
        homes, found = self.homes(keys), np.zeros((len(keys), 3), np.int64)
        for at in np.unique(homes, axis=0):
            own, roots, _ = self.roots(vec(at))
            mine = (homes == at).all(axis=1)
            found[mine] = self.homes(roots[np.searchsorted(own, keys[mine])])
        return found

    def groups(self, at: Vec3) -> tuple[Rows, Rows]:
        """The rows of both tables of all groups that a cell matches, ascending by id."""
        parts: dict[str, list[Rows]] = {side: [] for side in SIDES}
        for cell in self.reached(at):
            keys, roots, _ = self.roots(cell)
            mine = keys[(self.homes(roots) == at).all(axis=1)]
            for side in SIDES if len(mine) else ():
                rows = self.rows(side, self.cells.box(cell))
                chosen = find(mine, rows["key"]) >= 0
                parts[side].append({name: column[chosen] for name, column in rows.items()})
        found, truth = (_together(parts[side]) for side in SIDES)
        return found, truth

    def told(self) -> str:
        """The scores in `scores.json`, for people."""
        raw: Any = self.io.get_json(f"{self.layer}/scores.json")
        lines = []
        for name in ("detection", "partners"):
            best = max(raw[name], key=lambda one: (one["f1"], one["threshold"]))
            at = next(one for one in raw[name] if one["threshold"] == raw["threshold"])
            nm = raw["distance" if name == "detection" else "reach"]
            lines.append(
                f"{name} within {nm:g} nm: precision {at['precision']:.3f}, recall {at['recall']:.3f}, "
                f"F1 {at['f1']:.3f} ({at['true']:,} true, {at['false']:,} false, {at['missed']:,} missed); "
                f"best F1 {best['f1']:.3f} from score {best['threshold']} on"
            )
        return "\n".join(lines)


def _together(parts: Sequence[Mapping[str, Array]]) -> Rows:
    """All rows, ascending by id."""
    found = {name: np.concatenate([_none(name), *(part[name] for part in parts)]) for name in SITES}
    order = np.argsort(found["id"])
    return {name: column[order] for name, column in found.items()}


def _none(name: str) -> Array:
    return np.zeros((0, 3) if name in WIDE else 0, SITES[name])


def _box(frame: Frame) -> Box:
    """The nm that a table covers."""
    lo = np.floor(np.array(frame.bounds.lo) * frame.resolution)
    return Box(vec(lo), vec(np.ceil(np.array(frame.bounds.hi) * frame.resolution)))


def keys_of(ids: Array, side: str) -> Array:
    """The keys of the clefts of rows."""
    found: Array = locations.first(ids) >> np.uint64(7) | np.uint64(SIDES.index(side))
    return found
