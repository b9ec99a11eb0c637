"""Matchings against the matrix of all pairs, as CREMI defines them, and cleft scores voxel by voxel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from igneous_ng.kernels import cleft_scores, synapse_scores
from igneous_ng.kernels.cleft_scores import Sums

Array = np.ndarray[Any, Any]


def points(rng: np.random.Generator, count: int, side: int) -> Array:
    return rng.integers(0, side, (count, 3)).astype(np.int32)


def defined(one: Array, other: Array, labels: tuple[Array, Array], most: float) -> tuple[int, float]:
    """How many are matched, and the cost of all, by one square matrix in which what cannot be costs twice the most."""
    size = max(len(one), len(other))
    costs = np.full((size, size), 2 * most)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            away = float(np.linalg.norm(a.astype(float) - b.astype(float)))
            if away <= most and labels[0][i] == labels[1][j]:
                costs[i, j] = away
    rows, columns = linear_sum_assignment(costs - costs.max(initial=0) - 1)
    taken = costs[rows, columns]
    return int((taken <= most).sum()), float(taken.sum())


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), found=st.integers(0, 40), known=st.integers(0, 40), labels=st.integers(1, 3))
def test_groups_give_what_the_matrix_of_all_gives(seed: int, found: int, known: int, labels: int) -> None:
    rng, most = np.random.default_rng(seed), 300.0
    one, other = points(rng, found, 1500), points(rng, known, 1500)
    of = rng.integers(0, labels, found), rng.integers(0, labels, known)
    pairs = synapse_scores.near(one, other, most)
    pairs = pairs[of[0][pairs[:, 0]] == of[1][pairs[:, 1]]]
    costs = np.sqrt(synapse_scores.square(one, other, pairs))
    chosen = synapse_scores.matched(pairs, costs, (found, known), most)
    size = max(found, known)
    total = float(costs[chosen].sum()) + 2 * most * (size - int(chosen.sum()))
    assert len(np.unique(pairs[chosen, 0])) == len(np.unique(pairs[chosen, 1])) == chosen.sum()
    count, cost = defined(one, other, of, most)
    assert total == pytest.approx(cost)
    assert int(chosen.sum()) == count or total == pytest.approx(cost, abs=1e-9)


def test_the_sum_of_costs_decides_and_not_the_number_of_pairs() -> None:
    pairs = np.array([[0, 0], [1, 0], [1, 1], [2, 1], [2, 2]])
    costs = np.array([100.0, 0.0, 100.0, 0.0, 100.0])  # two of 0 cost less than three of 100: 200 against 300
    assert synapse_scores.matched(pairs, costs, (3, 3), 100).tolist() == [False, True, False, True, False]
    assert synapse_scores.matched(pairs, np.full(5, 50.0), (3, 3), 100).tolist() == [True, False, True, False, True]


def test_large_groups_cost_the_same_as_by_a_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    one, other = points(rng, 90, 400), points(rng, 70, 400)
    pairs = synapse_scores.near(one, other, 150)
    costs = np.sqrt(synapse_scores.square(one, other, pairs)) + rng.random(len(pairs)) / 1e3
    dense = synapse_scores.matched(pairs, costs, (90, 70), 150)
    monkeypatch.setattr(synapse_scores, "_DENSE", 1)
    assert np.array_equal(synapse_scores.matched(pairs, costs, (90, 70), 150), dense)
    assert 0 < dense.sum() <= 70


def test_a_group_is_matched_alike_whatever_is_beside_it() -> None:
    rng = np.random.default_rng(5)
    one, other = points(rng, 12, 60), points(rng, 12, 60)  # many ties of cost
    far = points(rng, 40, 500) + np.array([10_000, 0, 0], np.int32)
    pairs = synapse_scores.near(one, other, 20)
    alone = pairs[synapse_scores.matched(pairs, np.ones(len(pairs)), (12, 12), 20)]
    more = synapse_scores.near(np.concatenate([one, far]), np.concatenate([other, far]), 20)
    both = more[synapse_scores.matched(more, np.ones(len(more)), (52, 52), 20)]
    assert np.array_equal(both[both[:, 0] < 12], alone)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), distance=st.sampled_from([0.5, 1.0, 5.0, 13.0, 13.001]))
def test_near_pairs_are_those_and_no_others(seed: int, distance: float) -> None:
    rng = np.random.default_rng(seed)
    one, other = points(rng, 30, 25), points(rng, 20, 25) // 5 * 5
    away = ((one[:, None].astype(int) - other[None]) ** 2).sum(axis=2)
    assert np.array_equal(synapse_scores.near(one, other, distance), np.argwhere(away <= distance**2))


def test_places_far_from_the_origin_are_as_exact() -> None:
    corner = np.array([[2**31 - 1000, -(2**31) + 1000, 0]], np.int64)
    one, other = corner, corner + np.array([300, 400, 0])
    assert len(synapse_scores.near(one, other, 500)) == 1
    assert len(synapse_scores.near(one, other, 499.99)) == 0


@pytest.mark.parametrize(
    ("counts", "figures"),
    [
        ((0, 0, 0), (1.0, 1.0, 1.0)),
        ((0, 5, 0), (0.0, 1.0, 0.0)),
        ((0, 0, 5), (1.0, 0.0, 0.0)),
        ((3, 4, 6), (0.75, 0.5, 0.6)),
    ],
)
def test_empty_sets_have_scores(counts: tuple[int, int, int], figures: tuple[float, float, float]) -> None:
    told = synapse_scores.scores(*counts)
    assert (told["precision"], told["recall"], told["f1"]) == figures
    assert (told["true"], told["false"], told["missed"]) == (counts[0], counts[1] - counts[0], counts[2] - counts[0])


def measured_plainly(of: Array, to: Array, resolution: tuple[float, float, float], far: float, reach: float) -> Sums:
    """Each voxel against each."""
    targets, sums = np.argwhere(to) * resolution, Sums()
    for voxel in np.argwhere(of) * resolution:
        away = float(np.sqrt(((targets - voxel) ** 2).sum(axis=1)).min(initial=np.inf))
        sums += Sums(1, int(away > far), round(min(away, reach) * 1000), int(away > reach))
    return sums


@pytest.mark.parametrize("resolution", [(4.0, 4.0, 40.0), (3.58, 7.5, 8.125)])
@pytest.mark.parametrize("share", [0.0, 0.002, 0.03])
def test_cleft_sums_are_those_of_each_voxel(resolution: tuple[float, float, float], share: float) -> None:
    rng = np.random.default_rng(1)
    of, to = rng.random((14, 11, 9)) < 0.05, rng.random((14, 11, 9)) < share
    found = cleft_scores.measured(of, to, resolution, 16.0, 40.0)
    plain = measured_plainly(of, to, resolution, 16.0, 40.0)
    assert (found.voxels, found.far, found.cut) == (plain.voxels, plain.far, plain.cut)
    assert found.distance == pytest.approx(plain.distance, abs=found.voxels)
    assert found.voxels > 0


def test_cleft_scores_are_means_of_both_ways() -> None:
    told = cleft_scores.scores(Sums(10, 2, 50_000, 0), Sums(5, 1, 10_000, 0))
    assert (told["adgt"], told["adf"], told["score"], told["exact"]) == (5.0, 2.0, 3.5, True)
    assert told["f1"] == round(16 / 19, 6)
    assert cleft_scores.scores(Sums(), Sums())["f1"] == 1.0
    assert not cleft_scores.scores(Sums(1, 1, 400_000, 1), Sums())["exact"]
