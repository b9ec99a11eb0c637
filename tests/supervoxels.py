"""Supervoxels and graphs of small volumes, by definition, as `segment watershed` and `segment graph` leave them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from igneous_ng.affinities import Affinities
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import supervoxel_ids
from igneous_ng.segmentation import Plan, Supervoxels
from igneous_ng.store import Compression
from tests.segmentations import Sets, faces, joins

OFFSET = (-7, 3, -100)


@dataclass(frozen=True)
class Made:
    """Supervoxels [x, y, z], uint64, of a layer; ``joined`` are pairs of voxels of one basin."""

    io: IO
    layer: str
    plan: Plan
    ids: np.ndarray
    aff: np.ndarray
    joined: set[tuple[int, int]]

    @property
    def known(self) -> Supervoxels:
        return Supervoxels(self.io, self.layer)

    @property
    def leaves(self) -> list[Vec3]:
        return [self.plan.at(box) for box in self.plan.grid]


class Memory(IO):
    """Objects in a dictionary: what hundreds of small cases need."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}

    def get(self, url: str, span: tuple[int, int] | None = None) -> bytes | None:
        return self.objects.get(url)

    def put(self, url: str, data: bytes, compress: Compression = "none") -> None:
        self.objects[url] = data

    def get_json(self, url: str) -> Any | None:
        return json.loads(self.objects[url]) if url in self.objects else None

    def put_json(self, url: str, value: Any) -> None:
        self.objects[url] = json.dumps(value).encode()

    def exists(self, url: str) -> bool:
        return url in self.objects


def make(
    layer: str,
    io: IO,
    aff: np.ndarray,
    leaf: Vec3,
    limits: tuple[float, float] = (0.0, 1.0),
    joined: set[tuple[int, int]] | None = None,
) -> Made:
    """The plan, the pieces and the graphs of a layer, in the bounds that begin at ``OFFSET``.

    ``joined`` are pairs of voxels of one basin; by default those that the affinities join.
    """
    low, high = limits
    plan = Plan(Affinities("file:///nowhere", 0), Box.sized(OFFSET, vec(aff.shape[:3])), leaf, low, high, {})
    joined = joins(aff, low, high) if joined is None else joined
    made = Made(io, layer, plan, numbered(aff, joined, plan), aff, joined)
    made.known.begin(plan)
    write_leaves(made)
    made.known.done("graph")
    return made


def places(plan: Plan) -> np.ndarray:
    """The place of the leaf of each voxel [n, 3], x fastest."""
    where = np.indices(plan.bounds.shape).reshape(3, -1, order="F").T
    return where // plan.leaf


def numbered(aff: np.ndarray, joined: set[tuple[int, int]], plan: Plan) -> np.ndarray:
    """Supervoxels: what is joined within a leaf, counted there by first voxels."""
    leaf, sets = places(plan), Sets()
    foreground = {voxel for pair in joined for voxel in pair}
    for p, q in joined:
        if (leaf[p] == leaf[q]).all():
            sets.join(p, q)
    ids = np.zeros(len(leaf), np.uint64)
    counts: dict[Vec3, int] = {}
    for voxel in sorted(foreground):
        at = vec(leaf[voxel].tolist())
        if sets.root(voxel) == voxel:
            counts[at] = counts.get(at, 0) + 1
            ids[voxel] = supervoxel_ids.first(at, plan.bits) + counts[at]
        else:
            ids[voxel] = ids[sets.root(voxel)]
    return ids.reshape(aff.shape[:3], order="F")


Pairs = dict[tuple[int, int], list[tuple[int, int, bool]]]


def pairs_of(made: Made) -> dict[Vec3, Pairs]:
    """Of each leaf the pairs of supervoxels whose faces are its: of each face affinity, number, and whether both sides
    must be joined."""
    flat, leaf = made.ids.ravel(order="F").tolist(), places(made.plan).tolist()
    found: dict[Vec3, Pairs] = {at: {} for at in made.leaves}
    for p, q, value, face in faces(made.aff):
        if flat[p] and flat[q] and flat[p] != flat[q]:
            pair = min(flat[p], flat[q]), max(flat[p], flat[q])
            found[vec(leaf[p])].setdefault(pair, []).append((value, face, (p, q) in made.joined))
    return found


def write_leaves(made: Made) -> None:
    """The tables of all leaves."""
    names, first = np.unique(made.ids.ravel(order="F"), return_index=True)
    for at, pairs in pairs_of(made).items():
        inside = made.ids[made.plan.box(at).slices(made.plan.bounds.lo)]
        ids, size = np.unique(inside[inside > 0], return_counts=True)
        touched = np.zeros(len(ids), np.uint8)
        for axis in range(3):
            for side, plane in enumerate((0, -1)):
                touched |= np.isin(ids, np.take(inside, plane, axis)).astype(np.uint8) << (2 * axis + side)
        about = {"id": ids, "size": size.astype(np.int64)}
        made.known.put("pieces", at, {**about, "faces": touched, "first": first[np.searchsorted(names, ids)]})
        nothing, one = np.zeros(len(ids), np.int64), np.ones(len(ids), np.int64)
        nodes = {**about, "reach": nothing, "parts": one, "weakest": one * 256.0}
        made.known.put("graph", at, {**nodes, **edges(pairs)})


def edges(pairs: Pairs) -> dict[str, np.ndarray]:
    """The columns of edges."""
    ends = sorted(pairs)
    values = [np.array([value for value, _, _ in pairs[one]]) for one in ends]
    return {
        "u": np.array([u for u, _ in ends], np.uint64),
        "v": np.array([v for _, v in ends], np.uint64),
        "sum": np.array([one.sum() for one in values], np.int64),
        "num": np.array([len(one) for one in values], np.int64),
        "key": np.array([min(face for _, face, _ in pairs[one]) for one in ends], np.int64),
        "must": np.array([any(must for _, _, must in pairs[one]) for one in ends], np.uint8),
        "max": np.array([one.max() for one in values], np.uint8),
        "bins": np.array([np.bincount(one // 8, minlength=32) for one in values], np.int32).reshape(-1, 32),
    }


def segments(made: Made, name: str = "default") -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The segments [x, y, z] of an agglomeration, and the tables of all leaves together."""
    tables = [made.known.read(f"agglomerations/{name}/segments", at) for at in made.leaves]
    whole = {key: np.concatenate([table[key] for table in tables]) for key in tables[0]}
    names = dict(zip([0, *whole["id"].tolist()], [0, *whole["segment"].tolist()], strict=True))
    flat = np.array([names[one] for one in made.ids.ravel(order="F").tolist()], np.uint64)
    return flat.reshape(made.ids.shape, order="F"), whole
