"""All maps of a stack from links between sections: exact ones exactly, wrong ones found, long stacks without loss."""

from __future__ import annotations

import numpy as np
import pytest

from igneous_ng.kernels import stack_gauge, stack_links, stack_order, stack_solving
from igneous_ng.kernels.affine import Affine, fit_affine, fit_similarity, polar
from igneous_ng.kernels.stack_links import Laid, Links

Pair = tuple[int, int]


def maps(count: int, seed: int = 0) -> list[Affine]:
    """Random maps: a little turned, stretched and moved."""
    rng = np.random.default_rng(seed)
    made = []
    for angle, strain, shift in zip(
        rng.uniform(-0.1, 0.1, count), rng.normal(0, 0.01, (count, 2, 2)), rng.normal(0, 0.1, (count, 2)), strict=True
    ):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        made.append(Affine(turn + strain, shift))
    return made


def linked(
    truth: list[Affine], pairs: list[Pair], noise: float = 0.0, wrong: dict[Pair, Affine] | None = None
) -> Links:
    """What links would say if these were the maps; ``wrong`` ones say something else."""
    rng = np.random.default_rng(1)
    rows, sums = [], []
    for a, b in pairs:
        p = rng.uniform(-0.7, 0.7, (30, 2))
        q = truth[b].inverse(truth[a](p)) + rng.normal(0, noise, (30, 2)) if noise else truth[b].inverse(truth[a](p))
        if wrong and (a, b) in wrong:
            q = wrong[a, b](q)
        rows.append(fit_affine(p, q, np.ones(30)))
        u = np.column_stack([p, np.ones(30)])
        sums.append(u.T @ u / 30)
    both = np.array(pairs)
    return Links(both[:, 0], both[:, 1], np.array([one.matrix for one in rows]), np.array([one.shift for one in rows]),
                 np.zeros(len(pairs), bool), np.ones(len(pairs)), np.array(sums))  # fmt: skip


def near(count: int, distances: tuple[int, ...] = (1, 2, 3)) -> list[Pair]:
    return [(z, z - k) for z in range(count) for k in distances if z >= k]


def solved(links: Links, count: int, held: dict[int, Affine] | None = None) -> stack_solving.Solved:
    fixed = {n: (one.matrix, one.shift, False) for n, one in (held or {}).items()}
    good, bad = stack_links.loops(links, 0.05)
    order = np.lexsort((np.abs(links.a - links.b), bad > good))
    laid = stack_links.joined(count, links, order, fixed)
    return stack_solving.solve(links, laid, np.array([n in fixed for n in range(count)]), 1e-4)


def off(found: stack_solving.Solved, truth: list[Affine], pairs: list[Pair]) -> np.ndarray:
    """How far apart corners of pairs lie that are to lie on each other."""
    corners = np.array([[0.7, 0.7], [-0.7, 0.7], [0.7, -0.7], [-0.7, -0.7]])
    own = [Affine(*one) for one in zip(found.matrix, found.shift, strict=True)]
    return np.array([np.abs(own[a](corners) - own[b](truth[b].inverse(truth[a](corners)))).max() for a, b in pairs])


def test_exact_links_give_exact_neighbours() -> None:
    truth, pairs = maps(30), near(30)
    found = solved(linked(truth, pairs), 30)
    assert off(found, truth, near(30, (1,))).max() < 1e-4
    assert found.residual.max() < 1e-4


def test_sections_that_are_held_stay_and_the_others_follow_them() -> None:
    truth = maps(12)
    held = {n: truth[n] for n in (0, 5, 11)}
    found = solved(linked(truth, near(12)), 12, held)
    for n, one in held.items():
        assert (found.matrix[n] == one.matrix).all()
        assert (found.shift[n] == one.shift).all()
    assert np.abs(found.shift - np.array([one.shift for one in truth])).max() < 1e-3


