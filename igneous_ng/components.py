"""What the phases of connected components share: the plan, what is kept of each cell, and the numbering.

The key of a component is the place of its first voxel in the volume, x fastest. What a cell holds of a component
goes by the first voxel of that part until the tree tells the first voxel of the whole; so keys need no numbering of
cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import touching
from igneous_ng.desks import agree, agreed
from igneous_ng.errors import DataError
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.kernels.unions import Answer, find
from igneous_ng.touching import FAN, Cells
from igneous_ng.tree import Tree

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Plan(Cells):
    """What all phases follow, as `ccl label` wrote it."""

    source: str
    mip: int
    bounds: Box
    cell: Vec3
    connectivity: int
    limits: tuple[float | None, float | None]
    fill_missing: bool
    mask: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        return {**vars(self), "bounds": str(self.bounds), "cell": list(self.cell), "limits": list(self.limits)}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Plan:
        """The plan that :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            low, high = raw["limits"]
            parts = {**raw, "bounds": Box.parse(raw["bounds"]), "cell": vec(raw["cell"]), "limits": (low, high)}
            return cls(**parts)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: not a plan of ccl ({error}); remove this folder and label again") from error

    @property
    def grid(self) -> Grid:
        """All cells."""
        return Grid(self.bounds, self.cell)


@dataclass(frozen=True)
class Desk(touching.Desk):
    """The folder ``LAYER/ccl``, where the phases leave what the next ones need."""

    again = "run the phases of ccl again, from `ccl label` on"

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"{self.layer}/ccl"

    def begin(self, plan: Plan) -> None:
        """Write the plan, or accept the same; SpecError says in what another one differs."""
        agree(self.io, f"{self.url}/plan.json", plan.to_json(), "cells were labelled", f"remove {self.url}")

    @cached_property
    def plan(self) -> Plan:
        """The plan; DataError if there is none."""
        missing = f"{self.url}: nothing is labelled here; run `ccl label` with this layer first"
        return agreed(self.io, f"{self.url}/plan.json", Plan.parse, missing)

    @property
    def tree(self) -> Tree:
        """The tree over the cells; its payload are voxels."""
        return Tree(self.plan.shape, FAN, f"{self.url}/tree", ("sum",))

    def payload(self, parts: Mapping[str, Array]) -> Array:
        """The voxels."""
        sizes: Array = parts["size"][:, None]
        return sizes


_WORD = 8  # bytes


