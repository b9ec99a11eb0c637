"""Affine maps of all sections of a stack at once, from the points that pairs of them share.

Sum over links of ``weight |A p + t - A' p' - t'|^2``, and of ``stiffness |A - R|^2`` over sections, R the rotation
nearest to A: at first stiff, so that all is rigid, then so soft that stretches are forgotten only over some hundred
sections. That keeps areas, as a chain of affine maps does not. Weights are those of Geman and McClure (1987), of the
residual of a whole link against that of links between sections as far apart. Rows of A are found apart: one sparse
matrix, factorised once a step, with two right-hand sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import linalg

from igneous_ng.kernels.affine import polar
from igneous_ng.kernels.stack_links import Laid, Links

Array = npt.NDArray[Any]
_STIFF = (1.0, 1.0, 0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4)
"""Stiffness in units of a link's, step by step; 1 over its root: sections over which stretches are forgotten."""
_MOMENT = 0.2  # of coordinates along an axis: of points that are spread evenly, in units of the corners
_WIDE = 3.0  # residuals of links as far apart, beyond which one counts little
_FLOOR = 1e-6
_GAUGE = 1e-9


@dataclass(frozen=True)
class Solved:
    """``matrix`` [n, 2, 2], ``shift`` [n, 2]; of each link its ``residual``, root mean square, and its ``weight``."""

    matrix: Array
    shift: Array
    residual: Array
    weight: Array


def solve(links: Links, laid: Laid, held: Array, least: float) -> Solved:
    """The maps, from a first guess ``laid``; those ``held`` bool [n] stay. ``least``: a residual that is none."""
    x = np.concatenate(
        [laid.matrix.transpose(0, 2, 1), laid.shift[:, None]], axis=1
    )  # [n, 3, 2]: columns are rows of A
    residual = _residuals(links, x)
    weight = np.ones(len(links))
    for stiff in _STIFF:
        weight = _weights(links, residual, least)
        x = _step(links, weight, x, held, stiff)
        residual = _residuals(links, x)
    return Solved(x[:, :2].transpose(0, 2, 1), x[:, 2], residual, weight)


def _residuals(links: Links, x: Array) -> Array:
    """The root mean square of what is left at the points of each link."""
    u, v = x[links.a], x[links.b]
    total = (u * (_times(links.aa, u) - 2 * _times(links.ab, v)) + v * _times(links.bb, v)).sum(axis=(1, 2))
    return np.asarray(np.sqrt(np.maximum(total, 0) / np.maximum(links.aa[:, 2, 2], 1e-12)))


def _times(matrices: Array, columns: Array) -> Array:
    return np.asarray((matrices[:, :, :, None] * columns[:, None]).sum(axis=2))


def _weights(links: Links, residual: Array, least: float) -> Array:
    """Less for what is far off, and for distances at which links are."""
    apart = np.abs(links.a - links.b)
    weight = np.zeros(len(links))
    for k in np.unique(apart):
        own = apart == k
        usual = max(float(np.median(residual[own])), least)
        weight[own] = (least / usual) ** 2 / (1 + (residual[own] / (_WIDE * usual)) ** 2) ** 2
    return np.maximum(weight, _FLOOR) * links.strength


def _step(links: Links, weight: Array, x: Array, held: Array, stiff: float) -> Array:
    """All maps that are free, by least squares."""
    count = len(x)
    turns = np.stack([polar(one)[1] for one in x[:, :2].transpose(0, 2, 1)]) if count else np.zeros((0, 2, 2))
    usual = float(np.median(weight)) if len(weight) else 1.0
    prior = np.array([stiff * _MOMENT * usual] * 2 + [_GAUGE * usual])
    goal = np.concatenate([turns.transpose(0, 2, 1), x[:, 2:]], axis=1)
    matrix = _matrix(links, weight, count) + sparse.diags_array(np.tile(prior, count))
    right = (prior[:, None] * goal).reshape(-1, 2)
    fixed = np.repeat(held, 3)
    free = np.flatnonzero(~fixed)
    if not len(free):
        return x
    matrix = matrix.tocsr()[free]
    known = x.reshape(-1, 2)[fixed]
    right = right[free] - matrix[:, np.flatnonzero(fixed)] @ known
    found = x.reshape(-1, 2).copy()
    found[free] = linalg.splu(matrix[:, free].tocsc()).solve(right)
    return np.asarray(found.reshape(x.shape))


def _matrix(links: Links, weight: Array, count: int) -> Any:
    """The normal equations of the links, sparse [3 n, 3 n]."""
    blocks = [(links.a, links.a, links.aa), (links.b, links.b, links.bb),
              (links.a, links.b, -links.ab), (links.b, links.a, -links.ab.transpose(0, 2, 1))]  # fmt: skip
    i, j = (n.ravel() for n in np.indices((3, 3)))
    rows = np.concatenate([(3 * r[:, None] + i).ravel() for r, _, _ in blocks])
    columns = np.concatenate([(3 * c[:, None] + j).ravel() for _, c, _ in blocks])
    values = np.concatenate([(weight[:, None, None] * m).ravel() for _, _, m in blocks])
    return sparse.coo_array((values, (rows, columns)), (3 * count, 3 * count)).tocsr()
