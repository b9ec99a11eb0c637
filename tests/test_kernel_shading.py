"""What is added to hide steps: the equation against a direct solution, and shading that is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.kernels import poisson, shading
from igneous_ng.kernels.shading import Mosaic
from igneous_ng.kernels.tile_maps import TileMap

Array = npt.NDArray[Any]
SCREEN = 1 / 64


def dense(along_x: Array, along_y: Array, screen: float) -> Any:
    """The same least squares, by a matrix of all steps."""
    nx, ny = along_y.shape[0], along_x.shape[1]
    at = np.arange(nx * ny).reshape(nx, ny)
    low = np.concatenate([at[:-1].ravel(), at[:, :-1].ravel()])
    high = np.concatenate([at[1:].ravel(), at[:, 1:].ravel()])
    matrix = np.zeros((len(low) + nx * ny, nx * ny))
    matrix[np.arange(len(low)), low], matrix[np.arange(len(low)), high] = -1, 1
    matrix[len(low) :] = np.sqrt(screen) * np.eye(nx * ny)
    right = np.concatenate([along_x.ravel(), along_y.ravel(), np.zeros(nx * ny)])
    return np.linalg.lstsq(matrix, right, rcond=None)[0].reshape(nx, ny)


@settings(deadline=None, max_examples=30)
@given(nx=st.integers(1, 9), ny=st.integers(1, 9), screen=st.floats(1e-3, 10), seed=st.integers(0, 99))
def test_the_solution_is_that_of_a_dense_solver(nx: int, ny: int, screen: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(nx - 1, ny)), rng.normal(size=(nx, ny - 1))
    assert np.allclose(poisson.screened(*steps, screen), dense(*steps, screen), atol=1e-9)


def depth(width: int, height: int) -> Any:
    x, y = (np.minimum(np.arange(n) + 0.5, n - 0.5 - np.arange(n)) for n in (width, height))
    return np.minimum(x[:, None], y)


def scene(shape: tuple[int, int]) -> Array:
    return np.asarray(np.random.default_rng(0).normal(100, 20, shape))


def added(shape: tuple[int, int], tiles: list[tuple[tuple[int, int], Array]]) -> tuple[Array, Array]:
    """What is blended, and what is to be added."""
    mosaic = Mosaic(shape)
    for at, values in tiles:
        mosaic.add(at, values, depth(*values.shape))
    blended = np.where(mosaic.weights > 0, mosaic.values / np.maximum(mosaic.weights, 1e-9), 0)
    return blended, mosaic.shade(SCREEN)


def test_tiles_that_agree_are_left_alone() -> None:
    true = scene((60, 40))
    _, found = added((60, 40), [((0, 0), true[:34, :]), ((26, 0), true[26:, :])])
    assert not found.any()


def test_a_step_between_tiles_is_spread_out() -> None:
    true = scene((64, 40))
    blended, found = added((64, 40), [((0, 0), true[:36, :] + 8), ((28, 0), true[28:, :] - 8)])
    middle = slice(12, 28)  # where blending goes along x alone
    before, after = (np.abs(np.diff(one - true, axis=0))[:, middle].max() for one in (blended, blended + found))
    assert before > 1.9
    assert after < 1
    assert np.abs((blended + found - true)[[0, -1]]).max() < 8.1  # far away it stays
    assert np.abs(found.mean()) < 0.05


def test_one_tile_and_no_tile() -> None:
    assert not added((20, 20), [((2, 3), scene((10, 12)))])[1].any()
    assert not added((20, 20), [])[1].any()


def test_places_without_a_tile_say_nothing() -> None:
    true = scene((90, 30))
    tiles = [((0, 0), true[:30]), ((50, 0), true[50:70] + 30), ((64, 0), true[64:] + 30)]
    assert not added((90, 30), tiles)[1].any()  # a gap between tiles of different brightness


def test_a_change_far_away_changes_nothing() -> None:
    true = scene((300, 20))
    tiles = [((n, 0), true[n : n + 40] + n % 7) for n in range(0, 261, 20)]
    before = added((300, 20), tiles)[1]
    tiles[-1] = (tiles[-1][0], tiles[-1][1] + 25)
    after = added((300, 20), tiles)[1]
    assert np.array_equal(before[:150], after[:150])
    assert not np.array_equal(before[250:], after[250:])


def test_offsets_are_rounded() -> None:
    true = scene((40, 20))
    found = added((40, 20), [((0, 0), true[:24] + 5), ((16, 0), true[16:])])[1]
    assert found.dtype == np.float32
    assert np.array_equal(found * 16, np.round(found * 16))


@pytest.mark.parametrize("factor", [1, 4])
def test_a_coarse_picture_is_laid_where_its_tile_lies(factor: int) -> None:
    size = 40 * factor, 32 * factor
    x, y = ((np.arange(n // factor) + 0.5) * factor - 0.5 for n in size)
    picture = 3 * x[:, None] + 2 * y
    where = TileMap(size, np.array([[0.99, -0.02], [0.02, 1.01]]), np.array([200.0, -50.0]))
    points = where(np.stack(np.meshgrid(np.linspace(3, 30, 7) * factor, np.linspace(3, 25, 5) * factor), -1))
    values, deep = shading.placed(picture, where, factor, points)
    inside = where.inverse(points)
    assert np.allclose(values, 3 * inside[..., 0] + 2 * inside[..., 1])
    assert np.allclose(deep, np.minimum(inside + 0.5, np.array(size) - 0.5 - inside).min(axis=-1))
    assert (shading.placed(picture, where, factor, points + 1000 * factor)[1] < 0).all()
