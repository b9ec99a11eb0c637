"""Pictures as they lie in a section: exact where they can be, the same for any window, and near the map."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.kernels import warping
from igneous_ng.kernels.blending import REACH, Patch, common
from igneous_ng.kernels.tile_maps import POWERS, Lens, TileMap
from tests.patches import blended

Array = npt.NDArray[Any]
ONE, NOTHING = np.ones(1), np.zeros(1)


def texture(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    values = np.random.default_rng(seed).integers(0, 30_000, shape)
    return (values >> 7 if dtype == "uint8" else values).astype(dtype)


def warped(picture: Array, at: TileMap, window: warping.Window, gain: float = 1.0, add: float = 0.0) -> Patch:
    places = warping.places(at, warping.points(window))
    return warping.warped(picture, window, places, ONE * gain, ONE * add)


def bent(size: tuple[int, int], amplitude: float, seed: int = 0) -> TileMap:
    rng = np.random.default_rng(seed)
    lens = Lens(((size[0] - 1) / 2, (size[1] - 1) / 2), max(size) * 0.7, rng.uniform(-1, 1, (len(POWERS), 2)))
    corners = np.array([[0, 0], [0, size[1]], [size[0], 0], size], np.float64)
    lens = Lens(lens.centre, lens.radius, lens.terms * (amplitude / np.abs(lens(corners)).max()))
    return TileMap(size, np.eye(2) + rng.normal(0, 0.003, (2, 2)), rng.uniform(-50, 50, 2), lens)


def keys(picture: Array, x: float, y: float) -> float:
    """Keys' cubic convolution by its definition, in float64."""

    def weight(d: float) -> float:
        d = abs(d)
        if d < 1:
            return 1.5 * d**3 - 2.5 * d**2 + 1
        return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0

    total = 0.0
    for i in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
        for j in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
            a, b = np.clip(i, 0, picture.shape[0] - 1), np.clip(j, 0, picture.shape[1] - 1)
            total += float(picture[a, b]) * weight(x - i) * weight(y - j)
    return total


@pytest.mark.parametrize("dtype", warping.DTYPES)
def test_whole_shifts_change_no_pixel(dtype: str) -> None:
    picture = texture((90, 70, 2), dtype)
    at = TileMap((90, 70), np.eye(2), np.array([-30.0, 17.0]))
    found = warped(picture, at, (-45, -3, 80, 100))
    assert np.array_equal(found.values[15:105, 20:90], picture.astype(np.float32))
    inside = np.zeros((125, 103), bool)
    inside[15:105, 20:90] = True
    assert np.array_equal(found.depth > 0, inside)
    assert not found.values[~inside].any()
    assert found.depth[15, 20] == 0.25  # half a pixel from both borders
    assert found.depth[60, 50] == 44.5 * 30.5


@pytest.mark.parametrize("dtype", warping.DTYPES)
def test_values_between_pixels_are_those_of_cubic_convolution(dtype: str) -> None:
    picture = texture((40, 30, 1), dtype)
    at = TileMap((40, 30), np.array([[1.01, 0.02], [-0.03, 0.98]]), np.array([3.3, 5.7]))
    window = (0, 0, 50, 40)
    found = warped(picture, at, window, 2.0, 5.0)
    places = at.inverse(np.stack(np.meshgrid(np.arange(50.0), np.arange(40.0), indexing="ij"), axis=-1))
    count = 0
    for x, y in np.argwhere(found.depth > 0):
        wanted = keys(picture[..., 0], *places[x, y]) * 2 + 5
        assert abs(found.values[x, y, 0] - wanted) < 2e-6 * 30_000 * 8
        count += 1
    assert count > 1000


@settings(max_examples=50)
@given(st.data())
def test_a_pixel_is_the_same_in_any_window(data: st.DataObject) -> None:
    at = bent((100, 80), 2.0)
    picture = texture((100, 80, 1), data.draw(st.sampled_from(warping.DTYPES)))
    whole = (-80, -80, 160, 150)
    found = warped(picture, at, whole)
    x0, x1 = sorted(data.draw(st.lists(st.integers(-80, 160), min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(data.draw(st.lists(st.integers(-80, 150), min_size=2, max_size=2, unique=True)))
    part = warped(picture, at, (x0, y0, x1, y1))
    values, depth = found.rows((x0, y0, x1, y1))
    assert np.array_equal(part.values.T, values)
    assert np.array_equal(part.depth.T, depth)


@pytest.mark.parametrize("size", [(1000, 900), (4096, 4096)])
def test_a_lattice_of_a_lens_of_three_pixels_is_near_enough(size: tuple[int, int]) -> None:
    at = bent(size, 3.0, seed=2)
    window = tuple(int(n) for n in (*at(np.array([size[0] - 300.0, size[1] - 300.0])), 0, 0))
    window = (window[0], window[1], window[0] + 280, window[1] + 280)  # at a corner, where it bends most
    xs, ys = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    ramp = np.stack([xs - size[0], ys - size[1]], axis=-1).astype(np.float32)  # cubic convolution keeps straight lines
    found = warping.warped(ramp, window, warping.places(at, warping.points(window)), np.ones(2), np.zeros(2))
    pixels = np.stack(np.meshgrid(np.arange(*window[::2]), np.arange(*window[1::2]), indexing="ij"), axis=-1)
    off = found.values + np.array(size) - at.inverse(pixels.astype(np.float64))
    assert np.abs(off[found.depth > 0]).max() < 0.01


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 4.0]), st.sampled_from([0, 2, 6]))
def test_places_are_those_of_the_inverse(seed: int, amplitude: float, nodes: int) -> None:
    straight = bent((500, 400), amplitude, seed)
    net = np.random.default_rng(seed).normal(0, 0.7, (nodes, nodes, 2))
    at = TileMap(straight.size, straight.matrix, straight.shift, straight.lens, net)
    points = at(np.random.default_rng(seed).uniform((-15, -15), (515, 415), (300, 2)))
    assert np.abs(warping.places(at, points) - at.inverse(points)).max() < 1e-4


