"""Blocks compared, and what displacements do to a lattice, against exact answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from igneous_ng.kernels import align_quality as quality
from igneous_ng.kernels.correlation import Masked
from tests.montages import scenery

SIDE = 96 + 2 * quality.REACH
WHOLE = scenery((256, 224)).astype(np.float64)


def seen(dx: float, dy: float) -> Masked:
    """A window that shows at p + d what another shows at p."""
    spectrum = ndimage.fourier_shift(np.fft.fft2(WHOLE), (dx, dy))
    part = np.fft.ifft2(spectrum).real[40 : 40 + SIDE, 30 : 30 + SIDE]
    return quality.even(part, np.ones(part.shape, bool))


@given(st.floats(-7, 7), st.floats(-7, 7))
@settings(max_examples=25, deadline=None)
def test_a_shift_is_found_to_a_fraction_of_a_pixel(dx: float, dy: float) -> None:
    found = quality.likeness(seen(0, 0), seen(dx, dy))
    assert found is not None
    assert found.shift == pytest.approx((dx, dy), abs=0.12)
    assert found.best > 0.9
    assert found.gap >= 0


def test_what_lies_right_is_exactly_right_whatever_its_brightness() -> None:
    one = seen(0, 0)
    slope = np.linspace(0, 300, SIDE)[:, np.newaxis]
    part = WHOLE[40 : 40 + SIDE, 30 : 30 + SIDE]
    found = quality.likeness(one, one)
    assert found is not None
    assert found.gap == 0
    assert found.best == pytest.approx(1)
    assert found.shift == pytest.approx((0, 0), abs=0.02)
    bright = quality.likeness(one, quality.even(3 * part + 50 + slope, np.ones(part.shape, bool)))
    assert bright is not None
    assert bright.best > 0.97
    assert bright.gap == 0


def test_too_little_tissue_shows_nothing_and_chance_is_not_alike() -> None:
    one, other = seen(0, 0), seen(2, 0)
    half = np.zeros((SIDE, SIDE), bool)
    half[: SIDE // 2 - 6] = True
    assert quality.likeness(one, quality.even(other.values, half)) is None
    half[: SIDE // 2 + 12] = True
    found = quality.likeness(one, quality.even(other.values, half))
    assert found is not None
    assert found.shift == pytest.approx((2, 0), abs=0.1)
    noise = scenery((SIDE, SIDE), seed=5).astype(np.float64)
    chance = quality.likeness(one, quality.even(noise, np.ones(noise.shape, bool)))
    assert chance is not None
    assert chance.best < 0.3


def test_strain_and_area_of_known_maps() -> None:
    xs, ys = np.meshgrid(np.arange(5) * 40.0, np.arange(4) * 40.0, indexing="ij")
    stretch = quality.cells(np.stack([0.1 * xs, -0.05 * ys], axis=-1), 40)
    assert np.allclose(stretch.strain, 0.1)
    assert np.allclose(stretch.least, 1.1 * 0.95)
    turn = quality.cells(np.stack([-0.02 * ys, 0.02 * xs], axis=-1), 40)
    assert np.allclose(turn.strain, 0)
    shear = quality.cells(np.stack([0.2 * ys, 0 * xs], axis=-1), 40)
    assert np.allclose(shear.strain, 0.1)
    assert np.allclose(shear.most, 1)
    jump = np.zeros((5, 4, 2))
    jump[2, 1, 0] = 60  # past its neighbour to the right
    folded = quality.cells(jump, 40)
    assert np.argwhere(folded.least <= 0).tolist() == [[2, 0], [2, 1]]
    assert folded.least.min() == -0.5
    assert folded.most.max() == 2.5


def test_a_bilinear_cell_is_folded_somewhere_if_it_is_at_a_corner() -> None:
    rng = np.random.default_rng(0)
    field = rng.normal(size=(30, 20, 2)) * 12
    found = quality.cells(field, 40.0)
    share = np.linspace(0, 1, 9)
    fx, fy = np.meshgrid(share, share, indexing="ij")
    for i, j in np.ndindex(29, 19):
        a, b, c, d = (field[i + k, j + m] for k, m in ((0, 0), (1, 0), (0, 1), (1, 1)))
        u = ((b - a) * (1 - fy[..., None]) + (d - c) * fy[..., None]) / 40
        v = ((c - a) * (1 - fx[..., None]) + (d - b) * fx[..., None]) / 40
        area = (1 + u[..., 0]) * (1 + v[..., 1]) - u[..., 1] * v[..., 0]
        assert (found.least[i, j], found.most[i, j]) == pytest.approx((area.min(), area.max()))
        mean = np.stack([u.mean(axis=(0, 1)), v.mean(axis=(0, 1))])
        assert found.strain[i, j] == pytest.approx(np.abs(np.linalg.eigvalsh((mean + mean.T) / 2)).max())


def test_short_waves_are_what_the_mean_of_nine_nodes_leaves() -> None:
    field = np.random.default_rng(1).normal(size=(8, 7, 2))
    mean = ndimage.uniform_filter(field, (3, 3, 1))
    assert np.allclose(quality.rough(field), (field - mean)[1:-1, 1:-1])
    assert quality.rough(field[:2]).size == 0
    plane = np.stack(np.meshgrid(np.arange(8.0), np.arange(7.0), indexing="ij"), axis=-1)
    assert np.allclose(quality.rough(plane), 0)


def test_motion_is_the_mean_displacement_and_the_turn_of_least_squares() -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform(-500, 300, (200, 2))
    moved = np.array([3.0, -2.0]) + 0.01 * np.stack([-points[:, 1], points[:, 0]], axis=-1)
    motion = quality.Motion()
    assert motion.found() is None
    motion.add(points[:80], moved[:80])
    motion.add(points[80:], moved[80:])
    assert motion.found() == pytest.approx((*moved.mean(axis=0), 0.01))
