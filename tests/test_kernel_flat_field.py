"""Flat fields: what is planted is found, what is the pictures' own is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from igneous_ng.kernels import flat_field, flat_nodes

Array = npt.NDArray[Any]


def vignette(shape: tuple[int, int], depth: float) -> Array:
    x, y = ((np.arange(n) + 0.5) / n * 2 - 1 for n in shape)
    found = 1 - depth * ((x[:, None] - 0.2) ** 2 + y**2) / 2
    return np.asarray(found / found.mean())


def pictures(count: int, shape: tuple[int, int], field: Array, seed: int = 0) -> Array:
    """Random tissue of different brightness, seen through ``field``, each divided by its median."""
    rng = np.random.default_rng(seed)
    seen = np.empty((count, *shape), np.float32)
    for n in range(count):
        texture = 1 + 0.06 * ndimage.gaussian_filter(rng.normal(size=shape), 1, mode="wrap") * 3.5
        picture = texture * field * rng.uniform(50, 200)
        seen[n] = picture / np.median(picture)
    return seen


@pytest.mark.parametrize(("shape", "depth"), [((32, 32), 0.3), ((48, 36), 0.15), ((128, 96), 0.3)])
def test_planted_vignetting_is_found_within_a_percent(shape: tuple[int, int], depth: float) -> None:
    true = vignette(shape, depth)
    found = flat_field.field(pictures(400, shape, true), np.arange(400))
    assert np.abs(found / true - 1).max() < 0.01
    assert abs(found.mean() - 1) < 1e-12


def test_texture_alone_leaves_an_even_field() -> None:
    for seed in range(5):
        found = flat_field.field(pictures(40, (32, 32), np.ones((32, 32)), seed), np.arange(40))
        assert np.abs(found - 1).max() < 0.004


def test_what_one_place_shows_in_all_sections_is_not_the_cameras() -> None:
    seen = pictures(24, (32, 32), np.ones((32, 32)), 3)
    again = np.repeat(seen, 20, axis=0)
    place = np.repeat(np.arange(24), 20)
    assert np.abs(flat_field.field(again, place) - 1).max() < 0.01
    told = flat_field.field(again, np.tile(np.arange(20), 24))  # as if each were a place of its own
    assert np.abs(told - 1).max() > 0.02


def test_dirt_on_the_camera_is_found_and_dirt_on_few_tiles_is_not() -> None:
    true = np.ones((64, 64))
    true[40:44, 20:24] = 0.8
    seen = pictures(600, (64, 64), true)
    seen[:120, 10:14, 10:14] = 3.0
    found = flat_field.field(seen, np.arange(600))
    assert found[41:43, 21:23].mean() < 0.9
    assert np.abs(found[8:16, 8:16] - 1).max() < 0.02


def test_the_order_of_pictures_does_not_matter_within_a_half() -> None:
    seen, place = pictures(60, (32, 32), vignette((32, 32), 0.2)), np.arange(60)
    order = np.random.default_rng(1).permutation(60)
    assert np.array_equal(flat_field.field(seen, place), flat_field.field(seen[order], place[order]))


def test_nodes_lie_from_the_first_to_the_last_pixel_and_are_linear_beyond_the_cells() -> None:
    size, factor, cells = (131, 100), 4, (32, 25)
    x, y = (np.arange(n) * factor + (factor - 1) / 2 for n in cells)
    slope = 1 + 0.002 * (x[:, None] - 65) - 0.001 * (y - 50)
    nodes = flat_nodes.nodes(slope, size, factor)
    assert nodes.dtype == np.float32
    assert nodes.shape == cells
    corners = [1 + 0.002 * (a - 65) - 0.001 * (b - 50) for a in (0, 130) for b in (0, 99)]
    assert np.allclose(nodes[[0, 0, -1, -1], [0, -1, 0, -1]], corners, atol=2**-12)
    assert np.allclose(flat_nodes.coarse(nodes, size, factor, cells), slope, atol=2**-12)
    assert np.array_equal(nodes * 2**12, np.round(nodes * 2**12))


def test_a_camera_of_one_pixel_has_a_field() -> None:
    nodes = flat_nodes.nodes(np.ones((1, 1)), (1, 1), 1)
    assert nodes.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert flat_nodes.coarse(nodes, (1, 1), 1, (1, 1)).tolist() == [[1.0]]
