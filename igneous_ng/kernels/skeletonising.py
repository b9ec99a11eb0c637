"""Centre lines that were drawn in cells, joined into one clean tree an object.

Vertices are voxels, as integers, so that pieces join exactly where cells share a plane of voxels.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Graph = tuple[Array, Array, Mapping[str, Array]]
"""Vertices [n, 3], edges [m, 2], and attributes of vertices by name, [n]."""
Links = dict[int, dict[int, float]]


def weld(pieces: Sequence[Graph]) -> Graph:
    """One graph of many: equal vertices become one, edges are distinct. Piece order does not matter.

    Of several vertices that become one the lowest radius stays, for each piece sees only the boundary inside its own
    cell and may only overestimate; the highest type; and of areas the largest that was seen whole, or else the
    largest of those that were not. What a piece has no values for is 0.
    """
    starts = np.cumsum([0] + [len(vertices) for vertices, _, _ in pieces[:-1]])
    edges = np.concatenate([e.astype(np.int64) + start for (_, e, _), start in zip(pieces, starts, strict=True)])
    every = np.concatenate([vertices for vertices, _, _ in pieces])
    order = np.lexsort(every.T[::-1])
    ranked = every[order]
    new = np.append(True, (ranked[1:] != ranked[:-1]).any(axis=1))
    place = np.empty(len(every), np.int64)
    place[order] = np.cumsum(new) - 1
    first = np.flatnonzero(new)
    names = sorted({name for _, _, a in pieces for name in a})
    values = {name: np.concatenate([a.get(name, np.zeros(len(v))) for v, _, a in pieces])[order] for name in names}
    welded = {name: _one_of(name, several, first) for name, several in values.items()}
    return ranked[first], _distinct(place[edges]), welded


def _one_of(name: str, values: Array, first: Array) -> Array:
    """One value for each run of ``values`` that begins at ``first``."""
    if name == "radius":
        least: Array = np.minimum.reduceat(values, first)
        return least
    most: Array = np.maximum.reduceat(values, first)
    if name == "cross_sectional_area":
        most = np.where(most > 0, most, np.minimum.reduceat(values, first))  # 0: not measured
    return most


def _distinct(edges: Array) -> Array:
    edges = np.sort(edges.reshape(-1, 2), axis=1)
    distinct: Array = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0).astype(np.int64)
    return distinct


@dataclass(frozen=True)
class Cleaning:
    """Twigs below ``tick`` nm go, and parts below ``min_length``; a line covers scale radii + const nm around it."""

    tick: float = 0.0
    min_length: float = 0.0
    scale: float = 0.0
    const: float = 0.0


def tidy(points: Array, edges: Array, radii: Array, seams: Array, rules: Cleaning) -> tuple[Array, Array]:
    """One clean forest: loops are cut, touching parts joined, short twigs and short parts removed.

    Returns the indices of the points that are left and the edges [m, 2] between these.

    ``points`` [n, 3] and ``radii`` [n] are in nm; ``seams`` [n] says which points lie where cells meet. A loop is cut
    where it is thinnest. Parts are joined at their nearest points while these are no further apart than their two radii
    together. Twigs that end at a seam and are covered by other lines go, then twigs shorter than ``tick``. A twig is a
    path from an end to a branch; the shortest goes first, and a part never loses its last path. Parts shorter than
    ``min_length`` go. No point without an edge is left.
    """
    edges = cut_loops(edges, radii, len(points))
    edges = join_touching(points, edges, radii)
    edges = without_seams(points, edges, rules.scale * radii + rules.const, seams)
    edges = without_twigs(points, edges, rules.tick)
    edges = without_short_parts(points, edges, rules.min_length)
    used, index = np.unique(edges, return_inverse=True)
    return used, index.reshape(-1, 2).astype(np.uint32)


def _forest(edges: Array, order: Array, count: int) -> Array:
    """The edges of the spanning forest that takes them in ``order``; unique, so the same everywhere."""
    from igneous_ng.native import forest

    kept: Array = edges[forest.spanning(edges, order, count)]
    return kept


def _parts(edges: Array, count: int) -> Array:
    """The number of each vertex's connected part, counted in the order of vertices."""
    from igneous_ng.native import forest

    return forest.parts(edges, count)


def cut_loops(edges: Array, radii: Array, count: int) -> Array:
    """``edges`` without loops: of each loop the thinnest edge is taken out."""
    thickness = np.minimum(radii[edges[:, 0]], radii[edges[:, 1]]) if len(edges) else np.zeros(0)
    return _forest(edges, np.lexsort((edges[:, 1], edges[:, 0], -thickness)), count)


def join_touching(points: Array, edges: Array, radii: Array) -> Array:
    """``edges`` and one more for each two parts whose nearest points are within their radii's sum."""
    while True:
        part = _parts(edges, len(points))
        if not len(points) or not part.any():
            return edges
        near, distance = _nearest_foreign(points, part, 2 * float(radii.max()))
        here = np.flatnonzero(distance <= radii + radii[near])
        if not len(here):
            return edges
        ends = np.column_stack([here, near[here]])
        order = np.lexsort((ends[:, 1], ends[:, 0], distance[here]))
        bridges, first = np.unique(np.sort(part[ends[order]], axis=1), axis=0, return_index=True)
        chosen = _forest(bridges, np.argsort(first), int(part.max()) + 1)
        taken = first[np.isin(_keys(bridges), _keys(chosen))]
        edges = np.concatenate([edges, np.sort(ends[order[taken]], axis=1)])


