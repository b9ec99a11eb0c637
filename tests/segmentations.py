"""Segmentation of small volumes in plain Python, by its definition: what chunks, trees and kernels are compared with.

Arrays of affinities are uint8 [x, y, z, 3]; the face of voxel p towards the voxel before it along axis a has the number
3 * (x + nx * (y + ny * z)) + a.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from igneous_ng.affinities import Affinities
from igneous_ng.formats.info import IMAGE, new_info
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import supervoxel_ids
from igneous_ng.segmentation import Plan, Supervoxels


def affinities(shape: Vec3, levels: int = 256, seed: int = 0, sigma: float = 1.2) -> np.ndarray:
    """Smooth random affinities of so many levels: with 4, most are equal to their neighbours."""
    rng = np.random.default_rng(seed)
    smooth = np.stack([gaussian_filter(rng.standard_normal(shape), sigma) for _ in range(3)], axis=-1)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    steps = np.minimum(np.floor(smooth * levels), levels - 1) * (255 // (levels - 1))
    found = steps.astype(np.uint8)
    for axis in range(3):
        np.moveaxis(found[..., axis], axis, 0)[0] = 0
    return np.asfortranarray(found)


def layer(folder: Path, voxels: np.ndarray, offset: Vec3 = (0, 0, 0), chunk: Vec3 = (16, 16, 16)) -> str:
    """A layer of ``voxels`` [x, y, z, channel], 8 nm."""
    url, io = f"file://{folder}", IO()
    bounds = Box.sized(offset, vec(voxels.shape[:3]))
    info = new_info(kind=IMAGE, dtype=voxels.dtype.name, channels=voxels.shape[3], bounds=bounds,
                    resolution=(8, 8, 8), chunk=chunk, encoding="raw")  # fmt: skip
    io.create_layer(url, info)
    io.write(io.volume(url, 0), bounds, np.asfortranarray(voxels))
    return url


def canonical(labels: np.ndarray) -> np.ndarray:
    """Labels as the number, from 1, of the first voxel of each, x fastest; 0 stays. Equal for equal partitions."""
    flat = labels.ravel(order="F")
    values, first, which = np.unique(flat, return_index=True, return_inverse=True)
    return np.where(values == 0, 0, first + 1)[which].reshape(labels.shape, order="F")


def watershed(aff: np.ndarray, low: float, high: float) -> np.ndarray:
    """Basins of the whole volume, canonical: see :func:`joins`."""
    shape, sets, pairs = aff.shape[:3], Sets(), joins(aff, low, high)
    for p, q in pairs:
        sets.join(p, q)
    out = np.zeros(int(np.prod(shape)), np.int64)
    for voxel in {voxel for pair in pairs for voxel in pair}:
        out[voxel] = sets.root(voxel) + 1
    return canonical(out.reshape(shape, order="F"))


def joins(aff: np.ndarray, low: float, high: float) -> set[tuple[int, int]]:
    """Pairs of voxels, the later one first, that are of one basin: each voxel joins over its best face above ``low``,
    and over all from ``high`` on. Faces are ordered by falling affinity, then by falling sum of the affinities above
    ``low`` of all faces of both voxels (twice that of the face itself), then by rising number."""
    known = [one for one in faces(aff) if one[2] > 255 * low]
    total = dict[int, int]()
    for p, q, value, _ in known:
        total[p], total[q] = total.get(p, 0) + value, total.get(q, 0) + value
    best: dict[int, tuple[int, int, int, tuple[int, int]]] = {}
    for p, q, value, face in known:
        rank = (-value, -total[p] - total[q], face, (p, q))
        best[p], best[q] = min(best.get(p, rank), rank), min(best.get(q, rank), rank)
    return {(p, q) for p, q, value, _ in faces(aff) if value >= 255 * high} | {rank[3] for rank in best.values()}


def faces(aff: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Of each face the voxel, the one before it, the affinity and the number."""
    nx, ny, nz = aff.shape[:3]
    steps, found = (1, nx, nx * ny), []
    for z, y, x in itertools.product(range(nz), range(ny), range(nx)):
        p = x + nx * (y + ny * z)
        for axis, place in enumerate((x, y, z)):
            if place:
                found.append((p, p - steps[axis], int(aff[x, y, z, axis]), 3 * p + axis))
    return found


@dataclass
class Sets:
    """Union-find; a set is called by its smallest element."""

    parent: dict[int, int] = field(default_factory=dict)

    def root(self, one: int) -> int:
        while self.parent.get(one, one) != one:
            one = self.parent[one]
        return one

    def join(self, one: int, other: int) -> int:
        low, high = sorted((self.root(one), self.root(other)))
        self.parent[high] = low
        return low


