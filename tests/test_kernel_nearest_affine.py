"""The nearest affine of a bent map: against a general solver, and exact where nothing bends."""

from __future__ import annotations

import numpy as np
import pytest

from igneous_ng.kernels.nearest_affine import nearest_affine
from igneous_ng.kernels.tile_maps import POWERS, Lens, TileMap

MATRIX, SHIFT = np.array([[1.01, -0.02], [0.03, 0.99]]), np.array([1234.5, -77.25])


def test_an_affine_map_is_its_own() -> None:
    found = nearest_affine(TileMap((100, 50), MATRIX, SHIFT))
    assert found.matrix is MATRIX
    assert found.shift is SHIFT
    assert (found.worst, found.rms) == (0.0, 0.0)


@pytest.mark.parametrize("size", [(1000, 700), (33, 2), (1, 64), (1, 1)])
def test_a_bent_map_is_fitted_by_least_squares(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    lens = Lens((480.0, 360.0), 600.0, rng.normal(0, 2, (len(POWERS), 2)))
    bent = TileMap(size, MATRIX, SHIFT, lens, rng.normal(0, 3, (4, 3, 2)))
    found = nearest_affine(bent)
    x, y = np.meshgrid(*(np.linspace(0, side - 1, 17) for side in size), indexing="ij")
    points = np.stack([x.ravel(), y.ravel()], axis=-1)
    wanted = bent(points)
    terms = np.column_stack([points, np.ones(len(points))])
    best = terms @ np.linalg.lstsq(terms, wanted, rcond=None)[0]
    fitted = points @ found.matrix.T + found.shift
    assert np.allclose(fitted, best, atol=1e-8)
    apart = np.linalg.norm(fitted - wanted, axis=1)
    assert found.worst == pytest.approx(apart.max(), abs=1e-8)
    assert found.rms == pytest.approx(np.sqrt((apart**2).mean()), abs=1e-8)
