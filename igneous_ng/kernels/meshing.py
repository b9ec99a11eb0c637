"""Surfaces of labelled voxels: marching cubes on exact coordinates, joining, and simplification.

Marching cubes: Lorensen & Cline 1987 (SIGGRAPH), through zmesh. Coordinates are in *half voxels*: voxel i
fills [2i, 2i + 2] and has its centre at 2i + 1, so every vertex is an integer and pieces join exactly.
Simplification: quadric error metrics, Garland & Heckbert 1997 (SIGGRAPH), in the batched form of zmesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
Mesh = tuple[Array, Array]
"""Vertices [n, 3] and faces [m, 3], corners in the right-hand order seen from outside."""
_PASSES, _START, _GROWTH = 20, 3, 7  # the schedule by which the error allowed to each collapse grows


def march(labels: Array) -> Iterator[tuple[int, Mesh]]:
    """The surface of each label but 0 in ``labels`` [x, y, z], label by label in ascending order, canonical.

    A surface covers the space between the voxels' centres: pad where objects shall be closed. Vertices
    are int64, in half voxels from the array's corner. Labels may be any unsigned integers.
    """
    import fastremap
    import zmesh

    small, names = fastremap.renumber(labels, preserve_zero=True, in_place=False)
    found = {small_id: label for label, small_id in names.items() if label != 0}
    mesher = zmesh.Mesher((1, 1, 1))
    mesher.mesh(small)
    present = set(mesher.ids())
    for small_id, label in sorted(found.items(), key=lambda item: item[1]):
        if small_id in present:
            mesh = mesher.get(small_id, voxel_centered=True)
            mesher.erase(small_id)
            vertices = np.rint(mesh.vertices.astype(np.float64) * 2).astype(np.int64)
            yield int(label), canonical(vertices, mesh.faces)


def weld(pieces: Sequence[Mesh]) -> Mesh:
    """One mesh of many on the same lattice: equal vertices become one. Piece order does not matter."""
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in pieces[:-1]])
    vertices = np.concatenate([vertices for vertices, _ in pieces])
    faces = [faces.astype(np.int64) + start for (_, faces), start in zip(pieces, starts, strict=True)]
    return canonical(vertices, np.concatenate(faces))


def canonical(vertices: Array, faces: Array) -> Mesh:
    """The one form of a set of triangles with integer ``vertices``: equal sets give equal arrays.

    Vertices are distinct and sorted by z, y, x; faces without area are dropped, each starts at its
    lowest corner, and they are sorted. Faces are uint32.
    """
    if not len(faces):
        return np.zeros((0, 3), np.int64), np.zeros((0, 3), np.uint32)
    low = vertices.min(axis=0)
    sx, sy, sz = (int(n) for n in vertices.max(axis=0) - low + 1)
    if sx * sy * sz >= 1 << 63:
        raise DataError(f"an object of {sx} x {sy} x {sz} half voxels is too large to join; use a higher mip")
    x, y, z = (vertices - low).T
    keys, index = np.unique((z * sy + y) * sx + x, return_inverse=True)
    joined = np.column_stack([keys % sx, keys // sx % sy, keys // (sx * sy)]) + low
    return joined, _sorted_faces(index[faces])


def _sorted_faces(faces: Array) -> Array:
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    turn = (faces.argmin(axis=1)[:, np.newaxis] + np.arange(3)) % 3
    faces = np.take_along_axis(faces, turn, axis=1).astype(np.uint32)
    lead = faces[:, 0].astype(np.uint64) << np.uint64(32) | faces[:, 1]  # two sorts instead of three
    return faces[np.lexsort((faces[:, 2], lead))]


def simplify(vertices: Array, faces: Array, max_error: float, reduction: float) -> Mesh:
    """``vertices`` [n, 3] and ``faces`` with about ``reduction`` times fewer triangles, as the error allows.

    Collapses are made while their quadric error, a sum of squared distances to the planes of the
    triangles replaced, stays below ``max_error`` squared; units are those of ``vertices``, and the
    space must be isotropic (nm). The surface stays closed. The same input gives the same output.
    """
    import zmesh

    if max_error <= 0 or len(faces) <= 4:
        return vertices, faces
    origin = vertices.min(axis=0)
    mesh = zmesh.Mesh((vertices - origin).astype(np.float32), faces.astype(np.uint32))
    simple = zmesh.simplify_fqmr(
        mesh,
        max(4, int(len(faces) / reduction)),
        max_iterations=_PASSES,
        alpha=max_error**2 / (_PASSES - 1 + _START) ** _GROWTH,
        K=_START,
        aggressiveness=_GROWTH,
        preserve_border=True,
    )
    kept = without_fins(simple.faces)
    if not len(kept):
        return vertices, faces
    used, index = np.unique(kept, return_inverse=True)
    return simple.vertices[used].astype(np.float64) + origin, index.reshape(-1, 3).astype(np.uint32)


def without_fins(faces: Array) -> Array:
    """``faces`` without pairs of the same corners seen from both sides, which enclose nothing."""
    a, b, c = (faces[:, i].astype(np.int64) for i in range(3))
    side = np.where((a < b) ^ (b < c) ^ (c < a), 1, -1)
    _, group = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)
    kept: Array = faces[np.bincount(group.ravel(), weights=side)[group.ravel()] != 0]
    return kept
