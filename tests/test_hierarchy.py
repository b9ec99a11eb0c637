"""Nodes over leaves: where a leaf and its neighbours come together."""

from __future__ import annotations

import itertools

import pytest

from igneous_ng.geometry import Vec3, vec
from igneous_ng.hierarchy import Hierarchy


@pytest.mark.parametrize("leaves", [(1, 1, 1), (5, 3, 1), (9, 17, 2)])
@pytest.mark.parametrize("fan", [2, 3, 8])
def test_a_face_lies_in_the_first_node_over_both_its_leaves(leaves: Vec3, fan: int) -> None:
    hierarchy = Hierarchy(leaves, fan)
    for at in itertools.product(*map(range, leaves)):
        for (axis, side), level in zip(itertools.product(range(3), (-1, 1)), hierarchy.meeting(vec(at)), strict=True):
            other = list(at)
            other[axis] += side
            if not 0 <= other[axis] < leaves[axis]:
                assert level == 0
                continue
            chains = [climbed(hierarchy, vec(place)) for place in (at, other)]
            assert [a == b for a, b in zip(*chains, strict=True)] == [n >= level for n in range(hierarchy.top + 1)]


def climbed(hierarchy: Hierarchy, at: Vec3) -> list[Vec3]:
    """The node over a leaf at each level."""
    found = [at]
    for _ in range(hierarchy.top):
        found.append(hierarchy.parent(found[-1]))
    return found
