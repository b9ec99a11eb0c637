"""Runs, faces and contacts of blocks against plain Python over voxels."""

from __future__ import annotations

import itertools
from typing import Any

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.kernels import components

STEPS = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]


@pytest.mark.long
@settings(deadline=None, max_examples=60)
@given(st.tuples(*[st.integers(1, 5)] * 6), st.sampled_from([6, 18, 26]), st.integers(0, 2**32))
def test_contacts_are_all_pairs_of_neighbouring_voxels(sides: tuple[int, ...], connectivity: int, seed: int) -> None:
    cuts = [sorted((a, a + b)) for a, b in zip(sides[:3], sides[3:], strict=True)]
    array = np.random.default_rng(seed).integers(0, 4, [cut[1] for cut in cuts]).astype(np.uint32)
    for step in STEPS:
        one, other = (
            tuple(slice(0, c[0]) if s == side else slice(c[0], c[1]) if s == -side else slice(None)
                  for s, c in zip(step, cuts, strict=True)) for side in (1, -1)
        )  # fmt: skip
        expected = set()
        here, there = set(indices(array, one)), set(indices(array, other))
        for at, move in itertools.product(here, STEPS):
            to = vec(a + m for a, m in zip(at, move, strict=True))
            near = np.count_nonzero(move) <= {6: 1, 18: 2, 26: 3}[connectivity]
            outward = all(m == s for m, s in zip(move, step, strict=True) if s)
            if near and outward and to in there and array[at] and array[to]:
                expected.add((int(array[at]), int(array[to])))
        if step not in components.directions(connectivity):
            assert not expected
            continue
        faces = [components.face(array[part], *components.facing(way))
                 for part, way in ((one, step), (other, vec(-s for s in step)))]  # fmt: skip
        found = components.contacts(faces[0], faces[1], vec(step), connectivity)
        assert sorted(map(tuple, found.tolist())) == sorted(expected)


def indices(array: np.ndarray, part: tuple[slice, ...]) -> list[tuple[int, int, int]]:
    ranges = (range(n)[s] for s, n in zip(part, array.shape, strict=True))
    return [vec(at) for at in itertools.product(*ranges)]


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    dtype=st.sampled_from(("uint8", "int16", "uint32", "int64", "uint64")),
    order=st.sampled_from("CF"),
    count=st.integers(1, 4),
    connectivity=st.sampled_from((6, 18, 26)),
    seed=st.integers(0, 2**32),
)
def test_components_are_those_of_another_library(
    shape: Vec3, dtype: str, order: Any, count: int, connectivity: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, count + 1, shape).astype(dtype, order=order)
    kernel: Any = cc3d.connected_components
    theirs = kernel(np.asfortranarray(labels).astype("uint64"), connectivity=connectivity).ravel(order="F").tolist()
    number = {0: 0}
    expected = [number.setdefault(one, len(number)) for one in theirs]  # by first voxels
    runs, parts = components.label(labels, connectivity)
    found = runs.paint(np.arange(len(parts.first) + 1, dtype=np.uint32), shape)
    assert found.ravel(order="F").tolist() == expected
    assert parts.first.tolist() == [expected.index(c) for c in range(1, len(number))]
    assert parts.size.tolist() == [expected.count(c) for c in range(1, len(number))]
    for axis, side in components.FACES:
        assert np.array_equal(runs.face(shape, axis, side), components.face(found, axis, side))


def test_runs_that_do_not_fit_the_block_are_refused() -> None:
    runs, values = components.Runs(np.array([3, 2]), np.array([0, 1])), np.zeros(2, np.uint64)
    assert runs.paint(values, (5, 1, 1)).shape == (5, 1, 1)
    for shape in ((4, 1, 1), (3, 2, 1)):
        with pytest.raises(ValueError, match="the runs"):
            runs.paint(values, shape)
    with pytest.raises(ValueError, match="has no value"):
        runs.paint(values[:1], (5, 1, 1))
    with pytest.raises(ValueError, match="the runs end before the block does"):
        runs.face((6, 1, 1), 0, 1)


def test_places_in_a_block_are_places_in_the_volume() -> None:
    bounds, block = Box((-5, 2, -9), (7, 9, 4)), Box((-1, 4, -2), (3, 9, 1))
    number = np.arange(bounds.voxels).reshape(bounds.shape, order="F")
    expected = number[block.slices(bounds.lo)].ravel(order="F")
    assert components.global_index(np.arange(block.voxels), block, bounds).tolist() == expected.tolist()


@pytest.mark.parametrize("limits", [(None, None), (1.0, None), (None, 2.0), (1.0, 2.0)])
def test_the_foreground_lies_within_both_limits(limits: tuple[float | None, float | None]) -> None:
    image = np.arange(5, dtype=np.int16).reshape(5, 1, 1)
    low, high = limits
    expected = [v if limits == (None, None) else int((low or 0) <= v <= (high or 9)) for v in range(5)]
    assert components.foreground(image, low, high).ravel().tolist() == expected


def test_extents_are_boxes_in_the_volume() -> None:
    filled = np.zeros((6, 6, 6), bool)
    filled[0, 0, 0] = filled[1, 1, 1] = filled[4:, 5, 2] = True
    found = list(components.extents(filled, (10, -3, 7)))
    assert found == [(Box((10, -3, 7), (12, -1, 9)), 2), (Box((14, 2, 9), (16, 3, 10)), 2)]
    assert list(components.extents(filled & False, (0, 0, 0))) == []
