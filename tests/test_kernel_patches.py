"""Blended patches: the mean of what is trusted, the same in any box, without seams."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.geometry import Box, Grid, vec
from igneous_ng.kernels.patches import Blend, Lattice, Mosaic, canvas

quick = settings(max_examples=30, deadline=None)


@st.composite
def lattices(draw: st.DrawFn) -> Lattice:
    three = [st.tuples(*[st.integers(*limits)] * 3) for limits in ((-9, 9), (1, 12), (2, 8), (0, 3))]
    lo, sides, trusted, margin = (vec(draw(one)) for one in three)
    overlap = vec(draw(st.integers(0, 2 * t // 3)) for t in trusted)
    return Lattice(Box.sized(lo, sides), trusted, margin, overlap)


def noise(part: Box, lattice: Lattice, channels: int) -> np.ndarray:
    """What a model might say of a patch: the same for the same patch."""
    rng = np.random.default_rng([n + 1000 for n in part.lo])
    return np.asfortranarray(rng.random((*lattice.whole(part).shape, channels), np.float32))


def blended(lattice: Lattice, box: Box, channels: int = 2) -> np.ndarray:
    blend = Blend(lattice, box, channels)
    for part in lattice.touching(box):
        blend.add(part, noise(part, lattice, channels))
    return blend.mean()


@quick
@given(lattices(), st.data())
def test_parts_cover_the_bounds_and_those_that_touch_a_box_are_found(lattice: Lattice, data: Any) -> None:
    everything = lattice.touching(lattice.bounds)
    assert len(everything) == np.prod(lattice.count)
    covered = np.zeros(lattice.bounds.shape, int)
    for part in everything:
        inside = part & lattice.bounds
        assert inside.voxels
        covered[inside.slices(lattice.bounds.lo)] += 1
    assert covered.min() >= 1
    cell = vec(data.draw(st.tuples(*[st.integers(1, 9)] * 3)))
    for box in Grid(lattice.bounds, cell):
        assert lattice.touching(box) == [part for part in everything if (part & box).voxels]


@quick
@given(lattices(), st.tuples(*[st.integers(1, 9)] * 3))
def test_a_box_has_the_bytes_that_it_has_in_the_whole(lattice: Lattice, cell: Any) -> None:
    whole = blended(lattice, lattice.bounds)
    for box in Grid(lattice.bounds, vec(cell)):
        assert (blended(lattice, box) == whole[box.slices(lattice.bounds.lo)]).all()


@quick
@given(lattices())
def test_a_blend_is_the_weighted_mean_of_trusted_parts(lattice: Lattice) -> None:
    bounds = lattice.bounds
    sums, total = np.zeros(bounds.shape), np.zeros(bounds.shape)
    for part in lattice.touching(bounds):
        x, y, z = lattice.weights()
        weight = x[:, None, None] * y[:, None] * z
        inside = part & bounds
        own = tuple(slice(m, m + t) for m, t in zip(lattice.margin, part.shape, strict=True))
        values = noise(part, lattice, 1)[own][inside.slices(part.lo)][..., 0]
        sums[inside.slices(bounds.lo)] += values * weight[inside.slices(part.lo)]
        total[inside.slices(bounds.lo)] += weight[inside.slices(part.lo)]
    np.testing.assert_allclose(blended(lattice, bounds, 1)[..., 0], sums / total, rtol=1e-5)


@quick
@given(lattices())
def test_weights_add_up_to_one_and_the_same_where_patches_meet(lattice: Lattice) -> None:
    for weights, stride, overlap in zip(lattice.weights(), lattice.stride, lattice.overlap, strict=True):
        if 2 * overlap <= len(weights):
            total = np.zeros(len(weights) + stride)
            total[: len(weights)] += weights
            total[stride:] += weights
            assert (total[overlap : len(weights) + stride - overlap] == overlap + 1).all()


@quick
@given(lattices())
def test_patches_show_the_image_mirrored_at_the_bounds(lattice: Lattice) -> None:
    bounds = lattice.bounds
    image = np.asfortranarray(np.random.default_rng(0).random(bounds.shape))
    reach = 20
    padded = image
    for axis, side in enumerate(bounds.shape):
        mode: Any = "edge" if side == 1 else "reflect"
        padded = np.pad(padded, [(reach, reach) if k == axis else (0, 0) for k in range(3)], mode=mode)
    for part in lattice.touching(bounds):
        at = lattice.needed([part])
        assert at in bounds
        patch = lattice.cut(image[at.slices(bounds.lo)], at, part)
        assert patch.flags.f_contiguous
        shown = lattice.whole(part).slices(vec(n - reach for n in bounds.lo))
        assert (patch == padded[shown]).all()


def test_what_is_not_added_counts_as_nothing() -> None:
    lattice = Lattice(Box((0, 0, 0), (6, 1, 1)), (4, 1, 1), (0, 0, 0), (2, 0, 0))
    blend = Blend(lattice, lattice.bounds, 1)
    blend.add(Box((0, 0, 0), (4, 1, 1)), np.ones((4, 1, 1, 1), np.float32))
    np.testing.assert_allclose(blend.mean().ravel(), [1, 1, 2 / 3, 1 / 3, 0, 0], rtol=1e-6)


@quick
@given(lattices(), st.tuples(*[st.integers(1, 9)] * 3), st.booleans())
def test_a_mosaic_has_the_bytes_of_a_blend(lattice: Lattice, cell: Any, apart: bool) -> None:
    lattice = replace(lattice, overlap=(0, 0, 0)) if apart else lattice
    for box in Grid(lattice.bounds, vec(cell)):
        found = canvas(lattice, box, 2)
        assert isinstance(found, Blend if any(lattice.overlap) else Mosaic)
        for part in lattice.touching(box):
            found.add(part, noise(part, lattice, 2))
        assert (found.bytes() == np.rint(blended(lattice, box) * np.float32(255))).all()
