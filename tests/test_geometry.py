"""Boxes and grids, against sets of voxels: what a box is, checked by counting."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Grid, Vec3, ceil_div, vec

Voxels = set[tuple[int, ...]]
points = st.tuples(*[st.integers(-7, 7)] * 3)
sides = st.tuples(*[st.integers(0, 6)] * 3)
factors = st.tuples(*[st.integers(1, 4)] * 3)
boxes = st.builds(Box.sized, points, sides)
solid = st.builds(Box.sized, points, factors)


def voxels(box: Box) -> Voxels:
    return set(product(*(range(a, b) for a, b in zip(box.lo, box.hi, strict=True))))


@settings(deadline=None)
@given(st.integers(-(10**30), 10**30), st.integers(1, 10**15))
def test_ceil_div_is_exact(a: int, b: int) -> None:
    assert (ceil_div(a, b) - 1) * b < a <= ceil_div(a, b) * b


def test_vec_makes_plain_integers_of_three_numbers() -> None:
    made = vec(np.array([1, -2, 3], np.int16))
    assert made == (1, -2, 3)
    assert {type(v) for v in made} == {int}
    with pytest.raises(ValueError, match="unpack"):
        vec((1, 2))


@settings(deadline=None)
@given(boxes)
def test_a_box_is_its_voxels_and_its_text(box: Box) -> None:
    assert box.voxels == len(voxels(box))
    assert Box.parse(str(box)) == box
    assert Box.sized(box.lo, box.shape) == box


@pytest.mark.parametrize("text", ["", "0:1,0:1", "0:1,0:1,0:1,0:1", "0:1,0:1,0", "a:1,0:1,0:1", "0:1.5,0:1,0:1"])
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is not a box; write x0:x1,y0:y1,z0:z1"):
        Box.parse(text)


def test_a_side_never_ends_before_it_starts() -> None:
    with pytest.raises(SpecError, match="ends before it starts"):
        Box.parse("0:1,5:4,0:1")
    with pytest.raises(SpecError, match="ends before it starts"):
        Box.sized((0, 0, 0), (1, 1, -1))


@settings(deadline=None)
@given(boxes, boxes)
def test_and_or_in_are_those_of_sets(a: Box, b: Box) -> None:
    assert voxels(a & b) == voxels(a) & voxels(b)
    assert a in a | b
    assert b in a | b
    if a.voxels and b.voxels:
        assert (a in b) == (voxels(a) <= voxels(b))
        corners = np.array(sorted(voxels(a) | voxels(b)))
        assert a | b == Box(vec(corners.min(0)), vec(corners.max(0) + 1))


@settings(deadline=None)
@given(boxes, points)
def test_slices_cut_the_box_out_of_an_array(box: Box, by: Vec3) -> None:
    outer = box.grow((1, 0, 2), (0, 3, 1))
    index = np.moveaxis(np.indices(outer.shape), 0, -1) + outer.lo
    assert set(map(tuple, index[box.slices(outer.lo)].reshape(-1, 3).tolist())) == voxels(box)
    moved = {tuple(a + d for a, d in zip(v, by, strict=True)) for v in voxels(box)}
    assert voxels(box.shift(by)) == moved


@settings(deadline=None)
@given(solid, factors)
def test_the_coarser_box_has_every_voxel_touched(box: Box, factor: Vec3) -> None:
    assert voxels(box // factor) == {tuple(v // f for v, f in zip(voxel, factor, strict=True)) for voxel in voxels(box)}


@settings(deadline=None)
@given(boxes, factors)
def test_the_finer_box_has_every_voxel_beneath(box: Box, factor: Vec3) -> None:
    assert box * factor // factor == box
    assert (box * factor).voxels == box.voxels * factor[0] * factor[1] * factor[2]


@settings(deadline=None)
@given(st.builds(Grid, boxes, factors))
def test_cells_tile_the_bounds_exactly(grid: Grid) -> None:
    seen: list[tuple[int, ...]] = []
    for cell in grid:
        assert cell in grid.bounds
        assert all(0 < n <= c for n, c in zip(cell.shape, grid.cell, strict=True))
        assert all((a - o) % c == 0 for a, o, c in zip(cell.lo, grid.bounds.lo, grid.cell, strict=True))
        seen += voxels(cell)
    assert len(seen) == len(set(seen))
    assert set(seen) == voxels(grid.bounds)


@settings(deadline=None)
@given(boxes, factors, boxes)
def test_a_region_has_the_same_cells_as_the_whole(bounds: Box, cell: Vec3, roi: Box) -> None:
    chosen = Grid(bounds, cell, roi)
    assert list(chosen) == [c for c in Grid(bounds, cell) if (c & roi).voxels]


@settings(deadline=None)
@given(st.builds(Grid, boxes, factors), st.slices(8))
def test_a_grid_is_a_sequence(grid: Grid, part: slice) -> None:
    cells = list(grid)
    assert len(grid) == len(cells)
    assert grid[part] == cells[part]
    assert [grid[-i] for i in range(1, len(grid) + 1)] == cells[::-1]
    for outside in (len(grid), -len(grid) - 1):
        with pytest.raises(IndexError):
            grid[outside]


@settings(deadline=None)
@given(st.builds(Grid, solid, factors))
def test_x_runs_fastest(grid: Grid) -> None:
    assert [cell.lo for cell in grid] == sorted((cell.lo for cell in grid), key=lambda lo: lo[::-1])


def test_a_grid_of_a_petabyte_costs_nothing() -> None:
    grid = Grid(Box((-5, 0, 0), (10**7, 10**7, 10**5)), (64, 64, 64))
    assert len(grid) == 156251 * 156250 * 1563
    assert grid[-1].hi == grid.bounds.hi
    assert grid[1].lo == (59, 0, 0)


@settings(deadline=None)
@given(factors, st.integers(0, 2))
def test_cells_have_a_size(cell: Vec3, axis: int) -> None:
    assume(max(cell) > 0)
    wrong = vec(0 if i == axis else n for i, n in enumerate(cell))
    with pytest.raises(SpecError, match="at least 1 voxel"):
        Grid(Box((0, 0, 0), (1, 1, 1)), wrong)
