"""What a skeleton measures: length, branches, thickness, extent. One skeleton in, numbers out.

Sums are rounded once, from all terms (``math.fsum``), so that they depend on no order of vertices and edges.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.native import branching

Array = npt.NDArray[Any]
WHOLE = ("vertices", "edges", "parts", "loops", "branch_points", "end_points", "strahler")
"""The measures that are whole numbers."""
LENGTHS = ("cable_length", "longest_path", "tortuosity")
RADII = ("radius_mean", "radius_min", "radius_max")
EXTENT = ("min_x", "min_y", "min_z", "max_x", "max_y", "max_z")
COLUMNS = (*WHOLE, *LENGTHS, *RADII, *EXTENT)
"""All measures, in order; those of lengths, radii and extent are nm, but tortuosity, which is a quotient."""


def measured(points: Array, edges: Array, radii: Array | None) -> dict[str, float]:
    """The measures of a skeleton; those of radii are left out where there are none.

    points: float64 [n, 3] in nm; edges: integers [m, 2]; radii: [n] in nm. An edge from a vertex to itself is none, and
    one that is there twice is one. A branch point has more than two edges, an end point one. Tortuosity is the longest
    path by the straight distance between its ends; it is not a number where there is none.
    """
    ends = np.unique(np.sort(np.asarray(edges, np.int64).reshape(-1, 2), axis=1), axis=0)
    ends = np.ascontiguousarray(ends[ends[:, 0] != ends[:, 1]])
    lengths = distances(points[ends[:, 0]], points[ends[:, 1]])
    shape = branching.measure(len(points), ends, lengths)
    degree = np.bincount(ends.ravel(), minlength=len(points))
    straight = distances(points[[shape["first"]]], points[[shape["last"]]])[0] if len(ends) else 0.0
    found: dict[str, float] = {
        "vertices": len(points),
        "edges": len(ends),
        "parts": shape["parts"],
        "loops": len(ends) - len(points) + shape["parts"],
        "branch_points": int((degree > 2).sum()),
        "end_points": int((degree == 1).sum()),
        "strahler": shape["strahler"],
        "cable_length": math.fsum(lengths.tolist()),
        "longest_path": shape["longest"],
        "tortuosity": shape["longest"] / float(straight) if straight > 0 else math.nan,
    }
    found |= {} if radii is None else thickness(ends, lengths, np.asarray(radii, np.float64))
    extent = [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()] if len(points) else [math.nan] * 6
    return {**found, **dict(zip(EXTENT, extent, strict=True))}


def thickness(ends: Array, lengths: Array, radii: Array) -> dict[str, float]:
    """The mean radius along the cable, or of vertices where there is no cable; the least and the greatest radius."""
    if not len(radii):
        return dict.fromkeys(RADII, math.nan)
    cable = math.fsum(lengths.tolist())
    if cable > 0:
        mean = math.fsum((lengths * (radii[ends[:, 0]] + radii[ends[:, 1]])).tolist()) / (2 * cable)
    else:
        mean = math.fsum(radii.tolist()) / len(radii)
    return {"radius_mean": mean, "radius_min": float(radii.min()), "radius_max": float(radii.max())}


def distances(one: Array, other: Array) -> Array:
    """The distance between each two points [n, 3]."""
    x, y, z = (one - other).T
    found: Array = np.sqrt(x * x + y * y + z * z)
    return found


def table(segments: list[int], rows: list[dict[str, float]], radii: bool) -> dict[str, Array]:
    """The columns of skeletons, one row each: `segment`, and :data:`COLUMNS`, those of radii where there are some."""
    names = [name for name in COLUMNS if radii or name not in RADII]
    kinds = {name: "<u4" if name in WHOLE else "<f8" for name in names}
    found = {name: np.array([row[name] for row in rows], kind) for name, kind in kinds.items()}
    return {"segment": np.array(segments, np.uint64), **found}