def test_a_map_that_is_no_number_shows_nothing() -> None:
    places = np.full((3, 3, 2), np.nan)
    found = warping.warped(texture((9, 9, 1), "uint8"), (0, 0, 20, 20), places, ONE, NOTHING)
    assert not found.depth.any()
    assert not found.values.any()


def test_far_from_a_tile_its_lens_shows_nothing() -> None:
    at = bent((100, 80), 6.0)
    window = (-2000, -2000, 2000, 2000)
    near = [int(n) for n in at.box()]
    found = warped(texture((100, 80, 1), "uint8"), at, window)
    xs, ys = np.nonzero(found.depth)
    assert len(xs) > 0.8 * 8000
    assert near[0] - 2 <= xs.min() - 2000 <= xs.max() - 2000 <= near[2] + 2
    assert near[1] - 2 <= ys.min() - 2000 <= ys.max() - 2000 <= near[3] + 2


def patch(x: int, y: int, shape: tuple[int, int], seed: int | None = None) -> Patch:
    sides = [np.minimum(np.arange(n) + 0.5, n - 0.5 - np.arange(n)) for n in shape]
    depth = np.asfortranarray(np.outer(*sides), np.float32)
    if seed is None:
        xs, ys = np.meshgrid(np.arange(x, x + shape[0]), np.arange(y, y + shape[1]), indexing="ij")
        values = ((xs * 31 + ys * 17) % 251).astype(np.float32)
    else:
        values = np.random.default_rng(seed).uniform(0, 250, shape).astype(np.float32)
    return Patch((x, y), np.asfortranarray(values)[..., np.newaxis], depth)


def cropped(one: Patch, window: warping.Window) -> Patch:
    values, depth = one.rows(window)
    return Patch((window[0], window[1]), values.T, depth.T)


def test_pictures_that_agree_are_shown_as_they_are() -> None:
    patches = [patch(0, 0, (90, 60)), patch(70, -5, (60, 70)), patch(20, 40, (90, 50))]
    found = blended(patches, (0, 0, 130, 90), 255, "uint8")
    xs, ys = np.meshgrid(np.arange(130), np.arange(90), indexing="ij")
    covered = ((xs < 90) & (ys < 60)) | ((xs >= 70) & (ys < 65)) | ((xs >= 20) & (xs < 110) & (ys >= 40))
    assert np.array_equal(found[..., 0], np.where(covered, (xs * 31 + ys * 17) % 251, 255))


@settings(max_examples=50)
@given(st.data())
def test_what_is_blended_depends_on_no_window(data: st.DataObject) -> None:
    patches = [patch(0, 0, (90, 60), 1), patch(70, -5, (60, 70), 2), patch(20, 40, (90, 50), 3)]
    whole = blended(patches, (-5, -10, 140, 100), 0, "float32")
    x0, x1 = sorted(data.draw(st.lists(st.integers(-5, 140), min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(data.draw(st.lists(st.integers(-10, 100), min_size=2, max_size=2, unique=True)))
    wide = (x0 - REACH, y0 - REACH, x1 + REACH, y1 + REACH)
    parts = [cropped(one, cut) for one in patches if (cut := common(one.window, wide)) is not None]
    part = blended(parts, (x0, y0, x1, y1), 0, "float32")
    assert np.array_equal(part, whole[x0 + 5 : x1 + 5, y0 + 10 : y1 + 10])


def test_values_are_rounded_half_up_and_clipped() -> None:
    depth = np.ones((6, 1), np.float32, order="F")
    values = np.array([-3.0, 0.49, 0.5, 1.5, 254.6, 300.0], np.float32).reshape(6, 1, 1)
    found = blended([Patch((0, 0), values, depth)], (0, 0, 7, 1), 9, "uint8")
    assert found.ravel().tolist() == [0, 0, 1, 2, 255, 255, 9]
