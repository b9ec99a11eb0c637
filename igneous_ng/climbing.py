"""The stages that join objects of neighbouring cells by a tree, whatever the objects are: up its levels, and down.

Stages of one group, such as `ccl`, share a desk; its `join` and its `spread` derive from what is here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.kernels.unions import Table
from igneous_ng.stage import Chain, LayerUrl, Stage, arg, opt
from igneous_ng.tree import Tree

SMALL = 64_000_000  # bytes that a phase without voxels may take for its lists at any rate


class Desk(Protocol):
    """What the tree needs to know of a desk (:class:`igneous_ng.desks.Desk`)."""

    @property
    def tree(self) -> Tree:
        """The tree over the cells."""

    def table(self, at: Vec3) -> Table:
        """The objects of a cell that other cells' touch, and how."""

    def tables_bytes(self, cells: Sequence[Vec3]) -> int:
        """The most bytes that the tables of some cells, and what comes of them, take."""

    def need(self, phase: str, command: str) -> None:
        """DataError unless a phase is finished."""

    def done(self, phase: str) -> None:
        """Enter that a phase is finished."""


@dataclass(frozen=True, kw_only=True)
class Climbing(Stage):
    """What the phases of a tree have in common."""

    layer: LayerUrl = arg("Layer to create, as the first phase was given.")
    level: int = opt(1, "Level of the tree; 1 joins cells.")

    @abstractmethod
    def desk(self, io: IO) -> Desk:
        """Where the phases leave what they know."""

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def units(self, io: IO) -> Sequence[int]:
        """The nodes of the level."""
        tree = self.desk(io).tree
        tree.check(self.level, self.highest(tree))
        return range(tree.nodes(self.level).voxels)

    @abstractmethod
    def highest(self, tree: Tree) -> int:
        """The level where the phase ends, or begins."""

    def command(self, phase: str) -> str:
        """The name of another stage of the group."""
        return f"{self.name.rpartition(' ')[0]} {phase}"


@dataclass(frozen=True, kw_only=True)
class Rising(Climbing):
    """A phase that goes up the tree, one level after the other, from 1 to the top."""

    verb: ClassVar[str]
    """What the phase is called on the command line and on the desk."""
    first: ClassVar[str]
    """The phase before the tree."""

    def highest(self, tree: Tree) -> int:
        """The top."""
        return tree.top

    def prepare(self, io: IO) -> None:
        """Refuse to begin before the level below is finished."""
        desk = self.desk(io)
        desk.tree.check(self.level, desk.tree.top)
        if self.level == 1:
            desk.need(self.first, f"{self.command(self.first)} ... {self.layer}")
        else:
            desk.need(
                f"{self.verb}-{self.level - 1}", f"{self.command(self.verb)} {self.layer} --level {self.level - 1}"
            )

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        self.desk(io).done(f"{self.verb}-{self.level}")


@dataclass(frozen=True, kw_only=True)
class Joining(Rising):
    """Join the objects of neighbouring cells, one level after the other, upwards from 1."""

    verb = "join"

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The tables of the children."""
        desk = self.desk(io)
        at = desk.tree.at(self.level, unit)
        if self.level > 1:
            return SMALL + desk.tree.join_bytes(io, self.level, at)
        return SMALL + desk.tables_bytes(desk.tree.children(1, at))

    def execute(self, unit: int, io: IO) -> None:
        """Join the children of one node."""
        desk = self.desk(io)
        at = desk.tree.at(self.level, unit)
        leaves = [desk.table(child) for child in desk.tree.children(1, at)] if self.level == 1 else []
        desk.tree.join(io, self.level, at, leaves)


@dataclass(frozen=True, kw_only=True)
class Spreading(Climbing):
    """Tell the nodes of the tree what became of their objects, one level after the other, downwards to 1."""

    def highest(self, tree: Tree) -> int:
        """Below the top."""
        return tree.top - 1

    def prepare(self, io: IO) -> None:
        """Refuse to begin before the level above knows."""
        desk = self.desk(io)
        desk.tree.check(self.level, desk.tree.top - 1)
        above = self.level + 1
        phase = "join" if above == desk.tree.top else "spread"
        desk.need(f"{phase}-{above}", f"{self.command(phase)} {self.layer} --level {above}")

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The tables of the node and of its parent."""
        tree = self.desk(io).tree
        return SMALL + tree.spread_bytes(io, self.level, tree.at(self.level, unit))

    def execute(self, unit: int, io: IO) -> None:
        """Settle one node."""
        tree = self.desk(io).tree
        tree.spread(io, self.level, tree.at(self.level, unit))

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        self.desk(io).done(f"spread-{self.level}")


def settled(desk: Desk, group: str, layer: str) -> None:
    """DataError unless the tree knows what became of all objects."""
    last = "join" if desk.tree.top == 1 else "spread"
    desk.need(f"{last}-1", f"{group} {last} {layer} --level 1")


def over(chain: Chain, tree: Tree, join: type[Joining], spread: type[Spreading], **more: Any) -> Iterator[Stage]:
    """The steps of a chain from the leaves of a tree to its top, and down again, with the fields ``more``."""
    for level in range(1, tree.top + 1):
        yield chain.step(join, level=level, **more)
    for level in range(tree.top - 1, 0, -1):
        yield chain.step(spread, level=level, **more)
