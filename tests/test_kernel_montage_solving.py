"""Truths are found again from their matches; what is wrong is dropped, and what does not connect is told."""

from __future__ import annotations

import numpy as np
import pytest

from igneous_ng import solutions
from igneous_ng.kernels import montage_solving
from igneous_ng.kernels.montage_solving import Solved
from igneous_ng.kernels.tile_frames import length
from tests.mosaics import Mosaic, fitted, mosaic

ROUNDED = 2 * solutions.STEP


def solve(one: Mosaic, model: montage_solving.Wish = "auto", lens: bool = True) -> Solved:
    return montage_solving.solve(one.tiles, one.links, model, lens)


def wrong(solved: Solved, one: Mosaic, turn: bool = True) -> np.ndarray:
    """Pixels by which stored maps miss the truth, but for where the whole section lies."""
    return fitted([solutions.rounded(m) for m in solved.maps], one.truth, turn)


def apart(solved: Solved, one: Mosaic) -> np.ndarray:
    """How far stored maps put the points of links from each other."""
    maps, links = [solutions.rounded(m) for m in solved.maps], one.links
    found = [
        length(maps[i](links.p[links.of == n]) - maps[j](links.q[links.of == n]))
        for n, (i, j) in enumerate(links.pair.tolist())
    ]
    return np.concatenate(found)


@pytest.mark.parametrize(("kind", "model"), [("translation", "translation"), ("rigid", "rigid"), ("affine", "affine")])
def test_each_model_is_chosen_and_found(kind: str, model: str) -> None:
    one = mosaic(6, 7, kind)
    solved = solve(one)
    assert solved.model == model
    assert apart(solved, one).max() < 2 * ROUNDED
    if kind != "affine":  # what all tiles do together, beyond turning, no link tells
        assert wrong(solved, one).max() < ROUNDED


def test_a_lens_is_found() -> None:
    one = mosaic(5, 5, "lens", seed=3)
    solved = solve(one)
    assert solved.model == "translation and lens"
    assert wrong(solved, one).max() < 4 * ROUNDED
    assert apart(solved, one).max() < 2 * ROUNDED
    without = solve(one, "affine", lens=False)
    assert not without.lenses
    assert np.median(apart(without, one)) > 0.1


def test_no_lens_is_found_where_there_is_none() -> None:
    for kind in ("translation", "affine"):
        assert not solve(mosaic(5, 5, kind, noise=0.3)).lenses


def test_elastic_tiles_are_found() -> None:
    one = mosaic(4, 5, "elastic", each=60)
    solved = solve(one, lens=False)
    assert solved.model == "elastic"
    assert np.percentile(apart(solved, one), 95) < 0.2
    assert np.percentile(apart(solve(one, "affine", False), one), 95) > 1.5


@pytest.mark.parametrize("model", ["translation", "rigid"])
def test_noise_becomes_as_small_as_it_can(model: montage_solving.Wish) -> None:
    """Against the covariance of least squares of the same lattice, of which the robust fit reaches 95 %."""
    noise, errors = 0.5, []
    for seed in range(4):
        one = mosaic(6, 6, "translation", noise, seed)
        errors.append(wrong(solve(one, model, lens=False), one, model != "translation"))
    if model == "translation":
        links = one.links
        laplace = np.zeros((36, 36))
        for i, j in links.pair.tolist():
            laplace[[i, j], [i, j]] += 30
            laplace[i, j] = laplace[j, i] = -30
        expected = noise * np.sqrt(2 * np.trace(np.linalg.pinv(laplace)) / 36)
        found = np.sqrt(np.mean(np.square(errors)))
        assert 0.8 * expected < found < 1.25 * expected
    assert max(e.max() for e in errors) < 0.5


@pytest.mark.parametrize(("by", "most"), [(200.0, 0), (40.0, 1), (8.0, 10)])
def test_wrong_links_are_dropped_and_right_ones_are_not(by: float, most: int) -> None:
    """Of about 120 wrong links in five sections; where half the links of a tile are wrong, no one can tell which."""
    missed = lost = hidden = 0
    for seed in range(10, 15):
        one, bad = mosaic(12, 12, noise=0.2, seed=seed).wrong(0.1, by, seed)
        solved = solve(one, "translation", lens=False)
        missed += int((solved.kept & bad).sum())
        hidden += int((solved.kept & bad & ~solved.doubtful).sum())
        lost += int((~solved.kept & ~bad).sum())
    assert missed <= most
    assert lost <= most
    assert hidden <= most / 2


@pytest.mark.parametrize("by", [200.0, 8.0])
@pytest.mark.parametrize("kind", ["translation", "rigid", "affine"])
def test_single_wrong_links_are_dropped_and_no_others(kind: str, by: float) -> None:
    """One link in thirty, each far from the others and the rim; tiles of different kinds."""
    one = mosaic(13, 13, kind, 0.2)
    row, col = np.divmod(one.matches["pair"], 13)
    alone = (row[:, 0] % 4 == 2) & (col[:, 0] % 4 == 1) & (row[:, 1] == row[:, 0])
    bad, moved = one.moved(alone, by)
    solved = solve(bad, lens=False)
    assert moved.sum() == 9
    assert np.array_equal(solved.kept, ~moved)
    assert solved.model == kind


def test_what_cannot_be_told_is_doubtful() -> None:
    """A corner tile of which one of two links is wrong."""
    one, _ = mosaic(4, 4).moved(np.arange(24) == 0, 12.0)
    solved = solve(one, "translation")
    assert (~solved.kept).sum() == 1
    assert solved.doubtful.sum() == 1
    assert set(np.flatnonzero(solved.doubtful | ~solved.kept).tolist()) <= {0, 1, 2, 5}


def test_two_components_stay_with_the_stage() -> None:
    one = mosaic(4, 9)
    cut = one.without(lambda pair: (pair[:, 0] % 9 == 4) & (pair[:, 1] == pair[:, 0] + 1))
    solved = solve(cut)
    assert np.bincount(solved.component).tolist() == [20, 16]
    column = np.arange(36) % 9
    assert (solved.component == (column > 4)).all()
    for part in (0, 1):
        mine = np.flatnonzero(solved.component == part)
        assert fitted([solved.maps[n] for n in mine], [one.truth[n] for n in mine], False).max() < ROUNDED
    main = solved.component == 0
    off = solved.coef[:, 0] - one.tiles.start[:, 0]
    assert np.abs(off[main].mean(axis=0)).max() < 1e-6
    near = [n for n in range(36) if column[n] == 4]
    assert np.abs(off[~main].mean(axis=0) - off[near].mean(axis=0)).max() < 12


def test_a_tile_without_links_moves_as_its_neighbours() -> None:
    one = mosaic(5, 5).without(lambda pair: (pair == 12).any(axis=1), status=1)
    solved = solve(one)
    assert solved.component[12] == 1
    assert (np.delete(solved.component, 12) == 0).all()
    off = solved.coef[:, 0] - one.tiles.start[:, 0]
    assert np.allclose(off[12], off[[7, 11, 13, 17]].mean(axis=0), atol=1e-9)


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 4)])
def test_without_links_all_stay(rows: int, cols: int) -> None:
    one = mosaic(rows, cols).without(lambda pair: np.ones(len(pair), bool), status=1)
    solved = solve(one)
    assert np.allclose(solved.coef, one.tiles.start)
    assert sorted(solved.component.tolist()) == list(range(rows * cols))
