"""What cells of a grid tell a tree of the parts that objects have in them: which touch those of other cells, and how.

A part is named by its key, unique in the volume; what it adds to the whole object is its payload. Cells leave, in the
folder ``parts`` of a desk, the columns key and value of their parts, in the order of their labels 1, 2, 3 ..., and in
``faces`` the labels of their outermost voxels. Parts of one value that touch are of one object.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import desks
from igneous_ng.desks import Gridded
from igneous_ng.geometry import Vec3, vec
from igneous_ng.kernels import components
from igneous_ng.kernels.unions import Answer, Table, find
from igneous_ng.tree import Tree

Array = npt.NDArray[Any]
FAN = 4
"""Cells that a node of the tree joins along each axis."""


class Cells(Gridded):
    """A plan of work in cells whose parts touch by faces (6), also by edges (18), also by corners (26)."""

    connectivity: int


class Desk(desks.Desk):
    """A folder where cells leave their parts, and the tree over them."""

    @property
    @abstractmethod
    def plan(self) -> Cells:
        """What all phases follow; DataError if there is none."""

    @property
    @abstractmethod
    def tree(self) -> Tree:
        """The tree over the cells."""

    @abstractmethod
    def payload(self, parts: Mapping[str, Array]) -> Array:
        """The payload, int64 [n, columns], of the parts of a cell."""

    def table(self, at: Vec3) -> Table:
        """The parts of a cell that touch another cell's, and how."""
        own = self.read("parts", at)
        pairs, names = [np.zeros((0, 2), np.int64)], [np.zeros((0, 2), np.uint64)]
        for direction in components.directions(self.plan.connectivity) if len(own["key"]) else ():
            there = vec(a + d for a, d in zip(at, direction, strict=True))
            if all(0 <= n < count for n, count in zip(there, self.plan.shape, strict=True)):
                found, other = self._contacts(at, there, direction, own["value"])
                pairs.append(found)
                names.append(np.sort(np.stack([own["key"][found[:, 0] - 1], other], axis=1), axis=1))
        touching = np.concatenate(pairs)[:, 0] - 1
        keys, first = np.unique(own["key"][touching], return_index=True)
        return Table(keys, self.payload(own)[touching[first]], own["key"][touching], np.concatenate(names))

    def table_bytes(self, at: Vec3) -> int:
        """The most bytes that :meth:`table` and what comes of it take."""
        return 8 * self.size("parts", at) + self.size("faces", at)

    def tables_bytes(self, cells: Sequence[Vec3]) -> int:
        """The most bytes that the tables of some cells, and what comes of them, take."""
        return sum(map(self.table_bytes, cells))

    def _contacts(self, at: Vec3, there: Vec3, direction: Vec3, values: Array) -> tuple[Array, Array]:
        """The pairs of parts of one value that touch, and the keys of the neighbour's."""
        planes = []
        for place, way in ((at, direction), (there, vec(-d for d in direction))):
            name = face_name(*components.facing(way))
            planes.append(self.read("faces", place, [name])[name])
        other = self.read("parts", there, ["key", "value"])
        pairs = components.contacts(planes[0], planes[1], direction, self.plan.connectivity)
        pairs = pairs[values[pairs[:, 0] - 1] == other["value"][pairs[:, 1] - 1]]
        return pairs, other["key"][pairs[:, 1] - 1]

    def wholes(self, at: Vec3, answer: Answer) -> tuple[Array, Array, Array]:
        """For each part of a cell its key, and the key and the payload of the whole object."""
        own = self.read("parts", at)
        keys, payload = own["key"].copy(), self.payload(own).copy()
        found = find(answer.keys, own["key"])
        spanning = found >= 0
        keys[spanning] = answer.roots[found[spanning]]
        payload[spanning] = answer.payload[found[spanning]]
        return own["key"], keys, payload


def face_name(axis: int, side: int) -> str:
    """The name of a face's column."""
    return f"{'xyz'[axis]}{'-' if side < 0 else '+'}"
