"""The comparison of units in two boxes: exact probabilities, places, and how often nothing is taken for something."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage, stats

from igneous_ng.kernels.comparing import Difference, Sample, compare

Array = npt.NDArray[Any]


def sample(grid: Array, box: tuple[slice, slice, slice], counts: Array | None = None) -> Sample:
    """The units of a grid of values, and a box of whole units."""
    inside = np.zeros(grid.shape)
    inside[box] = 1
    at = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1).reshape(-1, 3)
    weights = np.ones(grid.shape) if counts is None else counts
    return Sample(grid.ravel(), weights.ravel(), inside.ravel(), 1 - inside.ravel(), at)


CORNER = (slice(0, 3), slice(0, 3), slice(0, 2))


def difference(grid: Array, counts: Array | None = None) -> Difference:
    found = compare(sample(grid, CORNER, counts))
    assert found is not None
    return found


def test_it_is_mann_and_whitneys_test_where_units_are_whole() -> None:
    rng = np.random.default_rng(1)
    grid = rng.integers(0, 12, (6, 6, 4)).astype(float)
    grid[CORNER] += 3
    one, other = grid[CORNER].ravel(), grid[sample(grid, CORNER).inside.reshape(grid.shape) == 0]
    wanted = stats.mannwhitneyu(one, other, method="asymptotic", use_continuity=False)
    found = difference(grid)
    assert found.superiority == pytest.approx(wanted.statistic / (len(one) * len(other)))
    assert found.p == pytest.approx(wanted.pvalue, rel=0.02)  # ties are corrected by shares
    assert found.means == pytest.approx((one.mean(), other.mean()))
    assert found.units == pytest.approx((18, 126))


def test_places_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(2)
    grid = ndimage.gaussian_filter(rng.normal(size=(6, 6, 4)), 1)
    ranks = stats.rankdata(grid).reshape(grid.shape)
    inside = sample(grid, CORNER).inside.reshape(grid.shape)
    moved = []
    for step in np.ndindex(grid.shape):
        box = np.roll(inside, step, (0, 1, 2)) > 0
        moved.append(abs(ranks[box].mean() - ranks[~box].mean()))
    found = difference(grid)
    assert found.places == grid.size
    assert found.p_places == pytest.approx(np.mean(np.array(moved) >= moved[0] - 1e-9))


def test_what_was_planted_parts_and_noise_and_gradients_do_not() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(100, 5, (6, 6, 4))
    planted = noise.copy()
    planted[CORNER] -= 12
    assert difference(planted).parted(compared=20)
    assert not difference(noise).parted(compared=20)
    gradient = noise + 10 * np.arange(6)[:, None, None]  # the corner lies at its end, and so do other boxes
    assert difference(gradient).p < 1e-3
    assert not difference(gradient).parted(compared=20)


def test_smooth_fields_give_few_false_alarms() -> None:
    rng = np.random.default_rng(4)
    fields = (ndimage.gaussian_filter(rng.normal(size=(8, 8, 6)), 1.5, mode="wrap") for _ in range(200))
    found = [difference(field) for field in fields]
    sure = sum(one.p * 20 <= 0.01 for one in found)
    assert sure > 40  # the test of units alone would cry
    assert sum(one.parted(compared=20) for one in found) <= 8


def test_units_count_by_what_they_are_means_of() -> None:
    grid, counts = np.zeros((6, 6, 4)), np.ones((6, 6, 4))
    grid[CORNER] = 1
    grid[0, 0, 0], counts[0, 0, 0] = 0, 17
    assert difference(grid, counts).means == (0.5, 0.0)
    counts[0, 0, 0] = 0
    assert difference(grid, counts).means == (1.0, 0.0)
    assert difference(grid, counts).units[0] == 17


def test_too_few_units_say_nothing() -> None:
    grid = np.zeros((6, 6, 4))
    assert compare(sample(grid, (slice(0, 2), slice(0, 1), slice(0, 1)))) is None
    same = difference(grid)
    assert (same.p, same.ratio, same.standardised) == (1.0, 1.0, 0.0)
    grid[:] = np.nan
    assert compare(sample(grid, CORNER)) is None


def test_of_a_slab_there_are_few_places() -> None:
    grid = np.random.default_rng(5).normal(size=(6, 6, 4))
    grid[:, :, 0] -= 100
    found = compare(sample(grid, (slice(0, 6), slice(0, 6), slice(0, 1))))
    assert found is not None
    assert found.p_places == 0.25
    assert not found.parted(compared=1)
