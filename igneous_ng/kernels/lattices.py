"""Lattices of tiles: where rows and columns say that tiles should lie, and which rows and columns positions tell.

Points are ``[n, 2]``, x before y; cells ``[n, 2]``, column before row, integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_NEAR = 0.25  # of a tile: how far from its node a tile may lie that belongs to a lattice
_REGULAR = 0.9  # of the tiles must belong, or there is no lattice
_SPARSE = 64  # cells for each tile are not a lattice any more


@dataclass(frozen=True)
class Lattice:
    """A regular lattice: ``origin + column * along + row * down``."""

    origin: Array
    along: Array
    down: Array

    def __call__(self, cells: Array) -> Array:
        """Where cells lie."""
        return np.asarray(self.origin + cells[:, :1] * self.along + cells[:, 1:] * self.down)


def fit(cells: Array, points: Array) -> Lattice:
    """The lattice on which ``points`` lie, by medians, so that up to half of them may lie anywhere.

    The steps are medians over neighbours in a row or column; a step that no two tiles show is zero.
    """
    along, down = _step(cells, points, 0), _step(cells, points, 1)
    origin = np.median(points - cells[:, :1] * along - cells[:, 1:] * down, axis=0)
    return Lattice(origin, along, down)


def _step(cells: Array, points: Array, axis: int) -> Array:
    """The median step between tiles that follow each other in their line along ``axis``."""
    other = 1 - axis
    order = np.lexsort((cells[:, axis], cells[:, other]))
    steps = np.diff(cells[order, axis])
    same = (np.diff(cells[order, other]) == 0) & (steps > 0)
    if not same.any():
        return np.zeros(2)
    return np.asarray(np.median(np.diff(points[order], axis=0)[same] / steps[same, np.newaxis], axis=0))


def guessed(points: Array, size: Array) -> tuple[Array, Array] | None:
    """The cells of ``points`` whose tiles have ``size``, and whether each lies in its cell; None where no lattice is.

    Steps are medians over nearest neighbours to the right and below; cells are counted from neighbour to neighbour.
    Tiles apart from the largest group get the cell that is nearest by its steps.
    """
    along, down = _neighbour(points, size, 0), _neighbour(points, size, 1)
    if along is None and down is None:
        return None
    along = np.array([size[0], 0.0]) * 10 if along is None else along
    down = np.array([0.0, size[1]]) * 10 if down is None else down
    cells, reached = _counted(points, size, (along, down))
    found = fit(cells[reached], points[reached])
    steps = [one if one.any() else given for one, given in ((found.along, along), (found.down, down))]
    inverse = np.linalg.inv(np.stack(steps, axis=1))
    away = points - found.origin
    free = np.rint(away[:, :1] * inverse[:, 0] + away[:, 1:] * inverse[:, 1]).astype(np.int64)
    cells = np.where(reached[:, np.newaxis], cells, free)
    off = np.abs(points - Lattice(found.origin, *steps)(cells)) / size
    belongs = reached | (off.max(axis=1) <= _NEAR)
    return (cells - cells.min(axis=0), belongs) if belongs.mean() >= _REGULAR else None


def _neighbour(points: Array, size: Array, axis: int) -> Array | None:
    """The median step to the nearest tile ahead along ``axis`` that shares most of the other side."""
    from scipy.spatial import cKDTree

    scaled = points / size
    steps = []
    for n, near in enumerate(cKDTree(scaled).query_ball_point(scaled, 1.5)):
        ahead = scaled[near] - scaled[n]
        fits = (ahead[:, axis] > 0.5) & (ahead[:, axis] < 1.25) & (np.abs(ahead[:, 1 - axis]) < _NEAR)
        if fits.any():
            steps.append(ahead[fits][np.argmin(ahead[fits, axis])])
    return np.asarray(np.median(steps, axis=0) * size) if steps else None


def _counted(points: Array, size: Array, steps: tuple[Array, Array]) -> tuple[Array, Array]:
    """Cells of the largest group of tiles that are neighbours of each other, and which belong to it."""
    from scipy.spatial import cKDTree

    tree = cKDTree(points / size)
    ahead = [tree.query_ball_point((points + step) / size, _NEAR, p=np.inf) for step in steps]
    links: list[list[tuple[int, int, int]]] = [[] for _ in points]
    for axis, near in enumerate(ahead):
        for n, others in enumerate(near):
            for other in sorted(others):
                links[n].append((other, axis, 1))
                links[other].append((n, axis, -1))
    cells = np.zeros((len(points), 2), np.int64)
    groups = _groups(links, cells)
    largest = max(groups, key=len)
    reached = np.zeros(len(points), bool)
    reached[largest] = True
    return cells, reached


def _groups(links: list[list[tuple[int, int, int]]], cells: Array) -> list[list[int]]:
    """Groups of linked tiles, in order of their first; cells are counted within each."""
    seen = np.zeros(len(cells), bool)
    groups = []
    for first in range(len(cells)):
        if seen[first]:
            continue
        seen[first] = True
        group = [first]
        for n in group:  # grows while it is gone through
            for other, axis, step in links[n]:
                if not seen[other]:
                    seen[other] = True
                    cells[other] = cells[n]
                    cells[other, axis] += step
                    group.append(other)
        groups.append(group)
    return groups


def holes(cells: Array) -> Array:
    """The cells that should have a tile and have none, in order of row and column.

    A cell should have one if tiles lie on both sides of it in its row and in its column, or if it is the only one that
    its row or column lacks. Corners that a round mosaic leaves free are none. Where more would be missing than is
    there, nothing is.
    """
    low = cells.min(axis=0)
    columns, rows = (cells.max(axis=0) - low + 1).tolist()
    if rows * columns > _SPARSE * (len(cells) + _SPARSE):
        return np.zeros((0, 2), np.int64)
    taken = np.zeros((rows, columns), bool)
    taken[cells[:, 1] - low[1], cells[:, 0] - low[0]] = True
    inside, lonely = np.ones_like(taken), np.zeros_like(taken)
    for axis in (0, 1):
        if taken.shape[axis] > 1:
            before = np.maximum.accumulate(taken, axis=axis)
            after = np.flip(np.maximum.accumulate(np.flip(taken, axis), axis=axis), axis)
            inside &= before & after
        count = taken.sum(axis=axis, keepdims=True)
        lonely |= (count == taken.shape[axis] - 1) & (count > 1)
    at = np.argwhere(~taken & (inside | lonely))
    return np.asarray(at[:, ::-1] + low) if len(at) <= len(cells) else np.zeros((0, 2), np.int64)
