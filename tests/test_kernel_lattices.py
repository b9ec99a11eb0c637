"""Lattices that are known are found again, with jitter, holes, turns and strays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.kernels import lattices

Array = npt.NDArray[Any]
SIZE = np.array([100.0, 80.0])


def grid(columns: int, rows: int) -> Array:
    return np.array([(col, row) for row in range(rows) for col in range(columns)])


def placed(cells: Array, seed: int, turn: float = 0.0, jitter: float = 0.03) -> Array:
    """Where tiles of a lattice with 10 % overlap lie."""
    along = 90 * np.array([np.cos(turn), np.sin(turn)])
    down = 72 * np.array([-np.sin(turn), np.cos(turn)])
    rng = np.random.default_rng(seed)
    points = 1000 + cells[:, :1] * along + cells[:, 1:] * down
    return np.asarray(points + rng.uniform(-jitter, jitter, points.shape) * SIZE)


def test_a_lattice_is_fitted_though_some_tiles_are_astray() -> None:
    cells = grid(6, 6)
    points = placed(cells, 0, turn=0.02)
    points[[3, 17, 30]] += [[400, 0], [0, -900], [77, 77]]
    away = np.abs(lattices.fit(cells, points)(cells) - points).max(axis=1)
    assert set(np.flatnonzero(away > 20)) == {3, 17, 30}


@given(st.integers(2, 7), st.integers(2, 7), st.integers(0, 99), st.floats(-0.05, 0.05), st.data())
def test_rows_and_columns_are_told_from_positions(columns: int, rows: int, seed: int, turn: float, data: Any) -> None:
    cells = grid(columns, rows)
    order = np.random.default_rng(seed).permutation(len(cells))
    cells = cells[order]
    gone = data.draw(st.integers(0, len(cells) - 1)) if min(columns, rows) > 2 else None
    cells = np.delete(cells, gone, axis=0) if gone is not None else cells
    found = lattices.guessed(placed(cells, seed, turn), SIZE)
    assert found is not None
    assert np.array_equal(found[0], cells - cells.min(axis=0))
    assert found[1].all()


def test_a_tile_between_the_others_belongs_to_no_lattice() -> None:
    cells = grid(6, 6)
    points = placed(cells, 1)
    points[14] += [45, 36]
    found = lattices.guessed(points, SIZE)
    assert found is not None
    assert np.flatnonzero(~found[1]).tolist() == [14]


def test_a_group_behind_a_gap_belongs_to_the_lattice() -> None:
    cells = grid(9, 3)
    cells = cells[(cells[:, 0] < 4) | (cells[:, 0] > 5)]
    found = lattices.guessed(placed(cells, 2, jitter=0.01), SIZE)
    assert found is not None
    assert np.array_equal(found[0], cells)
    assert found[1].all()


def test_scattered_tiles_are_no_lattice() -> None:
    points = np.random.default_rng(0).uniform(0, 1000, (40, 2))
    found = lattices.guessed(points, SIZE)
    assert found is None or found[1].mean() >= 0.9


@pytest.mark.parametrize("gone", [[], [(0, 0)], [(3, 2)], [(0, 0), (5, 5), (2, 4)], [(0, 0), (1, 0)]])
def test_holes_of_a_full_lattice(gone: list[tuple[int, int]]) -> None:
    cells = np.array([cell for cell in grid(6, 6).tolist() if tuple(cell) not in gone])
    found = [tuple(cell) for cell in lattices.holes(cells + 7).tolist()]
    wanted = sorted(((col + 7, row + 7) for col, row in gone), key=lambda cell: cell[::-1])
    assert found == wanted


def test_holes_of_a_round_lattice_are_those_inside() -> None:
    cells = np.array([(col, row) for col, row in grid(12, 12).tolist() if (col - 5.5) ** 2 + (row - 5.5) ** 2 < 28])
    assert not len(lattices.holes(cells))
    without = np.array([cell for cell in cells.tolist() if cell != [5, 6]])
    assert lattices.holes(without).tolist() == [[5, 6]]


def test_tiles_far_between_have_no_holes() -> None:
    assert not len(lattices.holes(np.array([[0, 0], [10**6, 10**6]])))


def test_holes_of_a_single_row() -> None:
    cells = np.array([[col, 4] for col in (0, 1, 3, 5, 6)])
    assert lattices.holes(cells).tolist() == [[2, 4], [4, 4]]
