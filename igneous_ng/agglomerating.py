"""What a node of an agglomeration reads and writes: `docs/design/025`.

A step climbs the tree over the leaves, from the graph of each up to one node over all, and comes down again with what
each region became. The next step begins with graphs written anew between those; after the last step each leaf has a
table of the segments of its supervoxels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3
from igneous_ng.hierarchy import Hierarchy
from igneous_ng.io import IO
from igneous_ng.kernels import agglomeration
from igneous_ng.kernels.agglomeration import FOUND, Rules, Table
from igneous_ng.segmentation import Agglomeration, Supervoxels

Array = npt.NDArray[Any]
_FULL = 255  # scores are grey values of affinities
_GROWTH = 3  # bytes held per byte of the tables that a node reads
_SMALL = 16_000_000  # bytes that a task may take at any rate
_QUANTILE = re.compile(r"quantile:(0\.[0-9]{1,3}|1|1\.0)")


def quantile(linkage: str) -> int:
    """The thousandths of a linkage such as ``quantile:0.5``, 0 of others; SpecError if there is no such linkage."""
    if linkage in ("mean", "max"):
        return 0
    found = _QUANTILE.fullmatch(linkage)
    thousandths = round(1000 * float(found[1])) if found else 0
    if not thousandths:
        raise SpecError(f"linkage {linkage!r}; give mean, max, or quantile:0.5 (0.001 to 1, of three decimals)")
    return thousandths


@dataclass(frozen=True)
class Step:
    """A step of the agglomeration ``name``, counted from 0."""

    io: IO
    layer: str
    name: str
    number: int

    @cached_property
    def known(self) -> Supervoxels:
        """The supervoxels."""
        return Supervoxels(self.io, self.layer)

    @cached_property
    def made(self) -> Agglomeration:
        """The plan; SpecError if it has no such step."""
        made = self.known.agglomeration(self.name)
        if not 0 <= self.number < len(made.thresholds):
            raise SpecError(
                f"step {self.number}: {self.name} has {len(made.thresholds)}, one a threshold; steps are counted from 0"
            )
        return made

    @cached_property
    def tree(self) -> Hierarchy:
        """The nodes over the leaves."""
        return self.known.hierarchy(self.made)

    @property
    def last(self) -> bool:
        """Whether segments are known after it."""
        return self.number == len(self.made.thresholds) - 1

    @property
    def rules(self) -> Rules:
        """When edges are taken; nothing is refused before the last step."""
        made, threshold = self.made, _FULL * self.made.thresholds[self.number]
        linkage, thousandths = made.linkage.partition(":")[0], quantile(made.linkage)
        if not self.last:
            return Rules(threshold, linkage, thousandths)
        guard, small = _FULL * made.guard_threshold, _FULL * made.small_threshold
        return Rules(threshold, linkage, thousandths, made.guard_size, guard, made.small_size, small)

    def phase(self, what: str, level: int) -> str:
        """What a finished level is called."""
        if self.last and (what, level) == ("spread", 0):
            return f"{self.name}/segments"
        return f"{self.name}/{self.number}/{what}-{level}"

    def merge(self, level: int, at: Vec3) -> None:
        """Agglomerate the parts of a node, and write what its parent, and those below it, will ask for."""
        parts = [self.leaf(at)] if level == 0 else self._parts(level, at)
        totals = [part.pop("totals") for part in parts if "totals" in part]
        edges = sum(len(part["u"]) for part in parts)
        made = agglomeration.agglomerate(parts, level, self.rules)
        closed, largest, refused = np.array([[*made.closed, len(made.refused["u"])], *totals]).T
        total = np.array([closed.sum(), largest.max(), refused.sum()])
        rejected = {f"refused_{name}": column for name, column in made.refused.items()}
        if level < self.tree.top:
            self.known.put(self._folder("open", level), at, {**made.open, "totals": total})
        else:
            self._complete(made.found)
        self.known.put(self._folder("found", level), at, {**made.found, **rejected, "totals": total})
        self._note(made, edges)

    def spread(self, level: int, at: Vec3) -> None:
        """Tell a node below the top what became of its regions; of a leaf, write what comes of it."""
        above = self.known.read(self._above(level), self.tree.parent(at), FOUND)
        answer = agglomeration.settle(self.known.read(self._folder("found", level), at, FOUND), above)
        if level > 0:
            self.known.put(self._folder("answer", level), at, answer)
            return
        ids, roots = self._regions(at)
        whole = agglomeration.look(answer, roots, ("root", "size", "parts", "weakest"))
        if self.last:
            self.known.put(f"{self._url}/segments", at, {"id": ids, "segment": whole.pop("root"), **whole})
        else:
            following = f"{self._url}/{self.number + 1}"
            self.known.put(f"{following}/graph", at, agglomeration.renewed(self._graph(at), answer))
            self.known.put(f"{following}/map", at, {"id": ids, "root": whole["root"]})

    def merge_bytes(self, level: int, at: Vec3) -> int:
        """The most bytes that :meth:`merge` holds."""
        if level == 0:
            return self._bytes([(self._graphs, at)])
        return self._bytes([(self._folder("open", level - 1), child) for child in self.tree.children(level, at)])

    def spread_bytes(self, level: int, at: Vec3) -> int:
        """The most bytes that :meth:`spread` holds."""
        read = [(self._folder("found", level), at), (self._above(level), self.tree.parent(at))]
        return self._bytes([*read, (self._graphs, at)] if level == 0 else read)

    def totals(self) -> tuple[int, int, int]:
        """How many regions there are after this step, voxels of the largest, and how many edges were refused."""
        top = self.known.read(self._folder("found", self.tree.top), (0, 0, 0), ("totals",))
        count, largest, refused = top["totals"].tolist()
        return count, largest, refused

    def leaf(self, at: Vec3) -> Table:
        """The graph of a leaf at the beginning of this step."""
        graph = self._graph(at)
        if self.number == 0:
            pieces = self.known.read("pieces", at, ("id", "faces"))
            if not np.array_equal(pieces["id"], graph["id"]):
                raise DataError(f"{self.known.url}: pieces and graph of leaf {at} differ; run `segment graph` again")
            levels = np.array(self.tree.meeting(at), np.int64)
            touched = np.unpackbits(pieces["faces"][:, np.newaxis], axis=1, count=6, bitorder="little")
            graph["reach"] = (touched * levels).max(axis=1, initial=0)
        return graph

    def _complete(self, found: Table) -> None:
        """DataError if an edge ends at what nobody knows."""
        if len(lost := found["id"][found["parts"] == 0]):
            raise DataError(
                f"{self.known.url}: an edge ends at {lost[0]}, a supervoxel that no leaf has; run `segment graph` again"
            )

    def _parts(self, level: int, at: Vec3) -> list[Table]:
        return [
            dict(self.known.read(self._folder("open", level - 1), child)) for child in self.tree.children(level, at)
        ]

    def _graph(self, at: Vec3) -> Table:
        return dict(self.known.read(self._graphs, at))

    def _regions(self, at: Vec3) -> tuple[Array, Array]:
        """The supervoxels of a leaf, and of what region each was part when this step began."""
        if self.number == 0:
            ids = self.known.read("graph", at, ("id",))["id"]
            return ids, ids
        table = self.known.read(f"{self._url}/{self.number}/map", at)
        return table["id"], table["root"]

    def _note(self, made: agglomeration.Outcome, edges: int) -> None:
        """Enter what became of a node's regions and edges."""
        regions, weakest = made.found, made.found["weakest"].min(initial=agglomeration.SURE)
        apart = len(np.unique(regions["root"]))
        counts = {"regions": len(regions["id"]), "edges": edges, "merged": len(regions["id"]) - apart}
        up = {"frozen": len(made.open["id"]), "closed": made.closed[0], "edges_up": len(made.open["u"])}
        self.io.note(**counts, refused=len(made.refused["u"]), **up, weakest=float(weakest))

    def _bytes(self, tables: list[tuple[str, Vec3]]) -> int:
        return _SMALL + _GROWTH * sum(self.known.size(what, at) for what, at in tables)

    @property
    def _url(self) -> str:
        return f"agglomerations/{self.name}"

    @property
    def _graphs(self) -> str:
        return "graph" if self.number == 0 else f"{self._url}/{self.number}/graph"

    def _above(self, level: int) -> str:
        """Where it is written what became of the regions of the level above."""
        return self._folder("found" if level + 1 == self.tree.top else "answer", level + 1)

    def _folder(self, what: str, level: int) -> str:
        return f"{self._url}/{self.number}/{what}-{level}"
