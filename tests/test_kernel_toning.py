"""Gains and offsets of tiles, and levels of sections: known truth is found again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.kernels import toning

Array = npt.NDArray[Any]


def lattice(rows: int, columns: int) -> Array:
    at = np.arange(rows * columns).reshape(rows, columns)
    sides = [np.stack([at[:, :-1].ravel(), at[:, 1:].ravel()], 1), np.stack([at[:-1].ravel(), at[1:].ravel()], 1)]
    return np.concatenate(sides)


def seen(pairs: Array, gains: Array, offsets: Array, seed: int = 0) -> tuple[Array, Array]:
    """What tiles show of the same places: value = (true - offset) / gain."""
    rng = np.random.default_rng(seed)
    mean, spread = rng.uniform(90, 160, len(pairs)), rng.uniform(15, 40, len(pairs))
    return (mean[:, None] - offsets[pairs]) / gains[pairs], spread[:, None] / gains[pairs]


def planted(tiles: int, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.8, 1.2, tiles), rng.uniform(-15, 15, tiles)


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 7), columns=st.integers(2, 7), seed=st.integers(0, 99))
def test_planted_gains_and_offsets_are_found(rows: int, columns: int, seed: int) -> None:
    pairs, (gains, offsets) = lattice(rows, columns), planted(rows * columns, seed)
    mean, spread = seen(pairs, gains, offsets, seed)
    found = toning.balance(rows * columns, pairs, mean, spread, np.ones(len(pairs)))
    assert np.abs(found[:, 0] / gains / np.mean(found[:, 0] / gains) - 1).max() < 0.01  # damped
    assert abs(found[:, 0].mean() - 1) <= 1 / 128 + 1 / 256
    assert abs(found[:, 1].mean()) <= 1.15
    assert np.abs(toning.steps(pairs, mean, found)).max() < 0.5
    assert np.array_equal(found[:, 0] * 128, np.round(found[:, 0] * 128))
    assert np.array_equal(found[:, 1] * 8, np.round(found[:, 1] * 8))
    assert not (np.signbit(found[:, 1]) & (found[:, 1] == 0)).any()  # 0 and -0 are other bytes


def test_a_wrong_overlap_changes_little() -> None:
    pairs, (gains, offsets) = lattice(6, 6), planted(36, 1)
    mean, spread = seen(pairs, gains, offsets)
    area = np.ones(len(pairs))
    before = toning.balance(36, pairs, mean, spread, area)
    mean[20, 0] += 80
    spread[7, 1] *= 3
    after = toning.balance(36, pairs, mean, spread, area)
    right = np.delete(np.arange(len(pairs)), [7, 20])
    assert np.abs(toning.steps(pairs, seen(pairs, gains, offsets)[0], after)[right]).max() < 2
    assert np.abs(after[:, 0] - before[:, 0]).max() < 0.02


@pytest.mark.parametrize("tile", [0, 5, 77, 140])
def test_another_tile_at_one_place_leaves_those_far_from_it_as_they_are(tile: int) -> None:
    pairs, (gains, offsets) = lattice(12, 12), planted(144, 4)
    area = np.ones(len(pairs))
    before = toning.balance(144, pairs, *seen(pairs, gains, offsets), area)
    gains[tile], offsets[tile] = gains[tile] * 1.1, offsets[tile] + 7
    after = toning.balance(144, pairs, *seen(pairs, gains, offsets), area)
    changed = (before != after).any(axis=1)
    assert changed[tile]
    assert changed.sum() <= 8


def noisy(mean: Array, spread: Array, hit: Any, noise: float, seed: int) -> tuple[Array, Array]:
    """The same where ``hit`` as another exposure would show it, with ``noise`` of means in grey levels."""
    rng = np.random.default_rng(seed)
    levels, ratios = rng.normal(0, noise, mean.shape), np.exp(rng.normal(0, noise / 25, mean.shape))
    return np.where(hit, mean + levels, mean), np.where(hit, spread * ratios, spread)


def changed_by_others(gains: Array, offsets: Array, noise: float) -> tuple[Array, list[int]]:
    """Tones of 6 x 6 tiles, and for each tile, exposed once more, how many others come to have other ones."""
    pairs, area = lattice(6, 6), np.ones(60)
    first = noisy(*seen(pairs, gains, offsets), True, noise, 0)
    before = toning.balance(36, pairs, *first, area)
    counts = []
    for tile in range(36):
        again = noisy(*first, pairs == tile, noise, 1 + tile)
        changed = (toning.balance(36, pairs, *again, area) != before).any(axis=1)
        counts.append(int(np.delete(changed, tile).sum()))
    return before, counts


def test_another_exposure_of_a_tile_changes_few_others() -> None:
    _, counts = changed_by_others(*planted(36, 3), noise=0.08)
    assert np.mean(counts) < 7  # of 35, with steps sixteen times as fine 26
    assert max(counts) < 12


def test_tiles_that_are_alike_are_left_alone() -> None:
    before, counts = changed_by_others(np.ones(36), np.zeros(36), noise=0.02)
    assert before.tolist() == [[1, 0]] * 36
    assert counts == [0] * 36
    gains, offsets = np.ones(36), np.zeros(36)
    gains[8], offsets[8] = 1.1, -7.0
    odd = toning.balance(36, lattice(6, 6), *seen(lattice(6, 6), gains, offsets), np.ones(60))
    assert np.flatnonzero((odd != (1, 0)).any(axis=1)).tolist() == [8]


def test_the_order_of_pairs_and_the_larger_area_count() -> None:
    pairs = np.array([[0, 1], [0, 1], [0, 1]])
    mean, spread = np.array([[100.0, 110.0], [100.0, 110.0], [100.0, 130.0]]), np.full((3, 2), 20.0)
    found = toning.balance(2, pairs, mean, spread, np.array([100.0, 100.0, 1.0]))
    assert abs(found[1, 1] - found[0, 1] + 10) < 0.3
    turned = toning.balance(2, pairs[:, ::-1], mean[:, ::-1], spread, np.array([100.0, 100.0, 1.0]))
    assert np.array_equal(found, turned)


def test_tiles_apart_keep_their_own_level() -> None:
    pairs = np.array([[0, 1], [3, 4]])
    mean, spread = np.array([[100.0, 120.0], [30.0, 50.0]]), np.full((2, 2), 20.0)
    found = toning.balance(5, pairs, mean, spread, np.ones(2))
    assert found[2].tolist() == [1, 0]
    for group in ([0, 1], [3, 4]):
        assert found[group].mean(axis=0) == pytest.approx((1, 0), abs=0.51)
        assert abs(found[group[0], 1] - found[group[1], 1] - 20) < 0.1


def test_flat_overlaps_say_nothing_of_gains() -> None:
    found = toning.balance(2, np.array([[0, 1]]), np.array([[100.0, 120.0]]), np.array([[0.0, 5.0]]), np.ones(1))
    assert found[:, 0].tolist() == [1, 1]
    assert abs(found[0, 1] - found[1, 1] - 20) < 0.1


def test_gains_are_cut_at_four() -> None:
    found = toning.balance(2, np.array([[0, 1]]), np.array([[100.0, 100.0]]), np.array([[1.0, 1000.0]]), np.ones(1))
    assert found[0, 0] / found[1, 0] == pytest.approx(4, rel=0.01)


def test_without_overlaps_nothing_is_changed() -> None:
    none = np.zeros((0, 2))
    assert toning.balance(3, none.astype(int), none, none, np.zeros(0)).tolist() == [[1, 0]] * 3


@pytest.mark.parametrize("white", [255.0, 65535.0])
def test_quantiles_are_those_of_the_values(white: float) -> None:
    values = np.random.default_rng(0).normal(0.4, 0.1, 10_001) * white
    found = toning.quantiles(toning.counts(values[:4000], white) + toning.counts(values[4000:], white), white)
    assert found is not None
    true = np.quantile(values, toning.QUANTILES, method="lower")
    assert np.abs(np.array(found) - true).max() <= (true[2] - true[0]) / 128
    assert toning.quantiles(np.zeros(toning.BINS, int), white) is None


def test_a_section_is_brought_to_those_around_it() -> None:
    others = [[40.0, 100.0, 160.0]] * 4
    own = [30.0, 120.0, 130.0]
    gain, offset = toning.level(own, [own, *others])
    assert gain == round(1.2 * 4096) / 4096
    assert abs(gain * own[1] + offset - 100) <= 1 / 32
    assert toning.level(own, [own]) == (1, 0)
    assert toning.level([50.0] * 3, [[50.0] * 3] * 2)[0] == 1
    assert toning.level([0.0, 1.0, 2.0], [[0.0, 90.0, 255.0]] * 3)[0] == round(4 / 3 * 4096) / 4096