@dataclass(frozen=True)
class Ranks:
    """The rank of every component that has more than ``dust`` voxels, among all of these by their keys.

    A *line* is a row of cells along x, a *slab* a layer of cells across z. Keys are ordered by plane, then by line,
    so a component's rank is the number of those in planes before, plus those of its plane in lines before, plus its
    place in the plane of its line. A line's file has the offset where each of its planes begins, and the keys; a
    slab's has, for each of its lines and planes, how many come before in the slab; one more file has where each slab
    begins.
    """

    desk: Desk
    dust: int

    @property
    def url(self) -> str:
        """Where the files are."""
        return f"{self.desk.url}/ranks-{self.dust}"

    def planes(self, z: int) -> int:
        """How many planes the slab ``z`` has."""
        return self.desk.plan.box((0, 0, z)).shape[2]

    def rank_line(self, y: int, z: int) -> None:
        """Write the file of a line."""
        desk, answers = self.desk, dict[Vec3, Answer]()
        found = []
        for x in range(desk.plan.shape[0]):
            parent = desk.tree.parent((x, y, z))
            if parent not in answers:
                answers = {parent: desk.tree.answer(desk.io, parent)}
            own, whole, sizes = desk.wholes((x, y, z), answers[parent])
            found.append(own[(own == whole) & (sizes[:, 0] > self.dust)])
        keys = np.sort(np.concatenate(found))
        box = desk.plan.box((0, y, z))
        starts = (np.arange(box.lo[2], box.hi[2] + 1) - desk.plan.bounds.lo[2]).astype(np.uint64)
        offsets = np.searchsorted(keys, starts * np.uint64(self._plane))
        desk.io.put(self._line(y, z), _words(offsets) + _words(keys))
        desk.io.note(components=len(keys))

    def rank_slab(self, z: int) -> None:
        """Write the file of a slab."""
        span = (0, _WORD * (self.planes(z) + 1))
        lines = [self.desk.get(self._line(y, z), span) for y in range(self.desk.plan.shape[1])]
        counts = np.diff(np.stack([np.frombuffer(line, "<u8") for line in lines]).astype(np.int64), axis=1)
        planes = counts.sum(axis=0)
        before = np.cumsum(planes) - planes + np.cumsum(counts, axis=0) - counts
        self.desk.io.put(f"{self.url}/slabs/{z}", _words(before))
        self.desk.io.put_json(f"{self.url}/totals/{z}", int(planes.sum()))

    def close(self) -> None:
        """Write where each slab begins."""
        totals = [self.desk.io.get_json(f"{self.url}/totals/{z}") for z in range(self.desk.plan.shape[2])]
        self.desk.io.put_json(f"{self.url}/starts.json", np.cumsum([0, *totals]).tolist())

    @property
    def starts(self) -> list[int]:
        """The rank at which each slab begins, and last the number of all components; DataError before it is known."""
        found = self.desk.io.get_json(f"{self.url}/starts.json")
        if found is None:
            raise DataError(
                f"{self.url}: ranks are not finished; run `ccl rank` with --dust {self.dust}, levels 1 and 2"
            )
        return list(found)

    def of(self, keys: Array) -> Array:
        """The ranks, from 0, of ``keys`` (ascending, without repeats)."""
        ranks, starts = np.zeros(len(keys), np.int64), self.starts
        for y, z, where in self._by_line(keys):
            ranks[where] = starts[z] + self._in_slab(y, z, keys[where])
        return ranks

    def _by_line(self, keys: Array) -> Iterator[tuple[int, int, Array]]:
        plan = self.desk.plan
        wide, deep, _ = plan.bounds.shape
        y = (keys // np.uint64(wide) % np.uint64(deep)).astype(np.int64) // plan.cell[1]
        z = (keys // np.uint64(self._plane)).astype(np.int64) // plan.cell[2]
        lines = y + plan.shape[1] * z
        for line in np.unique(lines).tolist():
            yield line % plan.shape[1], line // plan.shape[1], np.flatnonzero(lines == line)

    def _in_slab(self, y: int, z: int, keys: Array) -> Array:
        """The ranks of some keys of a line within their slab."""
        planes, url = self.planes(z), self._line(y, z)
        head = _WORD * (planes + 1)
        offsets = np.frombuffer(self.desk.get(url, (0, head)), "<u8").astype(np.int64)
        row = self.desk.get(f"{self.url}/slabs/{z}", (_WORD * planes * y, _WORD * planes * (y + 1)))
        at = (keys // np.uint64(self._plane)).astype(np.int64) - z * self.desk.plan.cell[2]
        first, last = int(offsets[at[0]]), int(offsets[at[-1] + 1])
        there = np.frombuffer(self.desk.get(url, (head + _WORD * first, head + _WORD * last)), "<u8")
        found = find(there, keys)
        if (found < 0).any():
            raise DataError(f"{url} lacks the component {keys[found < 0][0]}; run `ccl rank` again, level 1 first")
        ranks: Array = found + first - offsets[at] + np.frombuffer(row, "<u8").astype(np.int64)[at]
        return ranks

    @property
    def _plane(self) -> int:
        """Voxels of a plane of the volume."""
        return self.desk.plan.bounds.shape[0] * self.desk.plan.bounds.shape[1]

    def _line(self, y: int, z: int) -> str:
        return f"{self.url}/lines/{y}-{z}"


def _words(numbers: Array) -> bytes:
    return numbers.astype("<u8").tobytes()
