"""A tree of union-finds over a grid of leaves: sets that span a volume, found with no global table in one process.

Every node joins ``fan`` x ``fan`` x ``fan`` children (:mod:`igneous_ng.kernels.unions`): the leaves' tables become
nodes of level 1, and so on to the one node of the top. On the way up a node leaves what it found, and for its parent
only the sets that links lead out of: what crosses its outer faces. On the way down each node learns from its parent
what became of those. The order of work is :meth:`Tree.join` for levels 1 to ``top``, one level after the other, then
:meth:`Tree.spread` for levels ``top - 1`` down to 1; the nodes of one level are independent of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns
from igneous_ng.geometry import Box, Vec3, ceil_div, vec
from igneous_ng.io import IO
from igneous_ng.kernels import unions
from igneous_ng.kernels.unions import Answer, Reduction, Table

_GROWTH = 6  # bytes held per byte of the children's tables: sorted copies and the graph


@dataclass(frozen=True)
class Tree:
    """The tree over ``leaves`` (a grid of so many along x, y, z) that is kept in the folder ``url``.

    ``reductions`` say how each column of the payload is put together.
    """

    url: str
    leaves: Vec3
    reductions: tuple[Reduction, ...]
    fan: int = 4

    @property
    def top(self) -> int:
        """The level of the one node over all; at least 1."""
        level = 1
        while max(self.leaves) > self.fan**level:
            level += 1
        return level

    def check(self, level: int, highest: int) -> None:
        """SpecError unless ``level`` is among 1 to ``highest``."""
        if not 1 <= level <= highest:
            levels = f"levels 1 to {highest}" if highest else "no level at all"
            raise SpecError(f"level {level}: over {self.leaves} cells this stage has {levels}; give one of them")

    def nodes(self, level: int) -> Box:
        """The positions of the nodes of a level; level 0 are the leaves."""
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

    def join(self, io: IO, level: int, at: Vec3, leaves: Sequence[Table] = ()) -> None:
        """Join the children of a node, which are ``leaves`` at level 1, and write what is found."""
        tables = leaves if level == 1 else [self._table(io, level - 1, child) for child in self.children(level, at)]
        found, table = unions.join(tables, self.reductions)
        if level < self.top:
            io.put(self._name("found", level, at), _pack(found))
            io.put(self._name("open", level, at), columns.pack(vars(table)))
        elif len(table.owners):
            one, other = table.names[0]
            raise DataError(f"{self.url}: the link {one}-{other} has one end only; run again the stage below level 1")
        else:
            io.put(self._name("answer", level, at), _pack(found))
        io.note(elements=len(found.keys), open=len(table.keys))

    def spread(self, io: IO, level: int, at: Vec3) -> None:
        """Let a node below the top know what became of its elements."""
        found = self._read(io, "found", level, at)
        answer = unions.settle(found, self._read(io, "answer", level + 1, self.parent(at)))
        io.put(self._name("answer", level, at), _pack(answer))

    def answer(self, io: IO, at: Vec3) -> Answer:
        """What became of the elements of all leaves that node ``at`` of level 1 joins."""
        return self._read(io, "answer", 1, at)

    def join_bytes(self, io: IO, level: int, at: Vec3) -> int:
        """The most bytes that :meth:`join` holds above level 1."""
        names = [self._name("open", level - 1, child) for child in self.children(level, at)]
        return _GROWTH * sum(_size(io, name) for name in names)

    def spread_bytes(self, io: IO, level: int, at: Vec3) -> int:
        """The most bytes that :meth:`spread` holds."""
        names = self._name("found", level, at), self._name("answer", level + 1, self.parent(at))
        return _GROWTH * sum(_size(io, name) for name in names)

    def _name(self, what: str, level: int, at: Vec3) -> str:
        return f"{self.url}/{what}-{level}/{'-'.join(map(str, at))}"

    def _table(self, io: IO, level: int, at: Vec3) -> Table:
        name = self._name("open", level, at)
        return Table(**columns.unpack(_get(io, name), name))

    def _read(self, io: IO, what: str, level: int, at: Vec3) -> Answer:
        name = self._name(what, level, at)
        return Answer(**columns.unpack(_get(io, name), name))


def _pack(answer: Answer) -> bytes:
    return columns.pack(vars(answer))


def _size(io: IO, name: str) -> int:
    return columns.size(_get(io, name, columns.HEAD_SPAN), name)


def _get(io: IO, name: str, span: tuple[int, int] | None = None) -> bytes:
    data = io.get(name, span)
    if data is None:
        raise DataError(f"{name}: this node of the tree is missing; run the level below it first")
    return data
