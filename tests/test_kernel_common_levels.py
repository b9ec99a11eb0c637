"""How bright two tiles are where they overlap: the same place, to a fraction of a pixel, and little noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.kernels.common_levels import NOTHING, levels
from igneous_ng.kernels.views import View
from tests.planted import texture

Array = npt.NDArray[Any]
SIZE = 90, 80


def ramp(x: float, y: float) -> Array:
    """A tile that lies at (x, y) of a plane."""
    i, j = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]), indexing="ij")
    return np.asarray((i + x) + 2 * (j + y), np.float32)


@settings(deadline=None, max_examples=40)
@given(x=st.floats(-70, 70), y=st.floats(-60, 60))
def test_means_are_of_one_place_to_a_fraction_of_a_pixel(x: float, y: float) -> None:
    found = levels(View(ramp(0, 0)), View(ramp(x, y)), (x, y))
    assert abs(found.mean[0] - found.mean[1]) < 0.05  # whole pixels: up to 1.5
    assert found.spread[0] == pytest.approx(found.spread[1], rel=1e-4)
    area = (SIZE[0] - abs(x)) * (SIZE[1] - abs(y))
    assert area - SIZE[0] - SIZE[1] < found.area < area + SIZE[0] + SIZE[1]


def test_gain_and_offset_are_told_where_the_second_tile_is_turned() -> None:
    scene = texture((120, 120), 1).astype(np.float32)
    turned = View(np.ascontiguousarray(0.5 * scene.T + 9), None, np.array([[0.0, 1.0], [1.0, 0.0]]))
    found = levels(View(scene[20:]), turned, (-20.0, 0.0))
    assert found.mean[1] == pytest.approx(0.5 * found.mean[0] + 9, rel=1e-5)
    assert found.spread[1] == pytest.approx(0.5 * found.spread[0], rel=1e-5)
    assert found.area == 100 * 120


def test_another_exposure_changes_spreads_by_little() -> None:
    rng, scene = np.random.default_rng(0), texture((40, 256), 2)
    spreads = [levels(View(scene + rng.normal(0, 6, scene.shape)), View(scene), (0.0, 0.0)).spread for _ in range(50)]
    ratios = np.log([one / other for one, other in spreads])
    assert ratios.std() < 0.005  # of 640 cells; percentiles: 0.011
    assert abs(ratios.mean()) < 0.005


def test_what_does_not_overlap_has_no_levels() -> None:
    assert levels(View(ramp(0, 0)), View(ramp(0, 0)), (200.0, 0.0)) is NOTHING
