"""Points that lines must reach: given once for a layer, kept by cell, moved onto the objects that are meant."""

from __future__ import annotations

import io as streams
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.forging import Plan
from igneous_ng.formats.points import POINT
from igneous_ng.geometry import Box, Vec3f, ceil_div
from igneous_ng.kernels.skeleton_tracing import Tree

Array = npt.NDArray[Any]
VOXEL = np.dtype([("at", "<i8", 3), ("type", "<u1")])
_REACHES = (0, 2, 8, 32)  # voxels: how far from its object a point may lie


def by_cell(points: Array, plan: Plan) -> dict[Box, Array]:
    """The points (:data:`~igneous_ng.formats.points.POINT`) in each cell of ``plan``; those outside are left out."""
    voxels = np.floor(points["at"] / plan.resolution).astype(np.int64) - plan.bounds.lo
    inside = ((voxels >= 0) & (voxels < plan.bounds.shape)).all(axis=1)
    points, voxels = points[inside], voxels[inside]
    counts = [ceil_div(n, c) for n, c in zip(plan.bounds.shape, plan.cell, strict=True)]
    numbers = np.ravel_multi_index(tuple((voxels // plan.cell).T), counts, order="F")
    return {plan.grid[number]: points[numbers == number] for number in np.unique(numbers).tolist()}


def encode(points: Array) -> bytes:
    """The points of a cell as bytes."""
    stream = streams.BytesIO()
    np.save(stream, points)
    return stream.getvalue()


def decode(data: bytes) -> Array:
    """The points that :func:`encode` wrote."""
    points: Array = np.load(streams.BytesIO(data), allow_pickle=False).astype(POINT)
    return points


def snapped(points: Array, labels: Array, box: Box, resolution: Vec3f) -> tuple[Array, int]:
    """The voxels (:data:`VOXEL`) of ``labels`` [x, y, z], which are those of ``box``, next to ``points``.

    A point that names a label goes to the nearest voxel of it, another one stays where it is. Returned is also how
    many have no object within reach.
    """
    found = []
    for point in points:
        at = np.floor(point["at"] / resolution).astype(np.int64) - box.lo
        voxel = _nearest(labels, at, int(point["label"]), resolution)
        if voxel is not None:
            found.append((tuple(voxel.tolist()), point["type"]))
    return np.array(found, VOXEL), len(points) - len(found)


def _nearest(labels: Array, at: Array, label: int, resolution: Vec3f) -> Array | None:
    if not label:
        return at if labels[tuple(at)] else None
    for reach in _REACHES:
        low = np.maximum(at - reach, 0)
        near = np.argwhere(labels[tuple(map(slice, low, at + reach + 1))] == label) + low
        if len(near):
            nearest: Array = near[np.argmin((((near - at) * resolution) ** 2).sum(axis=1))]
            return nearest
    return None


def typed(tree: Tree, voxels: Array) -> Tree:
    """``tree`` with the types of those of its vertices that are ``voxels``."""
    known = {tuple(voxel["at"].tolist()): int(voxel["type"]) for voxel in voxels if voxel["type"]}
    types = tree.types.copy()
    for row, vertex in enumerate(map(tuple, tree.vertices.tolist() if known else ())):
        types[row] = known.get(vertex, types[row])
    return replace(tree, types=types)
