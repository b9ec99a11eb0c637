"""Several levels as one sequence, and boxes of one level at another: against sets of voxels."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng import levels
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import Scale
from igneous_ng.geometry import Box, Grid

corner = st.tuples(*[st.integers(-9, 9)] * 3)
sides = st.tuples(*[st.integers(1, 7)] * 3)


def scale(resolution: Any, lo: Any, shape: Any, chunk: Any = (1, 1, 1)) -> Scale:
    return Scale("key", Box.sized(lo, shape), resolution, chunk, "raw")


@given(grids=st.dictionaries(st.integers(0, 9), st.tuples(corner, sides, sides), max_size=4))
def test_a_sequence_of_levels_is_their_cells_in_order(grids: Any) -> None:
    made = {mip: Grid(Box.sized(lo, shape), cell) for mip, (lo, shape, cell) in grids.items()}
    found = levels.Levels(made)
    expected = [(mip, box) for mip, grid in made.items() for box in grid]
    assert len(found) == len(expected)
    assert list(found) == expected
    assert [found[i - len(found)] for i in range(len(found))] == expected
    assert found[1:7:2] == expected[1:7:2]
    with pytest.raises(IndexError):
        found[len(found)]


ratios = st.sampled_from([(4.0, 8.0), (4.0, 4.0), (3.58, 10.74), (4.0, 10.0)])


@given(lo=corner, shape=sides, ratio=ratios, chunk=sides, bounds=st.tuples(corner, sides))
def test_boxes_at_other_levels_are_those_of_nm(lo: Any, shape: Any, ratio: Any, chunk: Any, bounds: Any) -> None:
    around = Box.sized(lo, shape).grow((50, 50, 50), (50, 50, 50))  # else what hangs over the layer counts as inside
    fine, coarse = scale((ratio[0],) * 3, around.lo, around.shape), scale((ratio[1],) * 3, bounds[0], bounds[1], chunk)
    box, r = Box.sized(lo, shape), Fraction(str(ratio[0])) / Fraction(str(ratio[1]))
    touched, inner = levels.touched(box, fine, coarse), levels.inner(box, fine, coarse)
    for axis in range(3):
        begin, end = box.lo[axis] * r, box.hi[axis] * r
        met = [i for i in range(-30, 40) if i < end and i + 1 > begin]
        assert (touched.lo[axis], touched.hi[axis]) == (met[0], met[-1] + 1)
    whole = [
        cell for cell in Grid(coarse.bounds, chunk)
        if all(a * r <= c and d <= b * r for a, b, c, d in zip(box.lo, box.hi, cell.lo, cell.hi, strict=True))
    ]  # fmt: skip
    voxels = {v for cell in whole for v in product(*(range(a, b) for a, b in zip(cell.lo, cell.hi, strict=True)))}
    assert voxels == set(product(*(range(a, b) for a, b in zip(inner.lo, inner.hi, strict=True))))


def test_levels_are_named_once_and_there() -> None:
    assert levels.checked("it", (2, 0, 2), 3) == (0, 2)
    for mips in ((), (-1,), (3,)):
        with pytest.raises(SpecError, match="mip"):
            levels.checked("it", mips, 3)
