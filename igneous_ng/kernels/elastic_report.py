"""What is said of displacements that were found: how far links are off, which sections hang together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from igneous_ng.geometry import Box
from igneous_ng.kernels.elastic import Rows, Solved

Array = npt.NDArray[Any]
_NAMED = 10


def figures(solved: Solved, rows: Rows) -> dict[str, Any]:
    """How far links are off, pixels, and which part of them is doubted."""
    links = np.isfinite(rows.scale)
    off = rows.residual(solved.u)[links]
    p50, p95 = np.quantile(off, (0.5, 0.95)).tolist() if len(off) else (0.0, 0.0)
    doubted = float((solved.trust[links] < 1).mean()) if len(off) else 0.0
    return {"p50": round(p50, 3), "p95": round(p95, 3), "doubted": round(doubted, 4), "steps": solved.steps}


def report(solved: Solved, rows: Rows, box: Box) -> dict[str, Any]:
    """Of all sections: :func:`figures`, the worst, those without links, and pieces that no link connects."""
    sections, low = box.shape[2], box.lo[2]
    _, first, sizes = np.unique(components(rows, sections), return_index=True, return_counts=True)
    found = sorted((int(a) + low, int(n)) for a, n in zip(first, sizes, strict=True))
    links = np.isfinite(rows.scale)
    off, at = rows.residual(solved.u)[links], rows.ends[links, 0]
    medians = [(float(np.median(off[at == z])), z + low) for z in np.unique(at).tolist()]
    return {
        **figures(solved, rows),
        "pieces": [{"first": a, "sections": n} for a, n in found if n > 1],
        "unlinked": [a for a, n in found if n == 1],
        "worst": [z for _, z in sorted(medians, key=lambda one: (-one[0], one[1]))[:_NAMED]],
        "nodes": box.voxels,
    }


def components(rows: Rows, sections: int) -> Array:
    """Which sections hang together by links, a number for each; those without links have numbers of their own."""
    upper, lower = rows.ends[np.isfinite(rows.scale) & (rows.ends[:, 1] >= 0)].T
    graph = sparse.coo_matrix((np.ones(len(upper)), (upper, lower)), (sections, sections))
    return np.asarray(csgraph.connected_components(graph.tocsr(), directed=False)[1])


def strain(u: Array, step: int) -> float:
    """The strain of ``[z, x, y, 2]`` that 1 in 20 places exceeds."""
    steps = [np.abs(np.diff(u, axis=axis)).ravel() / step for axis in (1, 2)]
    together = np.concatenate(steps)
    return round(float(np.quantile(together, 0.95)), 4) if len(together) else 0.0


def border(values: Array) -> float:
    """The largest value at the border of ``[z, x, y, 2]``."""
    return float(max(np.take(values, (0, -1), axis=axis).max() for axis in range(3)))
