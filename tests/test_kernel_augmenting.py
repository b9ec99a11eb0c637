"""A model that sees no direction says the same of a patch however it is turned, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from igneous_ng.kernels.augmenting import Augment, Turn, predicted, turns

SHAPE = (5, 5, 5)
OUTSIDE = 7.0


def steps(patch: np.ndarray) -> np.ndarray:
    """Affinities without a direction: how far neighbours differ; the faces that lead out of the patch are the same."""
    found = np.full((*patch.shape, 3), OUTSIDE, np.float32, order="F")
    for axis in range(3):
        np.moveaxis(found[..., axis], axis, 0)[1:] = np.abs(np.diff(np.moveaxis(patch, axis, 0), axis=0))
    return found


def squares(patch: np.ndarray) -> np.ndarray:
    return np.asfortranarray((patch**2)[..., None])


def classes(patch: np.ndarray) -> np.ndarray:
    """Three channels that are no affinities."""
    return np.asfortranarray(np.stack([patch, patch**2, 255 - patch], axis=-1))


def patch(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    return np.asfortranarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32))


@pytest.mark.parametrize("way", turns("all", True))
def test_affinities_of_a_turned_patch_turned_back_are_those_of_the_patch(way: Turn) -> None:
    seen = patch()
    plain, back = steps(seen), way.back(steps(way.of(seen)), joining=True)
    for axis in range(3):
        first, rest = (np.moveaxis(one[..., axis], axis, 0) for one in (plain, back))
        assert (first[1:] == rest[1:]).all()
        assert (rest[0] == (OUTSIDE if way.tells_first(axis) else 0)).all()


@pytest.mark.parametrize("way", turns("all", True))
def test_boundaries_of_a_turned_patch_turned_back_are_those_of_the_patch(way: Turn) -> None:
    seen = patch()
    assert (way.back(squares(way.of(seen)), joining=False) == squares(seen)).all()


@pytest.mark.parametrize("way", turns("all", True))
def test_three_classes_stay_where_they_are(way: Turn) -> None:
    seen = patch()
    assert (way.back(classes(way.of(seen)), joining=False) == classes(seen)).all()


@pytest.mark.parametrize("augment", ["none", "flips", "all"])
@pytest.mark.parametrize("isotropic", [False, True])
def test_the_mean_over_all_ways_is_that_of_one(augment: Augment, isotropic: bool) -> None:
    seen = patch((6, 6, 6) if isotropic else (6, 6, 3))
    for model in (steps, squares, classes):
        assert (predicted(model, seen, turns(augment, isotropic), model is steps) == model(seen)).all()


def test_ways_are_all_different_and_as_many_as_there_are() -> None:
    assert [len(turns(augment, False)) for augment in ("none", "flips", "all")] == [1, 8, 16]
    assert [len(turns(augment, True)) for augment in ("none", "flips", "all")] == [1, 8, 48]
    seen = {way.of(patch()).tobytes(order="F") for way in turns("all", True)}
    assert len(seen) == 48
    assert all(way.of(patch()).flags.f_contiguous for way in turns("all", True))


def test_what_sees_a_direction_is_averaged() -> None:
    def slope(seen: np.ndarray) -> np.ndarray:
        found = np.zeros_like(seen)
        found[1:] = np.diff(seen, axis=0)
        return found[..., None]

    ways = [Turn(), Turn(flips=(True, False, False))]
    seen = patch((4, 1, 1))
    there, back = slope(seen), slope(seen[::-1])[::-1]
    assert (predicted(slope, seen, ways, joining=False) == (there + back) / 2).all()
