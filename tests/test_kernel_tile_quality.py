"""Figures of pictures, against plain arithmetic on all their values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter

from igneous_ng.kernels import tile_quality as quality
from tests.tiles import texture

Array = npt.NDArray[Any]


def picture(rows: Array) -> Array:
    """``[y, x]`` or ``[channel, y, x]`` as pictures are."""
    return np.ascontiguousarray(rows if rows.ndim == 3 else rows[np.newaxis]).T


@given(
    hnp.arrays(
        st.sampled_from(["uint8", "uint16", "int16", "int8", "uint32", "float32", "float64"]).map(np.dtype),
        hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9),
        elements=st.integers(0, 100),
    )
)
def test_levels_are_those_of_all_values(planes: Array) -> None:
    found = quality.levels(picture(planes))
    values = np.sort(planes.ravel().astype(float))
    assert found is not None
    places = [values[percent * (values.size - 1) // 100] for percent in (1, 50, 99)]
    assert (found.min, found.max, [found.p1, found.p50, found.p99]) == (values[0], values[-1], places)
    assert found.mean == pytest.approx(values.mean())
    assert found.std == pytest.approx(values.std(), abs=1e-9)
    assert (found.dark, found.bright) == ((values == values[0]).mean(), (values == values[-1]).mean())


def test_levels_of_negative_integers() -> None:
    found = quality.levels(picture(np.array([[-5, -3, 7]], "int16")))
    assert found is not None
    assert (found.min, found.p50, found.max) == (-5, -3, 7)
    assert found.mean == pytest.approx(-1 / 3)


def test_what_is_no_number_does_not_count() -> None:
    found = quality.levels(picture(np.array([[1.0, np.nan, np.inf, 3.0]])))
    assert found is not None
    assert (found.min, found.max, found.mean) == (1, 3, 2)
    assert quality.levels(picture(np.full((2, 2), np.nan))) is None


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_the_factor_of_a_thumbnail_is_the_largest(width: int, height: int) -> None:
    factor = quality.thumbnail_factor(width, height)
    fits = [f for f in (1, 2, 4, 8, 16, 32) if min(width, height) >= 32 * f]
    assert factor == max(fits, default=1)


@given(
    hnp.arrays(
        st.sampled_from(["uint8", "uint16", "int16", "float32"]).map(np.dtype),
        hnp.array_shapes(min_dims=3, max_dims=3, min_side=4, max_side=20),
        elements=st.integers(0, 127),
    ),
    st.sampled_from([1, 2, 4]),
)
def test_thumbnails_are_means_of_whole_cells(planes: Array, factor: int) -> None:
    thumb = quality.thumbnail(picture(planes), factor)
    depth, height, width = planes.shape
    assert thumb.shape == (width // factor, height // factor, depth)
    assert thumb.dtype == np.float32
    for x in range(thumb.shape[0]):
        for y in range(thumb.shape[1]):
            cell = planes[:, y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
            assert np.allclose(thumb[x, y], cell.mean(axis=(1, 2)), rtol=1e-6)


shapes = st.tuples(st.integers(1, 2), st.integers(1, 12), st.integers(1, 5))
rows_of_few = hnp.arrays(np.uint8, shapes, elements=st.integers(0, 1))


@given(rows_of_few)
def test_still_rows_are_the_longest_run(planes: Array) -> None:
    still = [
        all(len(set(plane[y].tolist())) == 1 for plane in planes)
        or bool(y and (planes[:, y] == planes[:, y - 1]).all())
        for y in range(planes.shape[1])
    ]
    runs = [
        (start, stop) for start in range(len(still)) for stop in range(start, len(still) + 1) if all(still[start:stop])
    ]
    length = max(stop - start for start, stop in runs)
    first = min(start for start, stop in runs if stop - start == length) if length else 0
    assert quality.still_rows(picture(planes)) == (first, length)


def test_a_row_that_differs_anywhere_is_not_still() -> None:
    rows = np.zeros((40, 1000), np.uint8)
    rows[20, 7] = 1  # where no probe looks
    assert quality.still_rows(picture(rows)) == (0, 20)
    rows[9, 7] = 1
    assert quality.still_rows(picture(rows)) == (21, 19)


def test_focus_falls_with_blur_whatever_the_noise_light_and_contrast() -> None:
    rng = np.random.default_rng(0)
    whole = gaussian_filter(rng.normal(size=(512, 512)), 1.2) * 60

    def measured(blur: float, gain: float = 1.0, noise: float = 2.0) -> float:
        rows = 128 + gain * (gaussian_filter(whole, blur) + rng.normal(0, noise, whole.shape))
        found = quality.focus(picture(np.clip(rows, 0, 255).astype(np.uint8)))
        assert found is not None
        return found

    sharp = measured(0)
    assert measured(0, gain=0.6) == pytest.approx(sharp, rel=0.1)
    assert measured(0, noise=6) == pytest.approx(sharp, rel=0.2)
    assert sharp > 1.5 * measured(1) > 3 * measured(2) > 6 * measured(4) > 0


def test_noise_alone_has_no_focus() -> None:
    rng = np.random.default_rng(0)
    assert quality.focus(picture(rng.integers(0, 255, (512, 512), np.uint8))) is None
    assert quality.focus(picture(np.zeros((512, 512), np.uint8))) is None
    assert quality.focus(picture(np.full((512, 512), np.nan))) is None
    assert quality.focus(picture(np.ones((3, 3), np.uint8))) is None


def test_hashes_stay_with_light_and_noise_and_differ_between_pictures() -> None:
    rng = np.random.default_rng(0)
    rows = [texture((256, 256), seed) for seed in range(20)]

    def hashed(one: Array) -> int:
        return quality.perceptual_hash(quality.thumbnail(picture(one), 8))

    assert hashed(rows[0]) < 1 << 64
    changed = np.clip(rows[0] * 0.8 + 20 + rng.normal(0, 4, rows[0].shape), 0, 255).astype(np.uint8)
    assert (hashed(rows[0]) ^ hashed(changed)).bit_count() <= 3
    apart = [(hashed(a) ^ hashed(b)).bit_count() for n, a in enumerate(rows) for b in rows[:n]]
    assert min(apart) > 8


@pytest.mark.parametrize("depth", [1, 3, 8, 9])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16"])
def test_focus_of_extreme_values_is_exact(depth: int, dtype: str) -> None:
    limits = np.iinfo(dtype)
    dots = (np.indices((256, 256)) // 2).sum(axis=0) % 2 == 0  # as steep as can be, and the same in both halves
    rows = np.where(dots, limits.min, limits.max).astype(dtype)
    planes = np.stack([rows] * depth)
    found = quality.focus(picture(planes))
    assert found is not None
    assert found == quality.focus(picture(planes.astype(np.float64)))