@dataclass
class Edge:
    """Two regions that touch: affinities of the faces between them, and the smallest number of these."""

    values: list[int]
    key: int

    def score(self, linkage: str) -> float:
        if linkage == "max":
            return float(max(self.values))
        if linkage.startswith("quantile:"):
            rank = math.ceil(Fraction(linkage.removeprefix("quantile:")) * len(self.values))
            return float(sorted(self.values)[rank - 1] // 8 * 8 + 4)
        return sum(self.values) / len(self.values)


def graph(regions: np.ndarray, aff: np.ndarray) -> dict[tuple[int, int], Edge]:
    """The edges between touching regions; 0 is none."""
    flat, found = regions.ravel(order="F").tolist(), dict[tuple[int, int], Edge]()
    for p, q, value, face in faces(aff):
        one, other = sorted((flat[p], flat[q]))
        if one and one != other:
            edge = found.setdefault((one, other), Edge([], face))
            edge.values.append(value)
            edge.key = min(edge.key, face)
    return found


@dataclass(frozen=True)
class Rules:
    """When regions are joined; the fields of `segment agglomerate`."""

    threshold: float
    linkage: str = "mean"
    guard_size: int = 0
    guard_threshold: float = 0.0
    small_size: int = 0
    small_threshold: float = 0.0

    def lowest(self) -> float:
        return 255 * (min(self.threshold, self.small_threshold) if self.small_size else self.threshold)

    def allow(self, score: float, sizes: list[int]) -> bool:
        if self.guard_size and score < 255 * self.guard_threshold and min(sizes) >= self.guard_size:
            return False
        return score >= 255 * self.threshold or min(sizes) < self.small_size


def agglomerate(regions: np.ndarray, aff: np.ndarray, rules: Rules) -> np.ndarray:
    """Segments, canonical: always the best edge next, by falling score, then by falling key."""
    names, counts = np.unique(regions[regions > 0], return_counts=True)
    sizes, sets = dict(zip(names.tolist(), counts.tolist(), strict=True)), Sets()
    edges = graph(regions, aff)
    while edges:
        pair = min(edges, key=lambda one: (-edges[one].score(rules.linkage), -edges[one].key))
        score = edges[pair].score(rules.linkage)
        if score < rules.lowest():
            break
        del edges[pair]
        if rules.allow(score, [sizes[one] for one in pair]):
            sizes[sets.join(*pair)] = sizes[pair[0]] + sizes[pair[1]]
            edges = folded(edges, sets)
    return canonical(np.vectorize(lambda one: sets.root(one) if one else 0, otypes=[np.int64])(regions))


def folded(edges: dict[tuple[int, int], Edge], sets: Sets) -> dict[tuple[int, int], Edge]:
    """Edges between what regions became."""
    found = dict[tuple[int, int], Edge]()
    for pair, edge in edges.items():
        one, other = sorted(map(sets.root, pair))
        old = found.get((one, other))
        found[one, other] = Edge(old.values + edge.values, min(old.key, edge.key)) if old else edge
    return found


def agglomerated(folder: Path, segments: np.ndarray, leaf: Vec3, offset: Vec3 = (0, 0, 0)) -> tuple[str, np.ndarray]:
    """A layer of supervoxels with `segments/` of the agglomeration ``default``, and the segmentation that it tells.

    ``segments`` [x, y, z] are cut by the leaves, and within them into three, by their first voxels.
    """
    bounds = Box.sized(offset, vec(segments.shape))
    plan = Plan(Affinities("file:///none", 0), bounds, leaf, 0.1, 0.9, {"mask": None})
    io, voxels = IO(), np.zeros(segments.shape, np.uint64, order="F")
    url = f"file://{folder}"
    thirds = segments * 3 + np.arange(segments.shape[0])[:, None, None] // 2 % 3
    for box in plan.grid:
        own = np.where(segments > 0, thirds, 0)[box.slices(offset)]
        values, which = np.unique(canonical(own), return_inverse=True)
        names = np.arange(len(values) + 1, dtype=np.uint64) + np.uint64(supervoxel_ids.first(plan.at(box), plan.bits))
        names[0] = 0
        voxels[box.slices(offset)] = names[which.reshape(own.shape) + (values[0] > 0)]
    named = {int(s): voxels[segments == s].min() for s in np.unique(segments) if s}
    whole = np.vectorize(lambda s: named.get(int(s), 0), otypes=[np.uint64])(segments)
    known = Supervoxels(io, layer(folder, voxels[..., None], offset))
    known.begin(plan)
    sizes = dict(zip(*(one.tolist() for one in np.unique(whole, return_counts=True)), strict=True))
    for box in plan.grid:
        part = box.slices(offset)
        ids, first = np.unique(voxels[part].ravel(), return_index=True)
        ids, own = ids[ids > 0], whole[part].ravel()[first][ids > 0]
        numbers = np.array([sizes[one] for one in own.tolist()], np.int64)
        known.put("agglomerations/default/segments", plan.at(box), {"id": ids, "segment": own, "size": numbers,
                  "parts": np.ones(len(ids), np.int64), "weakest": np.zeros(len(ids))})  # fmt: skip
    known.done("default/segments")
    return url, whole
