"""Agglomeration of graphs of regions, of which each node of a tree knows a part. Tables in, tables out.

The best edge is taken again and again until it is below a threshold, as in waterz (Funke et al. 2019). Edges go by
falling score, then by falling key: the key of a union is its smallest, so an edge of a union never comes before the
better of its parts. That makes two regions that are each other's best joinable at any time, and lets a part of a graph
be agglomerated before the rest is seen (Lu, Zlateski & Seung 2021, arXiv 2106.10795): regions known in part are
*frozen*, an edge that comes up with a frozen end is put off, and freezes the other end, too.

A table has one row a region: ``id`` (uint64, ascending), ``size``, ``reach``, ``parts`` (int64), ``weakest`` (float64);
and one an edge: ``u`` < ``v`` (uint64, ascending by both), ``sum``, ``num``, ``key`` (int64), ``must``, ``max``
(uint8), and for quantiles ``bins`` (int32 [n, 32]). Of an end that is no region of the table nothing is known but that
it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.native import agglomeration as native

Array = npt.NDArray[Any]
Table = dict[str, Array]
ABOUT = ("size", "reach", "parts", "weakest")
"""What is known of a region."""
REGIONS = ("id", *ABOUT)
EDGES = ("u", "v", "sum", "num", "key", "must", "max")
REFUSED = EDGES[:5]
"""What is kept of an edge that was refused."""
FOUND = ("id", "root", *ABOUT)
"""What became of regions: the region that each is part of, and what is known of that."""
SURE = 256.0
"""The score of an edge that must be taken."""
LINKAGES = ("mean", "max", "quantile")
_FOLDS = {"sum": np.add, "num": np.add, "key": np.minimum, "must": np.maximum, "max": np.maximum, "bins": np.add}


@dataclass(frozen=True)
class Rules:
    """When an edge is taken. Scores are 0 to 255; ``quantile`` is in thousandths.

    Refused are edges below ``guard_threshold`` between regions of at least ``guard_size`` voxels (0: none are), and
    those below ``threshold`` unless a region has fewer than ``small_size`` voxels; then ``small_threshold`` holds.
    """

    threshold: float
    linkage: str = "mean"
    quantile: int = 0
    guard_size: int = 0
    guard_threshold: float = 0.0
    small_size: int = 0
    small_threshold: float = 0.0

    @property
    def lowest(self) -> float:
        """The score below which nothing is taken."""
        return min(self.threshold, self.small_threshold) if self.small_size else self.threshold

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of edges that are needed."""
        return (*EDGES, "bins") if self.linkage == "quantile" else EDGES


@dataclass(frozen=True)
class Outcome:
    """What a node found.

    ``found``: of each region and each end the columns :data:`FOUND`; ``open``: the table of regions that are still
    frozen; ``refused``: ``u``, ``v``, ``sum``, ``num``, ``key`` of edges that were refused, between what the regions
    were then; ``closed``: how many regions are final, and how many voxels the largest of them has.
    """

    found: Table
    open: Table
    refused: Table
    closed: tuple[int, int]


def agglomerate(tables: Sequence[Table], level: int, rules: Rules) -> Outcome:
    """Join the regions of ``tables``, the parts of one node, of which those are known whole that reach no higher than
    ``level``. The tables are emptied as they are used.

    Regions of several tables are the same in each. DataError for tables without the columns that ``rules`` need.
    """
    if lacking := [name for table in tables for name in (*REGIONS, *rules.columns) if name not in table]:
        raise DataError(
            f"the graph has no column {lacking[0]!r}, which linkage {rules.linkage} needs; "
            "run `segment graph` again, with --histogram for quantiles"
        )
    ids, nodes, known = _regions(tables, level)
    edges = _edges(tables, ids, rules)
    limits = rules.lowest, rules.threshold, rules.guard_size, rules.guard_threshold, rules.small_size
    root, state = native.agglomerate(nodes, edges, LINKAGES.index(rules.linkage), rules.quantile, limits)
    frozen = nodes.pop("frozen").astype(bool)
    roots = root == np.arange(len(ids))
    closed = nodes["size"][roots & ~frozen]
    refused = _named(_picked(edges, state == native.REFUSED), ids)
    kept = _named(_picked(edges, (state == native.KEPT) & frozen[edges["u"]] & frozen[edges["v"]]), ids)
    left = np.flatnonzero(roots & frozen & known)
    whole = {"id": ids, **nodes}
    return Outcome(
        found={"id": ids, "root": ids[root], **{name: nodes[name][root] for name in ABOUT}},
        open={name: whole[name][left] for name in REGIONS} | kept,
        refused={name: refused[name] for name in REFUSED},
        closed=(len(closed), int(closed.max(initial=0))),
    )


