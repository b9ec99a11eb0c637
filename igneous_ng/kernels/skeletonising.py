"""Centre lines of labelled voxels: TEASAR in a cell, and joining of cells into one tree an object.

TEASAR: Sato, Bitter, Bender, Kaufman & Nakajima 2000 (Pacific Graphics), through kimimaro. Vertices are
voxels, as integers, so that pieces join exactly where cells share a plane of voxels.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Graph = tuple[Array, Array, Array]
"""Vertices [n, 3], edges [m, 2] and radii [n]."""
Links = dict[int, dict[int, float]]


def trace(labels: Array, resolution: Sequence[float], teasar: Mapping[str, float]) -> dict[int, Graph]:
    """The skeletons of the labels (not 0) of ``labels`` [x, y, z]; vertices are int64 voxels of the array.

    ``resolution`` is in nm, ``teasar`` holds kimimaro's parameters, radii are in nm. Where an object
    meets a face of the array its skeleton ends at a point that depends on that face alone, so two
    arrays that share a plane of voxels get a common vertex there.
    """
    import fastremap
    import kimimaro

    small, names = fastremap.renumber(labels, preserve_zero=True, in_place=False)
    found = {small_id: label for label, small_id in names.items()}
    skeletons = kimimaro.skeletonize(
        small,
        teasar_params=dict(teasar),
        anisotropy=tuple(resolution),
        dust_threshold=0,
        progress=False,
        fix_borders=True,
        parallel=1,
    )
    traced = {}
    for small_id, skeleton in skeletons.items():
        vertices = np.rint(skeleton.vertices.astype(np.float64) / resolution).astype(np.int64)
        traced[int(found[small_id])] = weld([(vertices, skeleton.edges, skeleton.radii)])
    return traced


def weld(pieces: Sequence[Graph]) -> Graph:
    """One graph of many: equal vertices become one, edges are distinct. Piece order does not matter.

    A vertex that several pieces hold keeps its smallest radius: each piece sees only the boundary
    inside its own cell, so each may only overestimate.
    """
    starts = np.cumsum([0] + [len(vertices) for vertices, _, _ in pieces[:-1]])
    edges = [edges.astype(np.int64) + start for (_, edges, _), start in zip(pieces, starts, strict=True)]
    vertices, index = np.unique(np.concatenate([p[0] for p in pieces]), axis=0, return_inverse=True)
    radii = np.full(len(vertices), np.inf, np.float32)
    np.minimum.at(radii, index.ravel(), np.concatenate([p[2] for p in pieces]).astype(np.float32))
    return vertices, _distinct(index.ravel()[np.concatenate(edges)]), radii


def _distinct(edges: Array) -> Array:
    edges = np.sort(edges.reshape(-1, 2), axis=1)
    distinct: Array = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0).astype(np.int64)
    return distinct


def tidy(points: Array, edges: Array, radii: Array, tick: float, min_length: float) -> Graph:
    """One clean forest: loops are cut, touching parts joined, short twigs and short parts removed.

    ``points`` [n, 3] and ``radii`` [n] are in nm. A loop is cut where it is thinnest. Parts are joined
    at their nearest points while these are no further apart than their two radii together. A twig is a
    path shorter than ``tick`` from an end to a branch; the shortest goes first, and a part never loses
    its last path. Parts shorter than ``min_length`` go. The result has no vertex without an edge.
    """
    edges = cut_loops(edges, radii, len(points))
    edges = join_touching(points, edges, radii)
    edges = without_twigs(points, edges, tick)
    edges = without_short_parts(points, edges, min_length)
    used, index = np.unique(edges, return_inverse=True)
    return points[used], index.reshape(-1, 2).astype(np.uint32), radii[used]


def _forest(edges: Array, order: Array, count: int) -> Array:
    """The edges of the spanning forest that takes them in ``order``; unique, so the same everywhere."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import minimum_spanning_tree

    if not len(edges):
        return edges
    rank = np.empty(len(edges), np.float64)
    rank[order] = np.arange(1, len(edges) + 1)
    weights = coo_matrix((rank, (edges[:, 0], edges[:, 1])), shape=(count, count))
    kept = minimum_spanning_tree(weights.tocsr()).data.astype(np.int64)
    forest: Array = edges[np.sort(order[kept - 1])]
    return forest


def _parts(edges: Array, count: int) -> Array:
    """The number of each vertex's connected part, counted in the order of vertices."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(edges), np.int8)
    graph = coo_matrix((ones, (edges[:, 0], edges[:, 1])), shape=(count, count))
    part: Array = connected_components(graph, directed=False)[1]
    return part


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
        near, distance = _nearest_foreign(points, part)
        here = np.flatnonzero(distance <= radii + radii[near])
        if not len(here):
            return edges
        ends = np.column_stack([here, near[here]])
        order = np.lexsort((ends[:, 1], ends[:, 0], distance[here]))
        bridges, first = np.unique(np.sort(part[ends[order]], axis=1), axis=0, return_index=True)
        chosen = _forest(bridges, np.argsort(first), int(part.max()) + 1)
        taken = first[np.isin(_keys(bridges), _keys(chosen))]
        edges = np.concatenate([edges, ends[order[taken]]])


def _keys(pairs: Array) -> Array:
    return pairs[:, 0].astype(np.int64) << 32 | pairs[:, 1].astype(np.int64)


def _nearest_foreign(points: Array, part: Array) -> tuple[Array, Array]:
    """For each point the nearest one of another part, and how far it is.

    Two parts differ in some bit of their numbers, so searching across each bit meets every pair.
    """
    from scipy.spatial import cKDTree

    near = np.zeros(len(points), np.int64)
    distance = np.full(len(points), np.inf)
    for bit in range(int(part.max()).bit_length()):
        for side in (0, 1):
            own = np.flatnonzero(part >> bit & 1 == side)
            other = np.flatnonzero(part >> bit & 1 != side)
            found, index = cKDTree(points[other]).query(points[own])
            better = found < distance[own]
            distance[own[better]] = found[better]
            near[own[better]] = other[index[better]]
    return near, distance


def without_twigs(points: Array, edges: Array, tick: float) -> Array:
    """The forest ``edges`` without twigs shorter than ``tick``, removed from the shortest on."""
    if tick <= 0 or not len(edges):
        return edges
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    links: Links = {}
    for (a, b), length in zip(edges.tolist(), lengths.tolist(), strict=True):
        links.setdefault(a, {})[b] = length
        links.setdefault(b, {})[a] = length
    heap = [_walk(links, [leaf], 0.0) for leaf in sorted(links) if len(links[leaf]) == 1]
    heapq.heapify(heap)
    while heap and heap[0][0] < tick:
        length, path = heapq.heappop(heap)
        degree = len(links[path[-1]])
        if degree == 2:  # the branch went with another twig: this one reaches further now
            heapq.heappush(heap, _walk(links, path, length))
        elif degree > 2:
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
