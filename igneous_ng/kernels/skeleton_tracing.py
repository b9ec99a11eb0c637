"""Centre lines of labelled voxels in one block.

TEASAR: Sato, Bitter, Bender, Kaufman & Nakajima 2000 (Pacific Graphics), as varied by kimimaro (Bae, Silversmith
et al. 2021); its parameters are called as there and mean the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3f
from igneous_ng.kernels import components as parts
from igneous_ng.kernels.skeleton_repairs import Block, fill_holes, join_avocados

Array = npt.NDArray[Any]
Targets = tuple[Array, Array, Array]
"""Voxels [n, 3] that lines must reach: at borders, before all else, and at last."""
RULES = (
    "scale",
    "const",
    "pdrf_scale",
    "pdrf_exponent",
    "soma_detection_threshold",
    "soma_acceptance_threshold",
    "soma_invalidation_scale",
    "soma_invalidation_const",
    "max_paths",
)
"""kimimaro's parameters."""
NOWHERE = np.zeros((0, 3), np.int64)
SOMA = 1  # as SWC has it
_THICK = 1e18  # the third side of a voxel of a plane: no boundary that way


@dataclass(frozen=True)
class Tree:
    """Vertices [n, 3], int64 voxels of the block, edges [m, 2] between them, radii [n] in nm, and types [n] of SWC."""

    vertices: Array
    edges: Array
    radii: Array
    types: Array


@dataclass(frozen=True)
class Method:
    """How objects are traced: kimimaro's parameters, in nm, ``max_paths`` (0: all), and repairs beforehand."""

    rules: Mapping[str, float]
    holes: bool = False
    avocados: bool = False
    threads: int = 1
    most: float = np.inf
    """The distance to the boundary, in nm, from which an object is left alone."""

    @property
    def thick(self) -> float:
        """The radius from which an object may be a soma, and is traced without its holes."""
        return self.rules["soma_detection_threshold"]

    @property
    def soma(self) -> float:
        """The radius from which an object is a soma."""
        return max(self.thick, self.rules["soma_acceptance_threshold"])


def trace(labels: Array, resolution: Vec3f, method: Method, extra: Array = NOWHERE) -> tuple[dict[int, Tree], set[int]]:
    """The skeletons of the labels (not 0) of ``labels`` [x, y, z], unsigned, and the labels that are left alone.

    Where an object meets a face of the array its skeleton ends at a point that depends on that face alone, so two
    arrays that share a plane of voxels get a common vertex there. Lines also reach the voxels ``extra`` [n, 3]. Objects
    of one voxel have no skeleton. The centre of a soma has the type 1, all else 0.
    """
    components = parts.painted(labels, 26)
    names = _names(components, labels)
    block = Block.of(components, resolution)
    if method.holes:
        block = fill_holes(block)
    if method.avocados:
        block = join_avocados(block, method.thick)
    targets = (border_targets(labels, resolution), extra, NOWHERE)
    left = {int(names[i]) for i in np.flatnonzero(block.depth() > method.most)}
    ids = np.flatnonzero(block.voxels > 1)
    ids = ids[(ids > 0) & ~np.isin(names[ids], np.array(sorted(left), names.dtype))]
    trees = _trees(block, ids, targets, method)
    found: dict[int, list[Tree]] = {}
    for number in sorted(trees):
        found.setdefault(int(names[number]), []).append(trees[number])
    return {label: together(several) for label, several in sorted(found.items())}, left


def trace_mask(mask: Array, resolution: Vec3f, method: Method, borders: Array) -> Tree:
    """The skeleton of all that ``mask`` [x, y, z] holds; lines reach the voxels ``borders`` [n, 3]."""
    block = Block.of(parts.painted(mask.view(np.uint8), 26), resolution)
    ids = np.flatnonzero(block.voxels > 1)
    trees = _trees(block, ids[ids > 0], (borders, NOWHERE, NOWHERE), method)
    empty = Tree(NOWHERE, NOWHERE[:, :2], np.zeros(0, np.float32), np.zeros(0, np.uint8))
    return together([empty, *(trees[number] for number in sorted(trees))])


