"""Affine maps of all sections of a stack at once, from the maps between pairs of them.

A link says where points of one section lie in another. Maps are changed by small affine steps X of the common frame:
those of which ``sum of weight |X(x) - X'(x) + what is off at x|^2`` over links, and ``stiffness |A - R|^2`` over
sections, is least, R the rotation nearest to A: at first stiff, so that all is rigid, then so soft that stretches are
forgotten only over some hundred sections. Both ends of a link are taken at one place x: so no error of a link is less
if all is smaller, and a long stack does not shrink, as it does where each end multiplies a measured place of its own.

Weights are those of Geman and McClure (1987), of the residual of a whole link against what is usual, from wide to
narrow. Rows of X are found apart: one sparse matrix, factorised once a step, with two right-hand sides.
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
_STEPS = tuple((10.0**-k, wide) for k, wide in ((0, 30), (0, 30), (1, 10), (1, 10), (2, 5), (2, 5), *[(4, 3)] * 4))
"""Stiffness in units of a link's (its root: one over the sections over which stretches are forgotten), and residuals,
in those that are usual, beyond which a link counts little."""
_MOMENT = 0.2  # of coordinates along an axis: of points that are spread evenly, in units of the corners
_FLOOR = 1e-6
_GAUGE = 1e-6  # of a link: what holds the place of a component in a step


@dataclass(frozen=True)
class Solved:
    """``matrix`` [n, 2, 2], ``shift`` [n, 2]; of each link its ``residual``, root mean square, and its ``weight``."""

    matrix: Array
    shift: Array
    residual: Array
    weight: Array


def solve(links: Links, laid: Laid, held: Array, least: float) -> Solved:
    """The maps, from a first guess ``laid``; those ``held`` bool [n] stay. ``least``: a residual that is none."""
    maps = np.concatenate([laid.matrix, laid.shift[:, :, None]], axis=2)  # [n, 2, 3]
    weight = np.ones(len(links))
    for stiff, wide in _STEPS:
        weight = _weights(links, _residuals(links, maps), least, wide)
        maps = _step(links, weight, maps, held, stiff)
    return Solved(maps[:, :, :2], maps[:, :, 2], _residuals(links, maps), weight)


def _off(links: Links, maps: Array) -> Array:
    """What is off at a link, as a map [m, 2, 3] of points of its first section."""
    own, other = maps[links.a], maps[links.b]
    through = other[:, :, :2] @ np.concatenate([links.matrix, links.shift[:, :, None]], axis=2)
    through[:, :, 2] += other[:, :, 2]
    return np.asarray(own - through)


def _residuals(links: Links, maps: Array) -> Array:
    """The root mean square of what is off at the points of each link."""
    off = _off(links, maps)
    total = (off @ links.moments * off).sum(axis=(1, 2))
    return np.asarray(np.sqrt(np.maximum(total, 0) / np.maximum(links.moments[:, 2, 2], 1e-12)))


def _weights(links: Links, residual: Array, least: float, wide: float) -> Array:
    """Less for what is far off, and one over the distance: tissue moves about as a walk at random does.

    No variance is taken from the residuals of links as far apart: those that are fitted best would count most, and be
    fitted better still.
    """
    apart = np.maximum(np.abs(links.a - links.b), 1)
    relative = residual / np.sqrt(apart)
    usual = max(float(np.median(relative)), least) if len(links) else least
    return np.asarray(np.maximum(1 / (1 + (relative / (wide * usual)) ** 2) ** 2, _FLOOR) / apart * links.strength)


def _step(links: Links, weight: Array, maps: Array, held: Array, stiff: float) -> Array:
    """All maps that are free, by least squares."""
    free = np.flatnonzero(np.repeat(~held, 3))
    if not len(free):
        return maps
    usual = float(np.median(weight * links.moments[:, 2, 2])) if len(links) else 1.0
    prior = np.array([usual * stiff * _MOMENT] * 2 + [usual * _GAUGE])
    matrix, right = _equations(links, weight, maps)
    matrix = matrix + sparse.diags_array(np.tile(prior, len(maps)))
    turns = np.stack([polar(one)[1] for one in maps[:, :, :2]])
    goal = turns @ np.linalg.inv(maps[:, :, :2]) - np.eye(2)
    right[:, :2] += prior[:2, None] * goal.transpose(0, 2, 1)
    step = np.zeros((3 * len(maps), 2))
    step[free] = linalg.splu(matrix.tocsr()[free][:, free].tocsc()).solve(right.reshape(-1, 2)[free])
    more = step.reshape(-1, 3, 2).transpose(0, 2, 1)
    moved = maps + more[:, :, :2] @ maps
    moved[:, :, 2] += more[:, :, 2]
    return np.asarray(moved)


def _equations(links: Links, weight: Array, maps: Array) -> tuple[Any, Array]:
    """The normal equations of the links: sparse [3 n, 3 n], and [n, 3, 2]."""
    count, own = len(maps), maps[links.a]
    frame = np.concatenate([own, np.broadcast_to([[[0.0, 0.0, 1.0]]], (len(links), 1, 3))], axis=1)
    there = frame @ links.moments * weight[:, None, None]
    block = there @ frame.transpose(0, 2, 1)
    off = there @ _off(links, maps).transpose(0, 2, 1)
    right = np.zeros((count, 3, 2))
    np.add.at(right, links.a, -off)
    np.add.at(right, links.b, off)
    ends = [
        (links.a, links.a, block),
        (links.b, links.b, block),
        (links.a, links.b, -block),
        (links.b, links.a, -block),
    ]
    i, j = (n.ravel() for n in np.indices((3, 3)))
    rows = np.concatenate([(3 * r[:, None] + i).ravel() for r, _, _ in ends])
    columns = np.concatenate([(3 * c[:, None] + j).ravel() for _, c, _ in ends])
    values = np.concatenate([m.ravel() for _, _, m in ends])
    return sparse.coo_array((values, (rows, columns)), (3 * count, 3 * count)).tocsr(), right
