from __future__ import annotations

import numpy as np
import pytest

from igneous_ng.kernels import block_matching as matching
from igneous_ng.kernels import flow_cleaning as cleaning
from igneous_ng.kernels.block_matching import Manner, Picture, Status, Vectors, matched
from igneous_ng.native import blocks
from tests.montages import scenery

LOW, HIGH = (3, 4), (11, 10)
SEARCHED = Manner(40, 120, 40)
NEAR = Manner(40, 120, 12)
PATTERN = scenery((640, 640)).astype(np.float64)


def moved(picture: np.ndarray, by: tuple[float, float]) -> np.ndarray:
    """What lies at r lies at r + by then, exactly, round the edges."""
    x, y = (np.fft.fftfreq(n) for n in picture.shape)
    turn = np.exp(-2j * np.pi * (x[:, None] * by[0] + y[None] * by[1]))
    return np.asarray(np.fft.ifft2(np.fft.fft2(picture) * turn).real)


def cut(picture: np.ndarray, manner: Manner, reach: int = 0, mask: np.ndarray | None = None) -> Picture:
    """What the nodes LOW to HIGH see of a picture, and so many pixels around."""
    x0, y0, x1, y1 = manner.window(LOW, HIGH, reach + manner.halo)
    values = np.asfortranarray(picture[x0:x1, y0:y1], np.float32)
    tissue = np.ones(values.shape, bool) if mask is None else mask[x0:x1, y0:y1]
    return Picture.of(values, tissue, manner)


def compared(
    a: np.ndarray, b: np.ndarray, manner: Manner, masks: tuple[np.ndarray | None, ...] = (None, None)
) -> Vectors:
    wanted = np.ones((HIGH[0] - LOW[0], HIGH[1] - LOW[1]), bool)
    return matched(cut(a, manner, 0, masks[0]), cut(b, manner, manner.search, masks[1]), wanted, manner)


@pytest.mark.parametrize(("manner", "by", "off"), [
    (SEARCHED, (31.0, -26.0), 0.03), (SEARCHED, (-7.3, 12.4), 0.03), (SEARCHED, (0.5, 0.25), 0.03),
    (NEAR, (3.0, -4.0), 0.005), (NEAR, (-0.3, 1.4), 0.015), (NEAR, (0.5, 0.75), 0.015),
])  # fmt: skip
def test_shifts_are_found_to_a_part_of_a_pixel(manner: Manner, by: tuple[float, float], off: float) -> None:
    found = compared(PATTERN, moved(PATTERN, by), manner)
    assert (found.status == Status.GOOD).all()
    assert np.abs(found.shift - by).max() < off
    assert found.peak.min() > 0.97


def test_gain_offset_and_shading_do_not_matter() -> None:
    shaded = 0.6 * moved(PATTERN, (2.25, -5.5)) + np.linspace(0, 90, 640)[:, None] + 30
    found = compared(PATTERN, shaded, NEAR)
    assert (found.status == Status.GOOD).all()
    assert np.abs(found.shift - (2.25, -5.5)).max() < 0.02
    opposite = compared(PATTERN, -shaded, NEAR)
    assert not (opposite.status == Status.GOOD).any()


def test_sigma_tells_how_far_shifts_are_off() -> None:
    rng = np.random.default_rng(5)
    noises = [moved(scenery((640, 640), seed).astype(float), (0, 0)) for seed in (7, 8)]
    errors, sigmas = [], []
    for share in (0.5, 1.0):
        a, b = (PATTERN + share * noise + rng.normal(0, 5, PATTERN.shape) for noise in noises)
        found = compared(a, b, SEARCHED)
        good = found.status == Status.GOOD
        assert good.mean() > 0.8
        errors.append(np.sqrt((found.shift[good] ** 2).mean()))
        sigmas.append(np.sqrt((found.sigma[good] ** 2).mean()))
    assert errors[1] > errors[0]
    assert (np.array(errors) / sigmas > 0.5).all()
    assert (np.array(errors) / sigmas < 2).all()


def test_correlation_is_that_of_weighted_pixels_that_both_have() -> None:
    rng = np.random.default_rng(0)
    manner = Manner(16, 48, 20)
    width = np.array((32, 40))  # of 2 x 3 nodes
    a = Picture(rng.normal(size=width).astype(np.float32), rng.random(width) > 0.2)
    b = Picture(rng.normal(size=width + 20).astype(np.float32), rng.random(width + 20) > 0.1)
    wanted = np.zeros((2, 3), bool)
    wanted[1, 2] = wanted[0, 1] = True
    surfaces = matching.correlated(a, b, wanted, manner)
    weights = np.repeat(manner.weights.astype(float), manner.side)
    for n, (i, j) in enumerate([(0, 1), (1, 2)]):
        part = slice(8 * i, 8 * i + 24), slice(8 * j, 8 * j + 24)
        for dx, dy in ((-10, 10), (0, 0), (3, -7)):
            there = tuple(slice(one.start + 10 + d, one.stop + 10 + d) for one, d in zip(part, (dx, dy), strict=True))
            w = np.outer(weights, weights) * a.tissue[part] * b.tissue[there]
            u, v = (x - (w * x).sum() / w.sum() for x in (a.values[part].astype(float), b.values[there].astype(float)))
            truth = (w * u * v).sum() / np.sqrt((w * u * u).sum() * (w * v * v).sum())
            assert surfaces[n, dy + 10, dx + 10] == pytest.approx(truth, abs=2e-6)


