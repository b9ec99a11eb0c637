"""Synapses that are one: rows of a table with equal partners whose centroids lie nearer than a distance.

A row belongs to the block of its centroid, which may be another than that of its id: `synapse partners` leaves a row
there, in a file of the block that it comes from. Two rows that lie near are in neighbouring blocks, so each block knows
its pairs; a tree over the blocks joins them (:mod:`igneous_ng.tree`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import assigning
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Vec3, ceil_div, exactly, vec
from igneous_ng.kernels.contacts import pitch
from igneous_ng.kernels.unions import Reduction, Table, find
from igneous_ng.synapses import DUPLICATE, NO_POST, NO_PRE, UNORIENTED, Frame
from igneous_ng.tree import Tree

Array = npt.NDArray[Any]
_FAN = 4  # blocks that a node of the tree joins along each axis
_REDUCTIONS: tuple[Reduction, ...] = ("sum", "min", "then", "min", "min", "min", "min", "min", "min")
"""Of rows that are one: all voxels; the most voxels of one, below 0; its id; the box, its end below 0."""
_GROWTH = 12  # bytes held per byte of a block's rows


@dataclass(frozen=True)
class Desk(assigning.Desk):
    """What lies in ``TABLE/work`` of duplicates."""

    @property
    def looked_for(self) -> bool:
        """Whether duplicates are."""
        return self.choice.distance > 0

    @property
    def tree(self) -> Tree:
        """The tree over the blocks."""
        return Tree(self.frame.grid.counts, _FAN, f"{self.url}/tree", _REDUCTIONS)

    def leave(self, at: Vec3, rows: Mapping[str, Array]) -> None:
        """Leave the rows of a block that have two partners where their centroids are."""
        names = ("id", "pre", "post", "place", "voxels", "lo", "hi")
        two = np.flatnonzero(rows["flags"] & (NO_PRE | NO_POST) == 0)
        there = centred(self.frame, rows["place"][two])
        for block in np.unique(there, axis=0):
            some = two[(there == block).all(axis=1)]
            columns = {name: rows[name][some] for name in names}
            columns["pre"], columns["post"] = _partners(rows, some)
            self.put(f"places/{_name(vec(block))}", at, columns)

    def table(self, at: Vec3) -> Table:
        """The rows of a block that lie near another of the same partners, and to which."""
        own, others = self._left(at), self._near(at)
        pairs = close(own, others, self.choice.distance)
        names = np.sort(np.stack([own["id"][pairs[:, 0]], others["id"][pairs[:, 1]]], axis=1), axis=1)
        some = np.unique(pairs[:, 0])
        return Table(own["id"][some], _payload(own, some), own["id"][pairs[:, 0]], names)

    def tables_bytes(self, cells: Sequence[Vec3]) -> int:
        """The most bytes that the tables of some blocks, and what comes of them, take."""
        near = {one for at in cells for one in self._around(at)}
        return _GROWTH * sum(self.size(folder, one) for at in near for folder, one in self._files(at))

    def merged(self, rows: dict[str, Array]) -> dict[str, Array]:
        """Rows of a block, each told which one stands for it; one that does has voxels and box of all."""
        blocks = centred(self.frame, rows["place"])
        made = {name: column.copy() for name, column in rows.items()}
        parents = blocks // _FAN
        for parent in np.unique(parents, axis=0):
            some = np.flatnonzero((parents == parent).all(axis=1))
            answer = self.tree.answer(self.io, vec(parent))
            at = find(answer.keys, rows["id"][some])
            _settle(made, some[at >= 0], answer.payload[at[at >= 0]])
        return made

    def merged_bytes(self, at: Vec3) -> int:
        """The most bytes that :meth:`merged` holds beside the rows."""
        if not self.looked_for:
            return 0
        blocks = centred(self.frame, self.read("rows", at, ["place"])["place"])
        parents = [vec(parent) for parent in np.unique(blocks // _FAN, axis=0)]
        return sum(self.tree.answer_bytes(self.io, parent) for parent in parents)

    @cached_property
    def _kept(self) -> dict[Vec3, dict[str, Array]]:
        """What :meth:`_left` found: the leaves of a node have most neighbours in common."""
        return {}

    def _left(self, at: Vec3) -> dict[str, Array]:
        """The rows whose centroids lie in a block, by id."""
        if at not in self._kept:
            parts = [_nothing(), *(self.read(folder, one) for folder, one in self._files(at))]
            found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            order = np.argsort(found["id"])
            self._kept[at] = {name: column[order] for name, column in found.items()}
        return self._kept[at]

    def _near(self, at: Vec3) -> dict[str, Array]:
        """The rows whose centroids lie in a block or its neighbours."""
        parts = [self._left(near) for near in self._around(at)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _files(self, at: Vec3) -> list[tuple[str, Vec3]]:
        folder = f"places/{_name(at)}"
        return [(folder, vec(map(int, name.split("-")))) for name in self.io.list(f"{self.url}/{folder}")]

    def _around(self, at: Vec3) -> list[Vec3]:
        counts = self.frame.grid.counts
        sides = [range(max(0, n - 1), min(count, n + 2)) for n, count in zip(at, counts, strict=True)]
        return [vec(near) for near in product(*sides)]


def check(frame: Frame, distance: float) -> None:
    """SpecError where duplicates may be farther apart than neighbouring blocks."""
    shortest = min(frame.block * side for side in frame.resolution)
    if distance > shortest:
        raise SpecError(
            f"a merge distance of {distance:g} nm, and blocks of {frame.block} voxels are {shortest:g} nm along the "
            "shortest side; give larger --block, or a shorter distance"
        )


def centred(frame: Frame, places: Array) -> Array:
    """The places, int64 [n, 3], of the blocks in which points, whole nm [n, 3], lie."""
    voxels = places.astype(np.int64) * 1000 // np.array(pitch(frame.resolution)) - np.array(frame.bounds.lo)
    inside = np.clip(voxels, 0, np.array(frame.bounds.shape) - 1)
    found: Array = inside // frame.block
    return found


def close(own: Mapping[str, Array], others: Mapping[str, Array], distance: float) -> Array:
    """The pairs, int64 [n, 2], of a row of ``own`` and another of ``others`` of equal partners and near, in order.

    Distances are compared in integers: squared, of whole nm.
    """
    from scipy.spatial import cKDTree

    if not len(own["id"]):
        return np.zeros((0, 2), np.int64)
    reach = ceil_div(*exactly(distance).as_integer_ratio()) + 1
    trees = [cKDTree(rows["place"].astype(np.float64)) for rows in (own, others)]
    found = trees[0].query_ball_tree(trees[1], reach)
    pairs = np.array([(one, two) for one, near in enumerate(found) for two in sorted(near)], np.int64).reshape(-1, 2)
    left, right = ({name: rows[name][pairs[:, side]] for name in rows} for side, rows in enumerate((own, others)))
    apart = ((left["place"].astype(np.int64) - right["place"]) ** 2).sum(axis=1)
    square = exactly(distance) ** 2
    same = (left["pre"] == right["pre"]) & (left["post"] == right["post"]) & (left["id"] != right["id"])
    kept: Array = pairs[same & (apart < ceil_div(square.numerator, square.denominator))]
    return kept


def _settle(made: dict[str, Array], some: Array, payload: Array) -> None:
    """Enter what became of rows that are one with others: by payload as :data:`_REDUCTIONS` says."""
    standing = made["id"][some].astype(np.int64) == payload[:, 2]
    first, rest = some[standing], some[~standing]
    made["voxels"][first] = payload[standing, 0]
    made["lo"][first], made["hi"][first] = payload[standing, 3:6], -payload[standing, 6:9]
    made["merged_into"][rest] = payload[~standing, 2]
    made["flags"][rest] |= DUPLICATE


def _partners(rows: Mapping[str, Array], some: Array) -> tuple[Array, Array]:
    """Both partners of rows, the smaller first where nobody knows which is which."""
    pre, post = rows["pre"][some], rows["post"][some]
    swapped = (rows["flags"][some] & UNORIENTED > 0) & (pre > post)
    return np.where(swapped, post, pre), np.where(swapped, pre, post)


def _payload(rows: Mapping[str, Array], some: Array) -> Array:
    voxels, ids = (rows[name][some].astype(np.int64)[:, None] for name in ("voxels", "id"))
    return np.concatenate([voxels, -voxels, ids, rows["lo"][some], -rows["hi"][some].astype(np.int64)], axis=1)


def _nothing() -> dict[str, Array]:
    one, three = np.zeros(0, np.uint64), np.zeros((0, 3), np.int32)
    return {"id": one, "pre": one, "post": one, "place": three, "voxels": one, "lo": three, "hi": three}


def _name(at: Vec3) -> str:
    return "-".join(map(str, at))
