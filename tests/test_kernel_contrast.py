"""Contrast in sections: limits are order statistics, medians are those of numpy, tables are exact."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.geometry import Box
from igneous_ng.kernels import contrast

fractions = st.sampled_from([0.0, 0.01, 0.05, 0.25, 0.4, 0.49])
values = st.lists(st.integers(0, 255), max_size=60)


@given(values=values, lower=fractions, upper=fractions, zeros=st.booleans())
def test_limits_are_values_at_ranks(values: list[int], lower: float, upper: float, zeros: bool) -> None:
    array = np.array(values, np.uint8)
    found = contrast.limits(contrast.counts(array), lower, upper, zeros)
    ordered = sorted(v for v in values if zeros or v)
    if not ordered:
        assert found is None
        return
    low = ordered[int(Fraction(lower) * len(ordered))]
    high = ordered[len(ordered) - 1 - int(Fraction(upper) * len(ordered))]
    assert found == ((low, high) if low < high else None)


pairs = st.one_of(st.none(), st.tuples(st.integers(0, 100), st.integers(101, 255)))


@given(found=st.lists(pairs, min_size=1, max_size=9), window=st.sampled_from([1, 3, 5, 99]), data=st.data())
def test_smoothing_is_the_median_of_the_window(found: list[Any], window: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(found) - 1))
    near = [p for i, p in enumerate(found) if abs(i - at) <= window // 2 and p is not None]
    expected = tuple(int(np.floor(np.median([p[side] for p in near]))) for side in (0, 1)) if near else None
    assert contrast.smooth(found, at, window) == expected


@pytest.mark.parametrize(("old", "new"), [("u1", "u1"), ("u2", "u2"), ("u2", "u1"), ("u1", "u2")])
@given(low=st.integers(0, 200), size=st.integers(1, 55))
def test_tables_are_linear_between_the_limits(old: str, new: str, low: int, size: int) -> None:
    table = contrast.table((low, low + size), np.dtype(old), np.dtype(new))
    white = np.iinfo(new).max
    assert table.dtype == np.dtype(new)
    assert table[0] == 0 or low == 0
    assert table[low] == 0
    assert table[low + size] == table[-1] == white
    for value in (low + 1, low + size // 2, low + size - 1):
        exact = Fraction((value - low) * white, size)
        assert table[value] == min(white, max(0, int(exact + Fraction(1, 2))))


def test_without_limits_the_whole_range_is_kept() -> None:
    same = contrast.table(None, np.dtype("u2"), np.dtype("u2"))
    assert np.array_equal(same, np.arange(65536))
    wider = contrast.table(None, np.dtype("u1"), np.dtype("u2"))
    assert np.array_equal(wider, np.arange(256) * 257)


def test_samples_are_repeatable_and_never_none() -> None:
    boxes = [Box((x, y, 0), (x + 1, y + 1, 4)) for y in range(10) for x in range(10)]
    some = contrast.sampled(boxes, 0.1, seed=3)
    assert len(some) == 10
    assert some == contrast.sampled(boxes, 0.1, seed=3)
    assert some != contrast.sampled(boxes, 0.1, seed=4)
    assert some == [box for box in boxes if str(box) in set(map(str, some))]
    assert set(some) == set(contrast.sampled(boxes[::-1], 0.1, seed=3))
    assert len(contrast.sampled(boxes, 1e-9, 0)) == 1
    assert contrast.sampled(boxes, 1.0, 0) == boxes
