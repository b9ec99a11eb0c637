"""Nodes over a grid of leaves: each joins ``fan`` x ``fan`` x ``fan`` of the level below, up to the one over all."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Vec3, ceil_div, vec


@dataclass(frozen=True)
class Hierarchy:
    """The nodes over ``leaves``, a grid of so many along x, y, z. Leaves are level 0."""

    leaves: Vec3
    fan: int

    @property
    def top(self) -> int:
        """The level of the one node over all; at least 1."""
        level = 1
        while max(self.leaves) > self.fan**level:
            level += 1
        return level

    def check(self, level: int, highest: int, lowest: int = 1) -> None:
        """SpecError unless ``level`` is among ``lowest`` to ``highest``."""
        if not lowest <= level <= highest:
            levels = f"levels {lowest} to {highest}" if highest >= lowest else "no level at all"
            raise SpecError(f"level {level}: over {self.leaves} cells this stage has {levels}; give one of them")

    def nodes(self, level: int) -> Box:
        """The positions of the nodes of a level."""
        return Box((0, 0, 0), vec(ceil_div(n, self.fan**level) for n in self.leaves))

    def at(self, level: int, index: int) -> Vec3:
        """The position of node ``index`` of a level; x runs fastest."""
        nx, ny, _ = self.nodes(level).shape
        return index % nx, index // nx % ny, index // (nx * ny)

    def children(self, level: int, at: Vec3) -> list[Vec3]:
        """The positions one level down of what a node joins."""
        inside = Box.sized(at, (1, 1, 1)) * (self.fan, self.fan, self.fan) & self.nodes(level - 1)
        return [vec(p) for p in product(*(range(a, b) for a, b in zip(inside.lo, inside.hi, strict=True)))]

    def parent(self, at: Vec3) -> Vec3:
        """The position one level up of the node that joins ``at``."""
        return vec(n // self.fan for n in at)

    def meeting(self, at: Vec3) -> tuple[int, ...]:
        """For each face of a leaf (x-, x+, y-, y+, z-, z+) the level of the node inside which it lies.

        That node joins this leaf and the one beyond the face; 0 where none is beyond.
        """
        return tuple(self._meeting(at[axis], at[axis] + side, axis) for axis in range(3) for side in (-1, 1))

    def _meeting(self, one: int, other: int, axis: int) -> int:
        if not 0 <= other < self.leaves[axis]:
            return 0
        level = 0
        while one != other:
            one, other, level = one // self.fan, other // self.fan, level + 1
        return level