def _keys(pairs: Array) -> Array:
    return pairs[:, 0].astype(np.int64) << 32 | pairs[:, 1].astype(np.int64)


def _nearest_foreign(points: Array, part: Array, reach: float) -> tuple[Array, Array]:
    """For each point the nearest one of another part, and how far it is; infinite from ``reach`` on.

    Two parts differ in some bit of their numbers, so searching across each bit meets every pair. The largest part is
    not asked: each other one asks for it.
    """
    from scipy.spatial import cKDTree

    near = np.zeros(len(points), np.int64)
    distance = np.full(len(points), np.inf)
    asking = part != np.bincount(part).argmax()
    for bit in range(int(part.max()).bit_length()):
        for side in (0, 1):
            own = np.flatnonzero((part >> bit & 1 == side) & asking)
            other = np.flatnonzero(part >> bit & 1 != side)
            found, index = cKDTree(points[other]).query(points[own], distance_upper_bound=reach * (1 + 1e-9))
            better = found < distance[own]
            distance[own[better]] = found[better]
            near[own[better]] = other[index[better]]
    return near, distance


def without_seams(points: Array, edges: Array, covers: Array, seams: Array) -> Array:
    """The forest ``edges`` without twigs that are there only because cells see one side of an object each.

    Such a twig ends on a seam, where a cell had to draw a line to the border, and all of it lies within ``covers`` [n]
    nm of points of other lines: a cell that had seen both sides would not have drawn it.
    """
    from scipy.spatial import cKDTree

    ends = np.bincount(edges.ravel(), minlength=len(points)) == 1
    if not (ends & seams).any():
        return edges
    tree, widest, gone = cKDTree(points), float(covers.max()), np.zeros(len(points), bool)

    def near(at: int) -> bool:
        others = np.array(tree.query_ball_point(points[at], widest), np.int64)
        others = others[~gone[others]]
        return bool((np.linalg.norm(points[others] - points[at], axis=1) < covers[others]).any())

    def superfluous(_: float, path: list[int]) -> bool:
        if not seams[path[0]]:
            return False
        own = path[:-1]
        gone[own] = True
        gone[own] = found = all(map(near, own))
        return found

    return _pruned(points, edges, superfluous)


def without_twigs(points: Array, edges: Array, tick: float) -> Array:
    """The forest ``edges`` without twigs shorter than ``tick``, removed from the shortest on."""
    if tick <= 0 or not len(edges):
        return edges
    return _pruned(points, edges, lambda length, _: length < tick)


def _pruned(points: Array, edges: Array, superfluous: Callable[[float, list[int]], bool]) -> Array:
    """``edges`` without the twigs, judged by length and path from the shortest on, that are ``superfluous``."""
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    links: Links = {}
    for (a, b), length in zip(edges.tolist(), lengths.tolist(), strict=True):
        links.setdefault(a, {})[b] = length
        links.setdefault(b, {})[a] = length
    heap = [_walk(links, [leaf], 0.0) for leaf in sorted(links) if len(links[leaf]) == 1]
    heapq.heapify(heap)
    while heap:
        length, path = heapq.heappop(heap)
        degree = len(links[path[-1]])
        if degree == 2:  # the branch went with another twig: this one reaches further now
            heapq.heappush(heap, _walk(links, path, length))
        elif degree > 2 and superfluous(length, path):
            for a, b in pairwise(path):
                del links[a][b], links[b][a]
    kept = [(a, b) for a in links for b in links[a] if a < b]
    return np.array(sorted(kept), np.int64).reshape(-1, 2)


def _walk(links: Links, path: list[int], length: float) -> tuple[float, list[int]]:
    """``path`` prolonged to the next branch or end, and its length."""
    before, here = (path[-2] if len(path) > 1 else -1), path[-1]
    path = list(path)
    while True:
        onward = next(n for n in links[here] if n != before)
        length += links[here][onward]
        path.append(onward)
        if len(links[onward]) != 2:
            return length, path
        before, here = here, onward


def without_short_parts(points: Array, edges: Array, min_length: float) -> Array:
    """``edges`` without the parts whose cable is shorter than ``min_length``."""
    if min_length <= 0 or not len(edges):
        return edges
    part = _parts(edges, len(points))[edges[:, 0]]
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    kept: Array = edges[np.bincount(part, weights=lengths)[part] >= min_length]
    return kept


def figures(points: Array, edges: Array) -> tuple[int, float, int, int]:
    """Parts, length of cable, branch points and ends of a graph without bare points."""
    degree = np.bincount(edges.ravel(), minlength=len(points))
    length = float(np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1).sum())
    parts = int(_parts(edges, len(points)).max()) + 1
    return parts, length, int((degree > 2).sum()), int((degree == 1).sum())