def _names(components: Array, labels: Array) -> Array:
    """The label of each component, 0 first; components are numbered by their first voxels."""
    flat, values = components.ravel(order="K"), labels.ravel(order="F")
    first = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))  # the first of each run is enough
    names = np.zeros(int(flat.max()) + 1, labels.dtype)
    names[flat[first]] = values[first]
    return names


def _trees(block: Block, ids: Array, targets: Targets, method: Method) -> dict[int, Tree]:
    """The tree of each of the components ``ids``, which have two voxels or more."""
    alone = {}
    for number in ids[block.deepest[ids] > method.thick].tolist():
        whole, corner = block.without_holes(number)
        if whole is not None:
            own = [t[block.components[tuple(t.T)] == number] - corner for t in targets]
            (tree,) = traced(whole, np.array([1]), (own[0], own[1], own[2]), method)
            alone[number] = replace(tree, vertices=tree.vertices + corner)
    plain = ids[~np.isin(ids, list(alone))]
    return alone | dict(zip(plain.tolist(), traced(block, plain, targets, method), strict=True))


def traced(block: Block, ids: Array, targets: Targets, method: Method) -> Iterator[Tree]:
    """The trees of components ``ids`` as they are."""
    from igneous_ng.native import teasar

    vertices, edges, starts = teasar.trace(
        block.components,
        block.distances,
        block.resolution,
        method.rules,
        ids.astype(np.uint32),
        targets,
        method.threads,
    )
    radii = block.distances[tuple(vertices.T)]
    types = np.zeros(len(vertices), np.uint8)
    types[starts[:-1, 0][block.deepest[ids] > method.soma]] = SOMA  # lines begin at its centre
    for (v, e), (v_end, e_end) in pairwise(starts.tolist()):
        yield Tree(vertices[v:v_end], edges[e:e_end], radii[v:v_end], types[v:v_end])


def together(trees: Sequence[Tree]) -> Tree:
    """One graph of many, one behind the other."""
    starts = np.cumsum([0] + [len(tree.vertices) for tree in trees[:-1]])
    edges = [tree.edges + start for tree, start in zip(trees, starts, strict=True)]
    vertices, radii, types = (
        np.concatenate([getattr(tree, key) for tree in trees]) for key in ("vertices", "radii", "types")
    )
    return Tree(vertices, np.concatenate(edges), radii, types)


def border_targets(labels: Array, resolution: Vec3f) -> Array:
    """The voxels [n, 3] at which lines cross the six faces of the block, sorted.

    Each part of a label on a face has one: deepest inside that part, of these nearest to its centre, of these the
    first along the axes. They depend on the labels of the face alone, so two blocks that share it agree. Labels
    are below 2^32.
    """
    found = []
    for axis in range(3):
        rest = [a for a in range(3) if a != axis]
        for side in (0, labels.shape[axis] - 1):
            flat = deepest_in_plane(np.moveaxis(labels, axis, 0)[side], [resolution[a] for a in rest])
            points = np.empty((len(flat), 3), np.int64)
            points[:, axis], points[:, rest] = side, flat
            found.append(points)
    return np.unique(np.concatenate(found), axis=0)


def deepest_in_plane(plane: Array, sides: Sequence[float]) -> Array:
    """One point [n, 2] for each connected part (by edges and corners) of each label but 0 in ``plane`` [u, v]."""
    from igneous_ng.native import edt

    pieces = parts.painted(np.asfortranarray(plane[..., np.newaxis]), 26)
    depth = edt.distances(pieces, (sides[0], sides[1], _THICK), True)[..., 0]
    u, v = np.nonzero(pieces[..., 0])
    part, deep = pieces[u, v, 0], depth[u, v]
    voxels = np.maximum(np.bincount(part), 1)
    away = [(x - (np.bincount(part, x) / voxels)[part]) * side for x, side in zip((u, v), sides, strict=True)]
    order = np.lexsort((v, u, away[0] ** 2 + away[1] ** 2, -deep, part))
    first = order[np.unique(part[order], return_index=True)[1]]
    return np.column_stack([u[first], v[first]])
