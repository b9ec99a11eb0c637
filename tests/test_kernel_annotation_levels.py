"""Which cells shapes cross, against exact arithmetic; and which level an annotation is of."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.kernels.annotation_levels import ALL, Cells, crossed, level_of, most_cells, ranks, thresholds

Array = npt.NDArray[Any]
GRID = Cells((-7, 3, 100), (160, 120, 70), (1.0, 1.0, 2.0))
FINEST = GRID.halvings[-1]
within = st.tuples(st.integers(-7, 152), st.integers(3, 122), st.integers(100, 169))


def every_cell(halved: tuple[int, int, int]) -> list[tuple[tuple[int, ...], list[int], list[int]]]:
    """Each cell, and its corners."""
    chunk, found = GRID.chunk(halved), []
    for cell in np.ndindex(*GRID.shape(halved)):
        low = [o + i * c for o, i, c in zip(GRID.origin, cell, chunk, strict=True)]
        found.append((cell, low, [a + c for a, c in zip(low, chunk, strict=True)]))
    return found


def clipped(a: tuple[int, ...], b: tuple[int, ...], low: list[int], high: list[int]) -> bool:
    """Whether a line meets a box, by slabs, in fractions."""
    start, stop = Fraction(0), Fraction(1)
    for p, q, lo, hi in zip(a, b, low, high, strict=True):
        if p == q:
            if not lo <= p <= hi:
                return False
            continue
        ends = sorted((Fraction(lo - p, q - p), Fraction(hi - p, q - p)))
        start, stop = max(start, ends[0]), min(stop, ends[1])
    return start <= stop


def told(kind: str, points: list[tuple[int, ...]]) -> set[tuple[int, ...]]:
    array = np.array(points, np.float32)
    rows, cells = crossed(kind, array, np.array([0, len(array)]), GRID, FINEST)
    assert (rows == 0).all()
    found = {tuple(cell) for cell in cells.tolist()}
    assert len(found) == len(cells), "no cell twice"
    return found


def between(found: set[tuple[int, ...]], least: set[tuple[int, ...]], most: set[tuple[int, ...]]) -> bool:
    """All that it passes through, and nothing that it does not even touch."""
    return least <= found <= most


@pytest.mark.long
@settings(deadline=None, max_examples=60)
@given(st.lists(within, min_size=1, max_size=4))
def test_lines_lie_in_the_cells_that_they_meet(points: list[tuple[int, ...]]) -> None:
    kind = "line" if len(points) == 2 else "polyline"
    pairs = list(pairwise(points)) or [(points[0], points[0])]
    touched = {cell for a, b in pairs for cell, low, high in every_cell(FINEST) if clipped(a, b, low, high)}
    owned = set()  # by the points themselves, a cell to each: fine steps along the line
    for a, b in pairs:
        for step in np.linspace(0, 1, 400):
            at = np.array(a) + (np.array(b) - np.array(a)) * step
            owned.add(tuple(GRID.of(at[None], FINEST)[0].tolist()))
    assert between(told(kind, points), owned, touched)


@settings(deadline=None, max_examples=40)
@given(within, st.tuples(*[st.integers(0, 60)] * 3))
def test_ellipsoids_lie_in_the_cells_that_they_meet(centre: tuple[int, ...], radii: tuple[int, ...]) -> None:
    inside = set()
    for cell, low, high in every_cell(FINEST):
        near = [min(max(c, lo), hi) for c, lo, hi in zip(centre, low, high, strict=True)]
        parts = [
            Fraction(n - c, r) ** 2 if r else Fraction(0 if n == c else 2)
            for n, c, r in zip(near, centre, radii, strict=True)
        ]
        if sum(parts) <= 1:
            inside.add(cell)
    assert between(told("ellipsoid", [centre, radii]), {tuple(GRID.of(np.array([centre]), FINEST)[0].tolist())}, inside)
    interior = {cell for cell, low, high in every_cell(FINEST) if cell in inside and _open(centre, radii, low, high)}
    assert interior <= told("ellipsoid", [centre, radii])


def _open(centre: tuple[int, ...], radii: tuple[int, ...], low: list[int], high: list[int]) -> bool:
    """Whether the ellipsoid reaches well into the box."""
    near = [min(max(c, lo + 0.01), hi - 0.01) for c, lo, hi in zip(centre, low, high, strict=True)]
    return all(radii) and sum(((n - c) / r) ** 2 for n, c, r in zip(near, centre, radii, strict=True)) < 1


@settings(deadline=None, max_examples=40)
@given(within, within)
def test_boxes_lie_in_all_cells_between_their_corners(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    low, high = np.minimum(a, b), np.maximum(a, b)
    ends = GRID.of(np.array([low, high]), FINEST)
    wanted = {tuple((ends[0] + step).tolist()) for step in np.ndindex(*(ends[1] - ends[0] + 1))}
    assert told("box", [a, b]) == wanted


def test_many_at_once_are_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(GRID.origin, np.add(GRID.origin, GRID.extent), (4000, 3)).astype(np.float32)
    ends = np.arange(0, 4001, 2)
    for kind in ("line", "box", "ellipsoid"):
        if kind == "ellipsoid":
            points[1::2] = np.abs(points[1::2]) % 30
        rows, cells = crossed(kind, points, ends, GRID, FINEST)
        for row in (0, 1000, 1999):
            alone = crossed(kind, points[2 * row : 2 * row + 2], np.array([0, 2]), GRID, FINEST)[1]
            assert np.array_equal(cells[rows == row], alone), kind


@settings(deadline=None)
@given(st.tuples(*[st.integers(1, 10**7)] * 3), st.tuples(*[st.sampled_from([1.0, 4.0, 30.0])] * 3))
def test_grids_are_exact_in_single_precision_and_cover_all(extent: Any, scale: Any) -> None:
    grid = Cells((0, 0, 0), extent, scale)
    assert most_cells(grid) <= 1 << 21
    for before, after in zip(grid.halvings, grid.halvings[1:], strict=False):
        assert all(a == b or 2 * b == a for a, b in zip(grid.chunk(before), grid.chunk(after), strict=True))
    for halved in grid.halvings:
        chunk, shape = grid.chunk(halved), grid.shape(halved)
        assert np.array_equal(np.array(chunk, np.float32).astype(np.int64), chunk) or max(chunk) >= 1 << 24
        assert all(c * n >= e for c, n, e in zip(chunk, shape, extent, strict=True))
    assert grid.shape((0, 0, 0)) == (1, 1, 1)


def test_ranks_are_those_of_splitmix64() -> None:
    # Vigna's splitmix64.c, seeded with 1234567: the first three numbers.
    step = np.uint64(0x9E3779B97F4A7C15)
    seeds = np.array([1234567], np.uint64) + np.arange(3, dtype=np.uint64) * step
    assert ranks(seeds).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("skew", [1.0, 6.0])
def test_each_level_has_the_same_share_of_every_cell(skew: float) -> None:
    rng = np.random.default_rng(1)
    n = 400_000
    points = np.array(GRID.origin) + rng.random((n, 3)) ** skew * GRID.extent
    number = GRID.number(GRID.of(points, FINEST), FINEST)
    counts = np.bincount(number, minlength=most_cells(GRID))
    ends = thresholds(GRID, counts, 2000)
    assert len(ends) > 2
    assert ends == sorted(ends)
    level, before = level_of(np.arange(n, dtype=np.uint64), ends), 0
    for one, end in enumerate(ends):
        share = (end - before) / ALL
        before = end
        own = np.bincount(number[level == one], minlength=len(counts))
        sure = counts * share * (1 - share)
        assert (np.abs(own - counts * share) <= 6 * np.sqrt(sure) + 1).all(), "a share of each cell, by binomial chance"
        halved = GRID.halvings[one]
        coarse = np.bincount(GRID.number(GRID.of(points[level == one], halved), halved))
        if halved != FINEST:
            assert coarse.max() <= 2000 * 1.05 + 6 * 2000**0.5


def test_no_annotations_make_one_level() -> None:
    assert thresholds(GRID, np.zeros(most_cells(GRID), np.int64), 10) == [ALL]
