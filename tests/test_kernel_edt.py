from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from igneous_ng.native import edt

Array = npt.NDArray[Any]
SHAPES = st.tuples(*[st.integers(1, 7)] * 3)
SIDES = st.tuples(*[st.sampled_from([1.0, 4.0, 6.5, 40.0])] * 3)


def nearest_other(labels: Array, sides: tuple[float, float, float], border: bool) -> Array:
    """Each voxel against each voxel of another label."""
    block = np.pad(labels.astype(np.int64), 1, constant_values=-1) if border else labels.astype(np.int64)
    points = np.indices(block.shape).reshape(3, -1).T * np.array(sides)
    values = block.ravel()
    away = np.linalg.norm(points[:, None] - points[None], axis=2)
    away[values[:, None] == values[None]] = np.inf
    found = np.where(values > 0, away.min(axis=1), 0).reshape(block.shape)
    return found[1:-1, 1:-1, 1:-1] if border else found


@given(hnp.arrays(np.uint32, SHAPES, elements=st.integers(0, 3)), SIDES, st.booleans())
def test_distances_are_those_to_the_nearest_voxel_of_another_label(
    labels: Array, sides: tuple[float, float, float], border: bool
) -> None:
    got = edt.distances(np.asfortranarray(labels), sides, border)
    # distances across other labels of the same name do not count: only runs of one label are looked along
    assert got.dtype == np.float32
    assert np.allclose(got, nearest_other(labels, sides, border), rtol=1e-6)


def test_a_long_row_is_exact() -> None:
    labels = np.zeros((3000, 1, 1), np.uint32, order="F")
    labels[7:2900] = 5
    x = np.arange(3000)
    expected = np.where((x >= 7) & (x < 2900), np.minimum(x - 6, 2900 - x), 0) * 16.0
    for order in ((0, 1, 2), (1, 0, 2), (1, 2, 0)):
        turned = np.asfortranarray(labels.transpose(order))
        assert np.array_equal(edt.distances(turned, (16.0, 16.0, 16.0), False).ravel(), expected)


def test_what_fills_a_block_has_no_boundary() -> None:
    full = np.ones((3, 4, 5), np.uint32, order="F")
    assert np.isinf(edt.distances(full, (1.0, 1.0, 1.0), False)).all()
    assert edt.distances(full, (1.0, 1.0, 1.0), True).max() == 2


@pytest.mark.parametrize("sides", [(0.0, 1.0, 1.0), (1.0, float("nan"), 1.0)])
def test_voxels_without_a_size_are_refused(sides: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="size"):
        edt.distances(np.ones((2, 2, 2), np.uint32, order="F"), sides, False)
