from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from igneous_ng.kernels.skeleton_repairs import Block, fill_holes, join_avocados
from igneous_ng.native import holes

Array = npt.NDArray[Any]
CUBES = (1.0, 1.0, 1.0)


@given(hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 9)] * 3), elements=st.sampled_from([0, 1, 1, 7])))
def test_holes_are_what_scipy_fills(mask: Array) -> None:
    expected = ndimage.binary_fill_holes(mask)
    filled = np.asfortranarray(mask)
    filled = filled.copy(order="F")
    count = holes.fill(filled)
    assert np.array_equal(filled, expected)
    assert count == np.count_nonzero(expected) - np.count_nonzero(mask)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1)))
def test_planes_are_filled_as_planes(mask: Array) -> None:
    filled = np.asfortranarray(mask[..., np.newaxis]).copy(order="F")
    holes.fill_plane(filled)
    assert np.array_equal(filled[..., 0], ndimage.binary_fill_holes(mask))


def ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> Array:
    x, y, z = np.ogrid[tuple(map(slice, shape))]
    away = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
    where: Array = away < radius**2
    return where


def test_what_lies_in_a_hole_becomes_part_of_the_object() -> None:
    components = np.zeros((30, 30, 30), np.uint32, order="F")
    components[ball(components.shape, (15, 15, 15), 10)] = 2
    components[ball(components.shape, (15, 15, 15), 6)] = 0
    components[ball(components.shape, (15, 15, 15), 3)] = 1
    components[0, 0, 0] = 3
    block = Block.of(components, CUBES)
    whole = fill_holes(block)
    assert np.array_equal(whole.components == 2, ball(components.shape, (15, 15, 15), 10))
    assert whole.voxels[1] == 0
    assert whole.deepest[2] > 9 > block.deepest[2]
    assert fill_holes(whole) is whole
    alone, corner = block.without_holes(2)
    assert alone is not None
    assert alone.voxels[1] == whole.voxels[2]
    assert corner.tolist() == [5, 5, 5]
    assert block.without_holes(1)[0] is None


def test_a_nucleus_joins_its_cell_and_a_neighbour_does_not() -> None:
    components = np.zeros((40, 24, 24), np.uint32, order="F")
    components[ball(components.shape, (12, 12, 12), 11)] = 1
    components[ball(components.shape, (12, 12, 12), 7)] = 2
    components[ball(components.shape, (12, 12, 12), 3)] = 3  # nested: the nucleolus
    components[25:39, 6:18, 6:18] = 4
    joined = join_avocados(Block.of(components, CUBES), 7.0)
    assert np.array_equal(joined.components == 1, ball(components.shape, (12, 12, 12), 11))
    assert np.array_equal(joined.components == 4, components == 4)
    assert joined.voxels[2:4].tolist() == [0, 0]
    untouched = join_avocados(Block.of(components, CUBES), 1000.0)
    assert np.array_equal(untouched.components, components)


def test_a_nucleus_at_a_wall_joins_as_well() -> None:
    components = np.zeros((24, 24, 12), np.uint32, order="F")
    components[ball(components.shape, (12, 12, 0), 11)] = 1
    components[ball(components.shape, (12, 12, 0), 6)] = 2
    joined = join_avocados(Block.of(components, CUBES), 10.0)
    assert np.array_equal(joined.components == 1, ball(components.shape, (12, 12, 0), 11))