def settle(found: Table, above: Table) -> Table:
    """``found`` of a node after its parent's ``above``: what was open is what the parent says."""
    went = np.flatnonzero(_among(found["root"], above["id"]))
    answer = {name: found[name].copy() for name in FOUND}
    for name, told in look(above, found["root"][went]).items():
        answer[name][went] = told
    return answer


def look(answer: Table, ids: Array, names: Sequence[str] = FOUND[1:]) -> Table:
    """The rows of ``answer`` of ``ids``, or of them the columns ``names``; DataError if one is not there."""
    if not _among(ids, answer["id"]).all():
        raise DataError("an answer lacks a region of its part; agglomerate again, from the first step on")
    at = np.searchsorted(answer["id"], ids)
    return {name: answer[name][at] for name in names}


def renewed(graph: Table, answer: Table) -> Table:
    """The ``graph`` of a leaf between what its regions became, all of ``answer``; it is emptied as it is used."""
    roots, first = np.unique(answer["root"], return_index=True)
    ends = [look(answer, graph.pop(end), ("root",))["root"] for end in ("u", "v")]
    u, v = np.minimum(*ends), np.maximum(*ends)
    rows = np.flatnonzero(u != v)
    order = rows[np.lexsort((v[rows], u[rows]))]
    u, v = u[order], v[order]
    starts = np.flatnonzero(np.concatenate([[True], (u[1:] != u[:-1]) | (v[1:] != v[:-1])])[: len(u)])
    nodes = {"id": roots, **{name: answer[name][first] for name in ABOUT}}
    sums = {name: _folded(graph.pop(name), order, starts, fold) for name, fold in _FOLDS.items() if name in graph}
    return {**nodes, "u": u[starts], "v": v[starts], **sums}


def _folded(column: Array, order: Array, starts: Array, fold: np.ufunc) -> Array:
    folded: Array = fold.reduceat(column[order], starts, axis=0, dtype=column.dtype)
    return folded


def _regions(tables: Sequence[Table], level: int) -> tuple[Array, Table, Array]:
    """Ids of all regions and ends; what is known of them, nothing being 0; and which are known."""
    nodes = {name: np.concatenate([table.pop(name) for table in tables]) for name in REGIONS}
    ids, first = np.unique(nodes.pop("id"), return_index=True)
    nodes = {name: column[first] for name, column in nodes.items()}
    ends = [table[end] for table in tables for end in ("u", "v")]
    strangers = np.unique(np.concatenate([np.unique(end[~_among(end, ids)]) for end in ends]))
    everyone = np.concatenate([ids, strangers])
    order = np.argsort(everyone, kind="stable")
    nodes = {name: np.concatenate([column, np.zeros(len(strangers), column.dtype)]) for name, column in nodes.items()}
    known = (np.arange(len(everyone)) < len(ids))[order]
    nodes = {name: column[order] for name, column in nodes.items()}
    nodes["frozen"] = ((nodes["reach"] > level) | ~known).astype(np.uint8)
    return everyone[order], nodes, known


def _among(ends: Array, ids: Array) -> Array:
    at = np.searchsorted(ids, ends)
    return (at < len(ids)) & (ids[np.minimum(at, len(ids) - 1)] == ends) if len(ids) else np.zeros(len(ends), bool)


def _edges(tables: Sequence[Table], ids: Array, rules: Rules) -> Table:
    """All rows, ends as places among ``ids``."""
    edges = {}
    for name in rules.columns:
        parts = [table.pop(name) for table in tables]
        if name in ("u", "v"):
            parts = [np.searchsorted(ids, part).astype(np.uint32) for part in parts]
        edges[name] = np.concatenate(parts)
    return edges


def _picked(edges: Table, wanted: Array) -> Table:
    """The rows ``wanted``, ascending by their ends, then by key."""
    rows = np.flatnonzero(wanted)
    order = rows[np.lexsort((edges["key"][rows], edges["v"][rows], edges["u"][rows]))]
    return {name: column[order] for name, column in edges.items()}


def _named(edges: Table, ids: Array) -> Table:
    """With ids in place of places."""
    return edges | {end: ids[edges[end]] for end in ("u", "v")}
