"""Areas of objects across their centre lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3, Vec3f
from igneous_ng.kernels.skeleton_tracing import Tree

Array = npt.NDArray[Any]


def directions(tree: Tree, resolution: Vec3f, window: int) -> Array:
    """The direction [n, 3] of the line at each vertex, in nm: over ``window`` vertices to each side, where there are.

    Towards the ends of a tree a vertex may have several onward; the line goes on with the one that was drawn first.
    """
    own = np.arange(len(tree.vertices))
    before, behind = own.copy(), own.copy()
    before[tree.edges[:, 1]] = tree.edges[:, 0]
    behind[tree.edges[::-1, 0]] = tree.edges[::-1, 1]  # the first edge of a vertex is written last
    up, down = own, own
    for _ in range(window):
        up, down = before[up], behind[down]
    found: Array = (tree.vertices[down] - tree.vertices[up]) * np.array(resolution)
    return found


def areas(labels: Array, corner: Vec3, tree: Tree, resolution: Vec3f, window: int) -> Array:
    """The area in nm^2, float32 [n], of the cut across the line at each vertex of ``tree``.

    ``labels`` are uint32 [x, y, z] in Fortran order; vertices count from ``corner`` of that block. An area is negative
    where the block ends before the cut does, and only what was seen is counted.
    """
    from igneous_ng.native import sections

    return sections.areas(labels, resolution, tree.vertices + corner, directions(tree, resolution, window))
