from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.kernels.skeleton_sections import areas, directions
from igneous_ng.kernels.skeleton_tracing import Tree
from igneous_ng.native import sections

Array = npt.NDArray[Any]


def tree(points: list[list[int]], edges: list[list[int]]) -> Tree:
    n = len(points)
    return Tree(np.array(points), np.array(edges), np.ones(n, np.float32), np.zeros(n, np.uint8))


def one(labels: Array, sides: tuple[float, float, float], at: list[int], normal: list[float]) -> float:
    return float(sections.areas(np.asfortranarray(labels), sides, np.array([at]), np.array([normal]))[0])


def test_a_rod_cut_straight_has_the_area_of_its_end() -> None:
    labels = np.zeros((20, 12, 12), np.uint32)
    labels[2:18, 3:7, 4:9] = 5
    labels[2:18, 8:10, 4:9] = 5  # beside it, not connected in the plane
    assert one(labels, (16.0, 8.0, 40.0), [9, 4, 5], [1, 0, 0]) == pytest.approx(4 * 5 * 8 * 40)
    assert one(labels, (16.0, 8.0, 40.0), [9, 4, 5], [0, 0, -3]) == pytest.approx(16 * 4 * 16 * 8)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.1, 1), st.tuples(*[st.sampled_from([1.0, 2.5, 9.0])] * 3))
def test_cuts_of_a_brick_are_those_of_the_plane(
    a: float, b: float, c: float, sides: tuple[float, float, float]
) -> None:
    """Whatever the plane, its pieces in the voxels add up to its piece in the brick: counted by fine sampling."""
    labels = np.zeros((9, 9, 9), np.uint32)
    labels[1:8, 1:8, 1:8] = 3
    normal = np.array([a, b, c]) / np.linalg.norm([a, b, c])
    e = np.cross(normal, [1, 0, 0] if abs(normal[0]) < 0.9 else [0, 1, 0])
    e /= np.linalg.norm(e)
    f = np.cross(normal, e)
    steps = np.linspace(-8, 8, 801) * max(sides)
    grid = steps[:, None, None] * e + steps[None, :, None] * f
    expected = (np.abs(grid) <= 3.5 * np.array(sides)).all(axis=2).sum() * (steps[1] - steps[0]) ** 2
    assert one(labels, sides, [4, 4, 4], normal.tolist()) == pytest.approx(expected, rel=0.03)


def test_a_cut_that_leaves_the_block_is_negative() -> None:
    labels = np.ones((9, 9, 9), np.uint32)
    assert one(labels, (1.0, 1.0, 1.0), [4, 4, 4], [1, 0, 0]) == pytest.approx(-81)
    labels[:, 0] = labels[:, 8] = labels[:, :, 0] = labels[:, :, 8] = 0
    assert one(labels, (1.0, 1.0, 1.0), [4, 4, 4], [1, 0, 0]) == pytest.approx(49)
    assert one(labels, (1.0, 1.0, 1.0), [0, 4, 4], [1, 0, 0]) == pytest.approx(-49)


def test_directions_look_both_ways_and_stop_at_ends() -> None:
    bent = tree(
        [[0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 1, 0], [2, 2, 0], [3, 0, 0]], [[0, 1], [1, 2], [2, 3], [3, 4], [2, 5]]
    )
    found = directions(bent, (10.0, 10.0, 40.0), 1)
    assert found.tolist() == [[10, 0, 0], [20, 0, 0], [10, 10, 0], [0, 20, 0], [0, 10, 0], [10, 0, 0]]
    assert directions(bent, (10.0, 10.0, 40.0), 9)[1].tolist() == [20, 20, 0]


def test_a_cone_grows_along_its_line() -> None:
    x, y, z = np.ogrid[:40, :41, :41]
    labels = np.asfortranarray((y - 20) ** 2 + (z - 20) ** 2 <= (3 + x / 3) ** 2).astype(np.uint32, order="F")
    line = tree([[i, 20, 20] for i in range(2, 38)], [[i, i + 1] for i in range(35)])
    found = areas(labels, (0, 0, 0), line, (10.0, 10.0, 10.0), 3)
    expected = np.pi * (3 + np.arange(2, 38) / 3) ** 2 * 100
    assert np.allclose(found, expected, rtol=0.1)
    moved = tree([[i, 0, 0] for i in range(2, 38)], [[i, i + 1] for i in range(35)])
    assert np.array_equal(areas(labels, (0, 20, 20), moved, (10.0, 10.0, 10.0), 3), found)


@pytest.mark.parametrize(
    ("at", "normal", "said"),
    [([9, 0, 0], [1, 0, 0], "outside"), ([0, 0, 0], [0, 0, 0], "direction"), ([0], [1], "rows")],
)
def test_what_does_not_fit_is_refused(at: list[int], normal: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        one(np.ones((3, 3, 3), np.uint32), (1.0, 1.0, 1.0), at, normal)
