"""Pooling against a slow oracle, against published data, and whole against cut."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest
import tinybrain
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.kernels.pooling import DTYPES, Method, pool
from tests.data import data

METHODS: tuple[Method, ...] = ("average", "mode", "min", "max", "stride")
FACTORS = st.one_of(st.sampled_from([(2, 2, 1), (2, 2, 2)]), st.tuples(*[st.integers(1, 4)] * 3))
ORIGINS = st.tuples(*[st.integers(-9, 9)] * 3)


def images(sides: int = 6) -> st.SearchStrategy[NDArray[Any]]:
    """Small images of every dtype: few labels, so that they tie; any values, so that they overflow."""
    shapes = st.tuples(*[st.integers(1, sides)] * 3, st.integers(1, 2))

    def filled(dtype: np.dtype[Any]) -> st.SearchStrategy[NDArray[Any]]:
        few: st.SearchStrategy[Any] = st.integers(0, 3)
        if dtype.kind == "f":
            few = few.map(float)
            return hnp.arrays(dtype, shapes, elements=few | st.floats(-1e9, 1e9, width=32))
        return hnp.arrays(dtype, shapes, elements=few) | hnp.arrays(dtype, shapes)

    return (
        st.sampled_from(DTYPES)
        .flatmap(filled)
        .flatmap(lambda image: st.sampled_from([image, np.asfortranarray(image), image[::-1]]))
    )


def one(block: NDArray[Any], method: Method, sparse: bool) -> Any:
    """The pooled value of one block [x, y, z], in plain Python."""
    values = block.flatten(order="F").tolist()
    if method == "stride":
        return values[0]
    if method == "mode":
        return mode(block, values, sparse)
    if sparse:
        values = [v for v in values if v != 0] or [0]
    if method == "average":
        if block.dtype.kind == "f":
            return np.float32(sum(np.float64(v) for v in values) / len(values))
        return round(Fraction(sum(values), len(values)))  # to the nearest, ties to even
    return min(values) if method == "min" else max(values)


def mode(block: NDArray[Any], values: list[Any], sparse: bool) -> Any:
    """The rule of ties, written once more."""
    kept = [v for v in values if v != 0] if sparse else values
    if not kept:
        return 0
    if sorted(block.shape) == [1, 2, 2]:
        repeated = [v for i, v in enumerate(kept) if v in kept[:i]]
        if repeated:
            return repeated[0]
        if values[-1] in kept:
            return values[-1]
        return next(v for v in block.flatten(order="C").tolist() if v != 0)
    return Counter(kept).most_common(1)[0][0]  # of equals, the first met


def oracle(image: NDArray[Any], origin: Vec3, factor: Vec3, method: Method, sparse: bool) -> NDArray[Any]:
    fine = Box.sized(origin, vec(image.shape[:3]))
    coarse = fine // factor
    out = np.zeros((*coarse.shape, image.shape[3]), image.dtype)
    for at in product(*(range(a, b) for a, b in zip(coarse.lo, coarse.hi, strict=True))):
        block = Box.sized(vec(at), (1, 1, 1)) * factor & fine
        for c in range(image.shape[3]):
            voxel = vec(a - b for a, b in zip(at, coarse.lo, strict=True))
            out[(*voxel, c)] = one(image[block.slices(origin)][..., c], method, sparse)
    return out


@pytest.mark.long
@settings(max_examples=400, deadline=None)
@given(images(), ORIGINS, FACTORS, st.sampled_from(METHODS), st.booleans())
def test_every_block_is_pooled_over_the_voxels_it_has(
    image: NDArray[Any], origin: Vec3, factor: Vec3, method: Method, sparse: bool
) -> None:
    sparse = sparse and method != "stride"
    before = image.copy()
    found, at = pool(image, origin, factor, method, sparse)
    expected = oracle(image, origin, factor, method, sparse)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == image.dtype
    assert found.flags.f_contiguous
    assert at == vec(o // f for o, f in zip(origin, factor, strict=True))
    np.testing.assert_array_equal(image, before)
    assert not np.shares_memory(found, image)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), ORIGINS, FACTORS, st.sampled_from(METHODS), st.booleans(), st.data())
def test_a_volume_cut_at_block_faces_gives_the_same_coarse_voxels(
    seed: int, origin: Vec3, factor: Vec3, method: Method, sparse: bool, draw: st.DataObject
) -> None:
    image: NDArray[Any] = np.random.default_rng(seed).normal(0, 1e6, (9, 10, 11, 1)).astype(np.float32)
    image[image > 0] = 0
    sparse = sparse and method != "stride"
    whole, at = pool(image, origin, factor, method, sparse)
    axis = draw.draw(st.integers(0, 2))
    inside = [k for k in range(1, image.shape[axis]) if (origin[axis] + k) % factor[axis] == 0]
    cut = draw.draw(st.sampled_from(inside))
    low, high = np.split(image, [cut], axis=axis)
    moved = vec(o + cut * (a == axis) for a, o in enumerate(origin))
    first, first_at = pool(low, origin, factor, method, sparse)
    second, second_at = pool(high, moved, factor, method, sparse)
    np.testing.assert_array_equal(np.concatenate([first, second], axis=axis), whole)
    assert first_at == at
    assert second_at[axis] == at[axis] + first.shape[axis]


def test_mode_equals_the_published_level_above() -> None:
    fine = np.load(data("pinky40", "seg_mip1_16x16x40.npz"))["labels"][:256, :256, :64]
    golden = np.load(data("pinky40", "seg_mip2_32x32x40.npz"))["labels"][:128, :128, :64]
    assert len(np.unique(golden)) > 50
    found, _ = pool(fine[..., np.newaxis], (0, 0, 0), (2, 2, 1), "mode")
    np.testing.assert_array_equal(found[..., 0], golden)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("factor", [(2, 2, 1), (2, 2, 2)])
def test_whole_blocks_equal_tinybrain(dtype: type, sparse: bool, factor: Vec3) -> None:
    image: NDArray[Any] = np.random.default_rng(7).integers(0, 5, (32, 32, 32)).astype(dtype, order="F")
    golden = tinybrain.downsample_segmentation(image, factor, sparse=sparse)[0]
    found, _ = pool(image[..., np.newaxis], (0, 0, 0), factor, "mode", sparse)
    np.testing.assert_array_equal(found[..., 0], golden)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("factor", [(2, 2, 1), (2, 2, 2), (3, 1, 2), (5, 4, 3)])
@pytest.mark.parametrize("sparse", [False, True])
def test_averages_of_extreme_values_are_exact(dtype: np.dtype[Any], factor: Vec3, sparse: bool) -> None:
    ends = [np.finfo(dtype).min, np.finfo(dtype).max] if dtype.kind == "f" else None
    low, high = ends or [np.iinfo(dtype).min, np.iinfo(dtype).max]
    for value in (low, high):
        image: NDArray[Any] = np.full((*factor, 1), value, dtype)
        found, _ = pool(image, (0, 0, 0), factor, "average", sparse)
        np.testing.assert_array_equal(found, image[:1, :1, :1])


def test_averages_round_to_the_nearest_and_ties_to_even() -> None:
    values = np.array([-1, -2, 1, 2, 2, 3, 0, 1], np.int64)
    for dtype in (np.int8, np.int16, np.int32, np.int64, np.float32):
        image = values.astype(dtype).reshape(2, 4, 1, 1, order="F")
        found, _ = pool(image, (0, 0, 0), (2, 1, 1), "average")
        expected = [-1.5, 1.5, 2.5, 0.5] if dtype is np.float32 else [-2, 2, 2, 0]
        assert found.ravel().tolist() == expected


def test_floats_that_are_not_numbers_stay_where_they_are() -> None:
    image = np.array([np.inf, -np.inf, 1, np.nan, -0.0, 0.0], np.float32).reshape(6, 1, 1, 1)
    found, _ = pool(image, (0, 0, 0), (2, 1, 1), "average")
    np.testing.assert_array_equal(found.ravel(), np.array([np.nan, np.nan, 0], np.float32))
    lowest, _ = pool(image, (0, 0, 0), (2, 1, 1), "min")
    np.testing.assert_array_equal(lowest.ravel(), np.array([-np.inf, np.nan, 0], np.float32))
    labels = np.array([-0.0, 5, 0.0], np.float32).reshape(3, 1, 1, 1)
    assert pool(labels, (0, 0, 0), (3, 1, 1), "mode")[0].item() == 0
    assert pool(labels, (0, 0, 0), (3, 1, 1), "mode", sparse=True)[0].item() == 5


def test_many_mixed_blocks_are_counted_in_turns() -> None:
    image = np.random.default_rng(3).integers(1, 4, (64, 64, 64, 1)).astype(np.uint16)
    found, _ = pool(image, (0, 0, 0), (4, 4, 4), "mode")
    blocks = image.reshape(16, 4, 16, 4, 16, 4).transpose(0, 2, 4, 1, 3, 5).reshape(16, 16, 16, 64)
    counts = np.stack([np.count_nonzero(blocks == label, axis=-1) for label in range(4)])
    most = np.take_along_axis(counts, found[..., 0][np.newaxis].astype(np.int64), axis=0)[0]
    assert prod(found.shape) * 64 == image.size
    np.testing.assert_array_equal(most, counts.max(axis=0))


def test_read_only_images_are_pooled() -> None:
    for factor, method in product([(2, 2, 1), (2, 2, 2), (1, 2, 2)], METHODS):
        image = np.ones((4, 4, 4, 1), np.uint32, order="F")
        image.flags.writeable = False
        found, _ = pool(image, (0, 0, 0), factor, method)
        assert np.all(found == 1)


def test_requests_without_meaning_are_refused() -> None:
    image = np.zeros((2, 2, 2, 1), np.uint8)
    for wrong, text in [
        (image[..., 0], r"\(2, 2, 2\)"),
        (image[:0], "at least one voxel"),
        (image.astype(bool), "b1"),
    ]:
        with pytest.raises(SpecError, match=text):
            pool(wrong, (0, 0, 0), (2, 2, 2), "average")
    with pytest.raises(SpecError, match=">u2"):
        pool(image.astype(">u2"), (0, 0, 0), (2, 2, 2), "average")
    with pytest.raises(SpecError, match="factor"):
        pool(image, (0, 0, 0), (2, 0, 2), "average")
    with pytest.raises(SpecError, match="median"):
        pool(image, (0, 0, 0), (2, 2, 2), "median")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="sparse"):
        pool(image, (0, 0, 0), (2, 2, 2), "stride", sparse=True)