def test_a_vector_is_the_same_to_the_last_bit_whatever_is_asked_for_with_it() -> None:
    rng = np.random.default_rng(3)
    mask = np.ones(PATTERN.shape, bool)
    mask[260:300, 200:420] = False
    other = moved(PATTERN, (4.2, 9.7)) + rng.normal(0, 20, PATTERN.shape)
    a, b = cut(PATTERN, SEARCHED, 0, mask), cut(other, SEARCHED, 40, mask)
    whole = matched(a, b, np.ones((8, 6), bool), SEARCHED)
    for i, j, n, m in ((0, 0, 1, 1), (3, 2, 2, 3), (7, 5, 1, 1), (2, 0, 4, 6)):
        size = [(k - 1) * 20 + 60 for k in (n, m)]
        own = a.cut(20 * i, 20 * j, size[0], size[1])
        far = b.cut(20 * i, 20 * j, size[0] + 40, size[1] + 40)
        some = rng.random((n, m)) < 0.7
        some[0, 0] = True
        part = matched(own, far, some, SEARCHED)
        for key, values in vars(part).items():
            assert np.array_equal(values[some], getattr(whole, key)[i : i + n, j : j + m][some], equal_nan=True), key
        assert (part.status[~some] == Status.NOTHING).all()


def test_masked_pixels_change_nothing() -> None:
    mask = np.ones(PATTERN.shape, bool)
    mask[300:340, :330] = False
    other = moved(PATTERN, (-6.0, 4.5))
    garbage = np.random.default_rng(1).normal(100, 300, PATTERN.shape)
    plain = compared(PATTERN, other, SEARCHED, (mask, mask))
    spoilt = compared(np.where(mask, PATTERN, garbage), np.where(mask, other, garbage), SEARCHED, (mask, mask))
    for key, values in vars(plain).items():
        assert np.array_equal(values, getattr(spoilt, key), equal_nan=True), key
    good = plain.status == Status.GOOD
    assert good.mean() > 0.85
    assert np.abs(plain.shift[good] - (-6.0, 4.5)).max() < 0.2


def test_where_there_is_nothing_nothing_is_found() -> None:
    mask = np.ones(PATTERN.shape, bool)
    mask[:330] = False
    found = compared(PATTERN, PATTERN, NEAR, (mask, None))
    nodes = (np.arange(*np.array((LOW[0], HIGH[0]))) + 0.5) * 40
    assert (found.status[nodes < 300] == Status.NOTHING).all()
    assert np.isnan(found.shift[nodes < 300]).all()
    assert np.isnan(found.sigma[nodes < 300]).all()
    assert (found.status[nodes > 350] == Status.GOOD).all()
    share = matching.tissue(cut(PATTERN, NEAR, 0, mask), NEAR)
    assert (share[nodes < 270] == 0).all()
    assert share[nodes > 400] == pytest.approx(1)


@pytest.mark.parametrize("manner", [SEARCHED, NEAR])
def test_constants_and_noise_are_not_good(manner: Manner) -> None:
    flat = np.full(PATTERN.shape, 128.0)
    assert not (compared(flat, flat, manner).status == Status.GOOD).any()
    assert not (compared(flat, PATTERN, manner).status == Status.GOOD).any()
    rng = np.random.default_rng(11)
    for _ in range(3):
        a, b = (rng.normal(128, 20, PATTERN.shape) for _ in range(2))
        found = compared(a, b, manner)
        alike = np.pad(found.status == Status.GOOD, 1)
        seen = np.pad(found.status != Status.NOTHING, 1)
        unlike = cleaning.unlike(np.pad(found.shift, ((1, 1), (1, 1), (0, 0))), alike, seen)
        assert not ((found.status == Status.GOOD) & ~unlike).any()


def test_what_lies_farther_than_the_search_is_at_its_end() -> None:
    found = compared(PATTERN, moved(PATTERN, (12.4, 0)), NEAR)
    assert (found.status == Status.EDGE).all()
    assert not (compared(PATTERN, moved(PATTERN, (25, 0)), NEAR).status == Status.GOOD).any()


def test_vectors_unlike_their_neighbours_are_told() -> None:
    shift = np.zeros((9, 8, 2))
    shift[..., 0] = 2.0 * np.arange(9)[:, None]  # a stretch is none
    good, seen = np.ones((9, 8), bool), np.ones((9, 8), bool)
    shift[4, 3] += 20
    good[1, 1] = False
    expected = np.zeros((7, 6), bool)
    expected[3, 2] = True
    assert np.array_equal(cleaning.unlike(shift, good, seen), expected)
    alone = np.zeros((9, 8), bool)
    alone[4, 3] = True
    assert cleaning.unlike(shift, alone, seen)[3, 2]
    assert not cleaning.unlike(shift, alone, alone)[3, 2]


def test_kernels_refuse_pictures_of_other_sizes() -> None:
    one = np.ones((60, 60), np.float32)
    with pytest.raises(ValueError, match="not of the size"):
        blocks.correlated(one, one > 0, one, one > 0, np.ones((1, 1), bool), SEARCHED.weights, (10, 20, 0.4))
    with pytest.raises(ValueError, match="expected surfaces"):
        blocks.peaks(np.zeros((1, 4, 4), np.float32), 2)
    with pytest.raises(ValueError, match="how sums go"):
        blocks.smoothed(one, np.ones(4, np.float32), 0, 0)
