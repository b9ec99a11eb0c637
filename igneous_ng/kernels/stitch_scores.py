"""How far the maps of a section's tiles are from the truth. Points are ``[n, 2]``, x and y in pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels.tile_maps import TileMap

Array = npt.NDArray[Any]
_ALONG = 9  # points across an overlap, each way


def rigid(source: Array, target: Array) -> tuple[Array, Array]:
    """The rotation ``[2, 2]`` and shift ``[2]`` that bring ``source`` nearest to ``target`` (Kabsch 1976)."""
    a, b = source.mean(axis=0), target.mean(axis=0)
    u, _, vt = np.linalg.svd((source - a).T @ (target - b))
    turn = vt.T @ np.diag([1.0, np.linalg.det(vt.T @ u.T)]) @ u.T
    return turn, b - turn @ a


def position_errors(found: Sequence[TileMap], truth: Sequence[TileMap], components: Sequence[int]) -> Array:
    """How far each tile's centre is from where it should be, ``[tile, 2]``, the motion of each component removed.

    Where a whole lies, and how it is turned, no overlap can tell.
    """
    centres = [(np.array(one.size, float) - 1) / 2 for one in truth]
    wanted = np.array([one(c) for one, c in zip(truth, centres, strict=True)]).reshape(-1, 2)
    placed = np.array([one(c) for one, c in zip(found, centres, strict=True)]).reshape(-1, 2)
    errors = np.zeros_like(wanted)
    for component in set(components):
        rows = np.flatnonzero(np.array(components) == component)
        turn, shift = rigid(placed[rows], wanted[rows])
        errors[rows] = placed[rows] @ turn.T + shift - wanted[rows]
    return errors


def overlap_errors(found: Sequence[TileMap], truth: Sequence[TileMap], pairs: Iterable[tuple[int, int]]) -> list[Array]:
    """For each pair, how far apart ``found`` puts what is one place, at points spread over what both tiles show."""
    errors = []
    for i, j in pairs:
        (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = truth[i].box(), truth[j].box()
        xs = np.linspace(max(ax0, bx0), min(ax1, bx1), _ALONG)
        ys = np.linspace(max(ay0, by0), min(ay1, by1), _ALONG)
        places = np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1).reshape(-1, 2)
        p, q = truth[i].inverse(places), truth[j].inverse(places)
        seen = _inside(p, truth[i].size) & _inside(q, truth[j].size)
        apart = found[i](p[seen]) - found[j](q[seen])
        errors.append(np.hypot(apart[:, 0], apart[:, 1]))
    return errors


def _inside(points: Array, size: tuple[int, int]) -> Array:
    return np.asarray(((points >= -0.5) & (points <= np.array(size) - 0.5)).all(axis=1))
