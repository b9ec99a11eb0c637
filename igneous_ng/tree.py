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

from igneous_ng.errors import DataError
from igneous_ng.formats import columns
from igneous_ng.geometry import Vec3
from igneous_ng.hierarchy import Hierarchy
from igneous_ng.io import IO
from igneous_ng.kernels import unions
from igneous_ng.kernels.unions import Answer, Reduction, Table

_GROWTH = 6  # bytes held per byte of the children's tables: sorted copies and the graph


@dataclass(frozen=True)
class Tree(Hierarchy):
    """The tree over ``leaves`` that is kept in the folder ``url``.

    ``reductions`` say how each column of the payload is put together.
    """

    url: str
    reductions: tuple[Reduction, ...]

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

    def answer_bytes(self, io: IO, at: Vec3) -> int:
        """Bytes of :meth:`answer`."""
        return _size(io, self._name("answer", 1, at))

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
