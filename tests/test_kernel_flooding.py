"""Seeds, growth, agreement and consensus, each against its definition written plainly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.geometry import Vec3
from igneous_ng.kernels import components, flooding
from igneous_ng.kernels.flooding import Rules, logit
from igneous_ng.models.level import Level

RULES = Rules((17, 17, 17), (4, 4, 4), logit(0.9), logit(0.6), 10, (False,) * 6)
shapes = st.tuples(*[st.integers(1, 9)] * 3)


def fortran(array: np.ndarray) -> np.ndarray:
    return np.asfortranarray(array)


def blobs(shape: Vec3, seed: int, labels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return fortran(rng.integers(0, labels + 1, shape).astype(np.uint32))


@given(shapes, st.integers(0, 10**6))
def test_seeds_are_the_farthest_of_their_neighbours_in_order(shape: Vec3, seed: int) -> None:
    edge = fortran(np.random.default_rng(seed).random(shape) < 0.15)
    found = [tuple(one) for one in flooding.seeds(edge, (1.0, 1.0, 1.0)).tolist()]
    at_edge = np.argwhere(edge)
    expected = []
    if len(at_edge):
        far = {p: round(16 * float(np.sqrt(((at_edge - p) ** 2).sum(axis=1).min()))) for p in np.ndindex(*shape)}
        key = {p: (far[p], -p[2], -p[1], -p[0]) for p in far}
        steps = [s for s in itertools.product((-1, 0, 1), repeat=3) if any(s)]
        around = {p: [tuple(a + b for a, b in zip(p, s, strict=True)) for s in steps] for p in far}
        best = [p for p in far if far[p] and all(key[p] > key[q] for q in around[p] if q in key)]
        expected = sorted(best, key=lambda p: key[p], reverse=True)
    assert found == expected


@given(shapes, st.integers(0, 10**6))
def test_every_region_that_is_no_edge_has_a_seed(shape: Vec3, seed: int) -> None:
    edge = fortran(np.random.default_rng(seed).random(shape) < 0.5)
    regions = components.painted((~edge).view(np.uint8), 26)
    found = flooding.seeds(edge, (4.0, 4.0, 30.0))
    if edge.any():
        assert {regions[tuple(one)] for one in found.tolist()} == set(range(1, regions.max() + 1))


def two_rods() -> np.ndarray:
    grey = np.full((40, 24, 20), 0.1, np.float32)
    grey[2:38, 3:9, 3:9] = 0.9
    grey[2:38, 14:21, 10:17] = 0.8
    return fortran(grey)


def padded(grey: np.ndarray) -> np.ndarray:
    return fortran(np.pad(grey, 8, mode="reflect"))


def test_an_object_grows_to_all_that_is_joined_and_no_farther() -> None:
    grey = two_rods()
    starts = np.array([[5, 5, 5], [20, 17, 12], [30, 6, 6], [0, 0, 0]])
    found, steps = flooding.flood(padded(grey), fortran(np.ones(grey.shape, bool)), starts, Level().step, RULES)
    expected = np.zeros(grey.shape, np.uint32)
    expected[2:38, 3:9, 3:9], expected[2:38, 14:21, 10:17] = 1, 2
    assert np.array_equal(found, expected)
    again, same = flooding.flood(padded(grey), fortran(np.ones(grey.shape, bool)), starts, Level().step, RULES)
    assert np.array_equal(again, found)
    assert same == steps


def test_voxels_are_claimed_once_in_the_order_of_seeds() -> None:
    grey = two_rods()
    free = fortran(np.ones(grey.shape, bool))

    def greedy(shades: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return np.full_like(logits, 9)  # all is of the object

    found, steps = flooding.flood(padded(grey), free, np.array([[5, 5, 5], [20, 17, 12]]), greedy, RULES)
    assert (found == 1).all()
    assert steps > 1
    free[:, 10:12] = False
    found, _ = flooding.flood(padded(grey), free, np.array([[5, 5, 5], [20, 17, 12]]), greedy, RULES)
    assert (found[:, :10] == 1).all(), "and not beyond what is left out, though the model says so"
    assert not found[:, 10:12].any()
    assert (found[:, 12:] == 2).all()


def test_a_model_that_says_no_leaves_nothing() -> None:
    grey = two_rods()
    free = fortran(np.ones(grey.shape, bool))
    found, steps = flooding.flood(padded(grey), free, np.array([[5, 5, 5]]), lambda _, logits: logits - 9, RULES)
    assert not found.any()
    assert steps == 1


@pytest.mark.parametrize(("cut", "kept"), [((False,) * 6, False), ((True, *(False,) * 5), True)])
def test_small_objects_are_kept_where_they_go_on(cut: tuple[bool, ...], kept: bool) -> None:
    grey = np.full((20, 20, 20), 0.1, np.float32)
    grey[:2, 5:8, 5:8] = 0.9
    rules = Rules(RULES.field, RULES.deltas, RULES.move, RULES.claim, 19, cut)
    free = fortran(np.ones(grey.shape, bool))
    found, _ = flooding.flood(padded(fortran(grey)), free, np.array([[1, 6, 6]]), Level().step, rules)
    assert found.any() == kept
    assert flooding.consensus(found, found, rules).any() == kept


@given(shapes, st.integers(0, 10**6), st.integers(1, 4))
def test_consensus_is_what_is_one_object_in_both(shape: Vec3, seed: int, least: int) -> None:
    one, other = blobs(shape, seed, 2), blobs(shape, seed + 1, 2)
    rules = Rules(RULES.field, RULES.deltas, 1, 1, least, (False, True, *(False,) * 4))
    found = flooding.consensus(one, other, rules)
    pairs = np.where((one > 0) & (other > 0), 3 * one + other, 0).astype(np.uint32)
    parts = components.painted(fortran(pairs), 26)
    for part in range(1, parts.max() + 1):
        where = parts == part
        kept = where.sum() >= least or where[-1].any()
        assert len(np.unique(found[where])) == 1
        assert found[where].all() == kept
        assert not kept or (found == found[where][0]).sum() == where.sum()
    assert not found[parts == 0].any()
    assert np.array_equal(np.unique(found[found > 0]), np.arange(1, found.max() + 1))


@settings(max_examples=60)
@given(shapes, st.integers(0, 10**6))
def test_parts_agree_by_more_than_half_of_both_and_either_way_round(shape: Vec3, seed: int) -> None:
    one = blobs(shape, seed, 2)
    other = np.where(np.random.default_rng(seed).random(shape) < 0.7, one + (one > 0) * 5, blobs(shape, seed + 1, 2))
    other = fortran(other.astype(np.uint32))
    expected = set()
    a, b = components.painted(one, 26), components.painted(other, 26)
    for i, j in itertools.product(range(1, a.max() + 1), range(1, b.max() + 1)):
        common = ((a == i) & (b == j)).sum()
        if 2 * common > (a == i).sum() and 2 * common > (b == j).sum():
            expected.add((int(one[a == i][0]), int(other[b == j][0])))
    found = flooding.agreeing(one, other)
    assert [tuple(pair) for pair in found.tolist()] == sorted(expected)
    assert {(j, i) for i, j in flooding.agreeing(other, one).tolist()} == expected


@given(shapes, st.integers(0, 10**6))
def test_runs_and_first_voxels_tell_all_of_a_block(shape: Vec3, seed: int) -> None:
    labels = blobs(shape, seed)
    lengths, ids = flooding.runs(labels)
    flat = labels.ravel(order="F")
    assert np.array_equal(np.repeat(ids, lengths), flat)
    assert (ids[1:] != ids[:-1]).all()
    names, first, sizes = flooding.firsts(labels)
    expected = [(v, int(np.flatnonzero(flat == v)[0]), int((flat == v).sum())) for v in np.unique(flat) if v]
    assert list(zip(names.tolist(), first.tolist(), sizes.tolist(), strict=True)) == expected
