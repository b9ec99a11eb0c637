from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.errors import SpecError
from igneous_ng.formats.sharding import Layout, Spec
from igneous_ng.geometry import vec
from igneous_ng.kernels import locations

SIDES = st.tuples(*[st.integers(1, 40)] * 3)


@given(SIDES)
def test_codes_are_those_of_the_specification_and_come_back(sides: tuple[int, int, int]) -> None:
    shape = vec(sides)
    points = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape, order="F"), axis=1)
    codes = locations.codes(points, shape)
    assert np.array_equal(codes, Layout(Spec(0, 0, 0), shape).keys(points))
    assert len(np.unique(codes)) == len(points)
    assert np.array_equal(locations.points(codes, shape), points)


def test_locations_ascend_are_never_zero_and_leave_room_for_ranks() -> None:
    codes = np.arange(1000, dtype=np.uint64)
    found = locations.locations(codes)
    assert found[0] == locations.RANKS
    assert (np.diff(found) == locations.RANKS).all()
    for rank in (0, 1, 255):
        assert np.array_equal(locations.first(found + np.uint64(rank)), found)
        assert np.array_equal(locations.codes_of(found + np.uint64(rank)), codes)


def test_the_largest_volume_is_the_last() -> None:
    shape = (1 << 19, 1 << 18, 1 << 18)
    last = np.array([[n - 1 for n in shape]])
    assert locations.locations(locations.codes(last, shape))[0] == np.uint64(1 << 63)
    assert np.array_equal(locations.points(locations.codes(last, shape), shape), last)
    with pytest.raises(SpecError, match="56 bits of places; ids hold 55"):
        locations.codes(last, (1 << 19, 1 << 19, 1 << 18))
