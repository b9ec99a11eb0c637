"""Voxels of each label, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.geometry import Vec3
from igneous_ng.native.labels import count


@given(
    shape=st.tuples(*[st.integers(1, 30)] * 3),
    dtype=st.sampled_from(("uint8", "uint16", "uint32", "uint64")),
    most=st.sampled_from((1, 3, 1000, 10**6)),
    order=st.sampled_from("CF"),
    turned=st.booleans(),
    seed=st.integers(0, 99),
)
def test_counts_are_those_of_numpy(shape: Vec3, dtype: str, most: int, order: Any, turned: bool, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, most, shape).astype(dtype, order=order)
    array = np.iinfo(dtype).max - array
    part = array[::-1, :, ::2] if turned else array
    labels, counts = count(part)
    expected, numbers = np.unique(part, return_counts=True)
    assert labels.dtype == array.dtype
    assert np.array_equal(labels, expected)
    assert np.array_equal(counts, numbers)


def test_only_integers_of_three_axes_are_counted() -> None:
    with pytest.raises(ValueError, match=r"\[x, y, z\]"):
        count(np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="1, 2, 4 or 8 bytes"):
        count(np.zeros((2, 2, 2), np.complex128))