@pytest.mark.parametrize("pair", [(10, 9), (11, 9), (12, 9)])
def test_a_wrong_link_is_found_and_harms_nothing(pair: Pair) -> None:
    truth, pairs = maps(20), near(20)
    links = linked(truth, pairs, wrong={pair: Affine(np.array([[0.0, -1.0], [1.0, 0.0]]), np.array([0.3, 0.1]))})
    good, bad = stack_links.loops(links, 0.05)
    assert [pairs[n] for n in np.flatnonzero(bad > good)] == [pair]
    found = solved(links, 20)
    assert off(found, truth, near(20, (1,))).max() < 1e-3
    assert found.residual[pairs.index(pair)] > 0.3


def test_a_long_stack_keeps_its_areas() -> None:
    """Noise of 1/1000 of a section in each of 1,500 links: a chain of affine maps would lose or win much area."""
    truth = [Affine(np.eye(2), np.zeros(2))] * 1500
    found = solved(linked(truth, near(1500), noise=0.005), 1500)
    assert np.abs(np.linalg.det(found.matrix) - 1).max() < 0.05
    assert off(found, truth, near(1500, (1,))).max() < 0.01


def test_components_are_kept_and_start_from_their_middle() -> None:
    truth = maps(9)
    pairs = [one for one in near(9) if not one[0] >= 5 > one[1]]
    links = linked(truth, pairs)
    laid: Laid = stack_links.joined(9, links, np.arange(len(pairs)), {})
    assert laid.component.tolist() == [0] * 5 + [1] * 4
    assert (laid.matrix[[2, 7]] == np.eye(2)).all()


def test_the_gauge_is_that_of_most() -> None:
    angle = np.deg2rad([31, 29, 30, 120, 30.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    turn[4] = turn[4] @ np.diag([1, -1])
    shift = np.array([[1, 2], [1, 2], [1, 2], [9, 9], [1, 2.0]])
    after = stack_gauge.gauge(1.1 * turn, shift)
    assert np.allclose(after.matrix @ turn[2] * 1.1, np.eye(2), atol=1e-9)
    assert np.allclose(after(shift[0]), 0)
    mirrored = stack_gauge.gauge(turn @ np.diag([1, -1]), shift)
    assert np.linalg.det(mirrored.matrix) < 0


def test_exchanged_neighbours_are_told_from_bad_ones() -> None:
    def alike(order: list[int], bad: int = -1) -> stack_order.Alike:
        def found(a: int, b: int) -> float | None:
            if a - b > 3:
                return None
            return 0.9 ** abs(order[a] - order[b]) * (0.5 if bad in (a, b) else 1.0)

        return found

    assert stack_order.swapped(8, alike(list(range(8)))) == []
    assert stack_order.swapped(8, alike([0, 1, 3, 2, 4, 6, 5, 7])) == [2, 5]
    assert stack_order.swapped(8, alike(list(range(8)), bad=4)) == []
    assert stack_order.swapped(8, lambda a, b: None if 4 in (a, b) else alike([0, 1, 3, 2, 4, 5, 6, 7])(a, b)) == [2]


def test_fits_and_parts_of_maps() -> None:
    one = maps(1, seed=3)[0]
    p = np.random.default_rng(2).normal(size=(9, 2))
    assert np.allclose(fit_affine(p, one(p), np.ones(9)).matrix, one.matrix)
    stretch, turn = polar(one.matrix)
    assert np.allclose(stretch @ turn, one.matrix)
    assert np.allclose(turn @ turn.T, np.eye(2))
    similar = Affine(2 * turn, one.shift)
    assert np.allclose(fit_similarity(p, similar(p), np.ones(9)).matrix, 2 * turn)
    assert np.allclose(one.after(one.inverse)(p), p)
    line = np.outer(np.arange(5.0), [1, 2])
    assert np.allclose(fit_affine(line, similar(line), np.ones(5)).matrix, 2 * turn)
    small = Affine(one.matrix, np.array([3.0, 1.0]))
    assert np.allclose(small.scaled(4)((p + 0.5) * 4 - 0.5), (small(p) + 0.5) * 4 - 0.5)
