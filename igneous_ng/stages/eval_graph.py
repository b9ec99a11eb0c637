"""A connectome graph against the truth: which edges between neurons were found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import SpecError
from igneous_ng.evaluations import SIDES, Evaluation
from igneous_ng.graphs import Graph
from igneous_ng.io import IO
from igneous_ng.kernels import contingency
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.synapses import LEFT_OUT, Synapses

Array = npt.NDArray[Any]
_SMALL, _EDGE = 200_000_000, 500
Pairs = set[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class EvalGraph(Stage, name="eval graph"):
    """Measure the edges of a graph against those of a table of true synapses: precision, recall and F1.

    A segment stands for the true object that it overlaps most, as `eval segmentation` counted. An edge is right if
    the objects of its segments have a true synapse, that way round; a true edge is found if one edge is right for it.
    So segments that merge objects lose edges, and pieces of one object may all be right. Writes `edges.json`.
    """

    example = "./graph ./truth/synapses ./scores ./edges"

    makes_data = False

    graph: LayerUrl = arg("Graph to measure, its newest version or the one of --tag.")
    truth: LayerUrl = arg("Table of true synapses.")
    overlaps: LayerUrl = arg("What `eval segmentation` made of the graph's segments; its tables must still be there.")
    layer: LayerUrl = arg("Folder to write edges.json to.")
    tag: str = opt("", "The version of the graph.")
    min_count: int = opt(1, "Edges of the graph with fewer synapses are left out.")

    def check(self) -> None:
        """Edges have a synapse at least."""
        if self.min_count < 1:
            raise SpecError(f"{self.name}.min_count: {self.min_count}; an edge has at least 1 synapse")

    def home(self) -> str:
        """Records lie with the result."""
        return self.layer

    def prepare(self, io: IO) -> None:
        """All that is compared is there."""
        Evaluation(io, self.overlaps).need(f"overlaps-{Evaluation(io, self.overlaps).shuffle.top}", "eval segmentation")
        Synapses(io, self.truth).frame  # noqa: B018 - refuses where there is no table
        self._graph()

    def units(self, io: IO) -> range:
        """One."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """All edges, and a part of the table of overlaps."""
        side = Evaluation(io, self.overlaps).side(SIDES[1])
        counts = self._graph().manifest
        return _SMALL + _EDGE * int(counts["edges"]) + 4 * contingency.ROW * max(map(side.pairs, range(side.parts)))

    def execute(self, unit: int, io: IO) -> None:
        """Compare all edges."""
        true, found = self._true(io), self._found()
        objects = self._objects(io, np.unique(np.array([one for edge in found for one in edge], np.uint64)))
        stands = [(objects.get(a, 0), objects.get(b, 0)) for a, b in sorted(found)]
        right = [edge for edge in stands if edge in true]
        either = {edge for a, b in stands for edge in ((a, b), (b, a)) if edge in true}
        precision, recall = len(right) / max(len(stands), 1), len(set(right)) / max(len(true), 1)
        raw = {
            "true": len(true),
            "edges": len(stands),
            "right": len(right),
            "found": len(set(right)),
            "turned": sum((b, a) in true for a, b in stands if (a, b) not in true),
            "precision": round(precision, 6),
            "recall": round(recall, 6),
            "recall_either_way": round(len(either) / max(len(true), 1), 6),
            "f1": round(2 * precision * recall / (precision + recall), 6) if right else 0.0,
        }
        io.put_json(f"{self.layer}/edges.json", raw)

    def said(self, io: IO) -> str:
        """The figures."""
        raw: Any = io.get_json(f"{self.layer}/edges.json")
        return (
            f"edges: {raw['found']:,} of {raw['true']:,} true ones found, {raw['right']:,} of {raw['edges']:,} right, "
            f"{raw['turned']:,} the wrong way round; precision {raw['precision']:.3f}, recall {raw['recall']:.3f}, "
            f"F1 {raw['f1']:.3f}"
        )

    def _graph(self) -> Graph:
        return Graph(self.graph, self.tag or None)

    def _true(self, io: IO) -> Pairs:
        """The pairs of objects with a true synapse."""
        table, found = Synapses(io, self.truth), Pairs()
        for at in table.blocks():
            rows = table.rows(at, ("pre", "post", "flags"))
            kept = (rows["flags"] & LEFT_OUT) == 0
            found |= set(zip(rows["pre"][kept].tolist(), rows["post"][kept].tolist(), strict=True))
        return found

    def _found(self) -> Pairs:
        """The edges of the graph."""
        found = Pairs()
        for rows in self._graph().edges():
            kept = rows["n"] >= self.min_count
            found |= set(zip(rows["pre"][kept].tolist(), rows["post"][kept].tolist(), strict=True))
        return found

    def _objects(self, io: IO, segments: Array) -> dict[int, int]:
        """The object that each of ``segments`` overlaps most; of equal ones the smallest."""
        found: dict[int, int] = {}

        def look(table: contingency.Table, rows: Array) -> None:
            kept = np.isin(table["one"], segments[rows])
            one, other, count = (table[name][kept] for name in ("one", "other", "count"))
            order = np.lexsort((other, -count, one))
            first = np.flatnonzero(np.concatenate([[True], np.diff(one[order]) > 0])) if len(order) else order
            found.update(zip(one[order][first].tolist(), other[order][first].tolist(), strict=True))

        if len(segments):
            Evaluation(io, self.overlaps).side(SIDES[1]).each(segments, look)
        return found
