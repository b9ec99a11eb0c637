"""What the phases of `segment flood` share: the plan, what is kept of each subvolume, and what joins its objects.

A *cell* is what a task writes in the end; its *subvolume* is the cell and the overlap around it, in which it floods. An
object of a subvolume that has voxels in the cell has a key: the place in the volume of the first of these, x fastest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import desks
from igneous_ng.desks import Gridded, agree, agreed
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.kernels import components, flooding
from igneous_ng.kernels.components import Runs
from igneous_ng.kernels.unions import Answer, Table, find
from igneous_ng.tree import Tree

Array = npt.NDArray[Any]
_FAN = 4  # cells that a node of the tree joins along each axis
_COMPARED = 64  # bytes held per voxel that two subvolumes share, while they are compared


@dataclass(frozen=True)
class Plan(Gridded):
    """What all phases follow: where objects are looked for, and ``asked``, on which they depend besides."""

    bounds: Box
    cell: Vec3
    overlap: Vec3
    min_size: int
    asked: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        return {**vars(self), "bounds": str(self.bounds), "cell": list(self.cell), "overlap": list(self.overlap)}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Plan:
        """The plan that :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            return cls(Box.parse(raw["bounds"]), vec(raw["cell"]), vec(raw["overlap"]), raw["min_size"], raw["asked"])
        except (KeyError, TypeError, ValueError, SpecError) as error:
            raise DataError(f"{where}: not a plan of a flood ({error}); remove its folder and begin anew") from error

    @property
    def grid(self) -> Grid:
        """All cells."""
        return Grid(self.bounds, self.cell)

    def around(self, cell: Box) -> Box:
        """The subvolume of a cell."""
        return cell.grow(self.overlap, self.overlap) & self.bounds

    def cut(self, cell: Box) -> tuple[bool, ...]:
        """Which faces of a cell's subvolume (x-, x+, y-, y+, z-, z+) are no ends of the volume."""
        box, bounds = self.around(cell), self.bounds
        return tuple(one for a in range(3) for one in (box.lo[a] > bounds.lo[a], box.hi[a] < bounds.hi[a]))

    def beside(self, at: Vec3) -> Iterator[Vec3]:
        """The positions of the cells that touch one, by corners, too."""
        for step in components.directions(26):
            there = vec(a + d for a, d in zip(at, step, strict=True))
            if all(0 <= n < count for n, count in zip(there, self.shape, strict=True)):
                yield there


@dataclass(frozen=True)
class Desk(desks.Desk):
    """The folder ``LAYER/flood``, where the phases leave what the next ones need."""

    again = "run the phases again, from `segment flood fill` on"

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"{self.layer}/flood"

    def begin(self, plan: Plan) -> None:
        """Write the plan, or accept the same; SpecError says in what another one differs."""
        agree(self.io, f"{self.url}/plan.json", plan.to_json(), "it was begun", f"remove {self.url}")

    @cached_property
    def plan(self) -> Plan:
        """The plan; DataError if there is none."""
        missing = f"{self.url}: nothing is flooded here; run `segment flood fill` with this layer first"
        return agreed(self.io, f"{self.url}/plan.json", Plan.parse, missing)

    @property
    def tree(self) -> Tree:
        """The tree over the cells; its payload are voxels."""
        return Tree(self.plan.shape, _FAN, f"{self.url}/tree", ("sum",))

    def keep(self, cell: Box, labels: Array) -> int:
        """Write the labels of a cell's subvolume, and which of them are in the cell; returns how many are."""
        plan = self.plan
        lengths, ids = flooding.runs(labels)
        names, first, sizes = flooding.firsts(labels[cell.slices(plan.around(cell).lo)])
        keys = components.global_index(first, cell, plan.bounds)
        small = ids.astype(np.min_scalar_type(ids.max(initial=0)))
        self.put("runs", plan.at(cell), {"lengths": lengths, "ids": small})
        self.put("objects", plan.at(cell), {"label": names, "key": keys, "size": sizes})
        return len(names)

    def objects(self, at: Vec3) -> dict[str, Array]:
        """The objects of a cell: ``label`` in its subvolume, ascending, ``key``, and ``size`` in the cell."""
        return self.read("objects", at)

    def labels(self, at: Vec3, box: Box) -> Array:
        """The labels of ``box`` that the subvolume of a cell gave, uint32 [x, y, z]."""
        return self._window(self.read("runs", at), at, box)

    def wholes(self, at: Vec3, answer: Answer) -> tuple[dict[str, Array], Array, Array]:
        """The objects of a cell, and of each the key and the voxels of the whole object."""
        own = self.objects(at)
        keys, sizes = own["key"].copy(), own["size"].copy()
        found = find(answer.keys, keys)
        joined = found >= 0
        keys[joined], sizes[joined] = answer.roots[found[joined]], answer.payload[found[joined], 0]
        return own, keys, sizes

    def table(self, at: Vec3) -> Table:
        """The objects of a cell that are those of other cells, and which."""
        plan, own = self.plan, self.objects(at)
        mine, pairs = self.read("runs", at), [np.zeros((0, 2), np.uint64)]
        for there in plan.beside(at):
            common = plan.around(plan.box(at)) & plan.around(plan.box(there))
            theirs = self.objects(there)
            if common.voxels and len(own["label"]) and len(theirs["label"]):
                same = flooding.agreeing(self._window(mine, at, common), self.labels(there, common))
                pairs.append(_keyed(same, own, theirs))
        links = np.concatenate(pairs)
        keys = np.unique(links[:, 0])
        sizes = own["size"][np.argsort(own["key"])][np.searchsorted(np.sort(own["key"]), keys)]
        return Table(keys, sizes[:, None], links[:, 0], np.sort(links, axis=1))

    def table_bytes(self, at: Vec3) -> int:
        """The most bytes that :meth:`table` and what comes of it take."""
        plan = self.plan
        here = plan.around(plan.box(at))
        shared = max([(here & plan.around(plan.box(there))).voxels for there in plan.beside(at)], default=0)
        held = 2 * max([self.size("runs", one) for one in (at, *plan.beside(at))])
        return _COMPARED * shared + held + 27 * 8 * self.size("objects", at)

    def tables_bytes(self, cells: Sequence[Vec3]) -> int:
        """The most bytes that the tables of some cells, and what comes of them, take."""
        return max(map(self.table_bytes, cells)) + 16 * sum(self.size("objects", one) for one in cells)

    def _window(self, runs: dict[str, Array], at: Vec3, box: Box) -> Array:
        around = self.plan.around(self.plan.box(at))
        return Runs(**runs).window(around.shape, box.shift(vec(-o for o in around.lo)))


def _keyed(pairs: Array, own: dict[str, Array], theirs: dict[str, Array]) -> Array:
    """Pairs of labels as pairs of keys, uint64 [n, 2]; without those of which one has no voxel in its cell."""
    found, known = [], np.ones(len(pairs), bool)
    for side, objects in enumerate((own, theirs)):
        at = np.minimum(np.searchsorted(objects["label"], pairs[:, side]), len(objects["label"]) - 1)
        known &= objects["label"][at] == pairs[:, side]
        found.append(objects["key"][at])
    return np.stack(found, axis=1)[known]
