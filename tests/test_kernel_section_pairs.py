"""How a picture lies on another one: found whatever was done to it, and not believed where nothing is in common."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from igneous_ng.kernels import keypoint_pairs, keypoints, section_pairs, turn_search
from igneous_ng.kernels.affine import Affine
from igneous_ng.kernels.block_agreement import View, agreement
from igneous_ng.kernels.section_pairs import Sight
from tests.data import data
from tests.montages import scenery

SIZE = (220, 180)
CASES = [(0.0, False, False), (37.0, False, False), (90.0, True, False), (200.0, False, True), (123.0, True, True)]


def seen(degrees: float, mirrored: bool, inverted: bool) -> tuple[np.ndarray, np.ndarray, Affine]:
    """A scene turned about its middle, where there is something of it, and the way back to the scene."""
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = matrix * np.array([1.0, -1.0 if mirrored else 1.0])
    middle = (np.array(SIZE) - 1) / 2
    back = Affine(matrix, middle - matrix @ middle + [4.0, -3.0])
    scene = scenery(SIZE, 3).astype(float)
    picture = ndimage.affine_transform(scene, back.matrix, back.shift, order=3)
    tissue = ndimage.affine_transform(np.ones(SIZE), back.matrix, back.shift, order=1) > 0.99
    return np.where(tissue, 255 - picture if inverted else picture, 0).astype(np.float32), tissue, back


def sight(picture: np.ndarray, tissue: np.ndarray) -> Sight:
    return Sight(View.of(picture, tissue), keypoints.keypoints(picture, tissue))


def scene() -> Sight:
    return sight(scenery(SIZE, 3).astype(np.float32), np.ones(SIZE, bool))


def off(found: Affine, truth: Affine) -> float:
    corners = np.array([[x, y] for x in (0, SIZE[0] - 1) for y in (0, SIZE[1] - 1)], float)
    return float(np.hypot(*(found(corners) - truth(corners)).T).max())


@pytest.mark.parametrize(("degrees", "mirrored", "inverted"), CASES)
def test_points_find_any_turn_mirror_state_and_contrast(degrees: float, mirrored: bool, inverted: bool) -> None:
    picture, tissue, back = seen(degrees, mirrored, inverted)
    found = section_pairs.laid(sight(picture, tissue), scene(), (5, 4))
    assert (found.status, found.mirrored, found.inverted) == ("points", mirrored, inverted)
    assert found.agreed is not None
    assert found.agreed.share > 0.9
    assert off(found.affine, back) < 0.3


@pytest.mark.parametrize(("degrees", "mirrored", "inverted"), CASES)
def test_turns_find_the_same_without_points(degrees: float, mirrored: bool, inverted: bool) -> None:
    picture, tissue, back = seen(degrees, mirrored, inverted)
    own, other = View.of(picture, tissue), scene().view
    best = turn_search.best_turns(own, other, 1)[0]
    assert (best.mirrored, best.inverted) == (mirrored, inverted)
    assert off(agreement(own, other, best.affine, inverted).affine, back) < 0.3


def test_permuted_descriptors_are_those_of_the_picture_turned_over() -> None:
    picture = scenery(SIZE, 8).astype(np.float32)
    tissue = np.ones(SIZE, bool)
    points = keypoints.keypoints(picture, tissue)
    for mirrored, inverted in ((True, False), (False, True), (True, True)):
        other = 255 - picture if inverted else picture
        over = keypoints.keypoints(other[:, ::-1] if mirrored else other, tissue)
        (best, *_) = keypoint_pairs.guesses(points, over, (1, 0))
        assert (best.mirrored, best.inverted) == (mirrored, inverted)
        assert best.inliers > 0.9 * best.matches
        assert best.matches > 0.5 * len(points.points)


@pytest.mark.long
def test_tissue_64_nm_apart_is_believed_though_it_is_bent_and_farther_tissue_is_not() -> None:
    with np.load(data("fib25", "em_520x520x128.npz")) as found:
        slices = {z: found["em"][z].T.astype(float) for z in (4, 64, 72)}
    x, y = np.meshgrid(*(np.arange(520),) * 2, indexing="ij")
    bends = 4 * np.sin([x / 70 + y / 160, y / 80 - x / 150 + 1])
    moved = ndimage.map_coordinates(slices[72], np.stack([x, y]) + bends, order=3, mode="nearest")
    whole = np.ones((520, 520), bool)
    bent, near, far = (sight(one.astype(np.float32), whole) for one in (moved, slices[64], slices[4]))
    found = section_pairs.laid(bent, near, (72, 64))
    assert found.agreed is not None
    assert found.agreed.share > 0.6
    assert off(found.affine, Affine(np.eye(2), np.zeros(2))) < 8
    assert section_pairs.laid(bent, far, (72, 4)).status == "failed"


@pytest.mark.long
def test_what_has_nothing_in_common_is_not_believed() -> None:
    for seed in (11, 12, 13):
        other = sight(scenery(SIZE, seed).astype(np.float32), np.ones(SIZE, bool))
        assert section_pairs.laid(other, scene(), (seed, 0)).status == "failed"
    blank = sight(np.zeros(SIZE, np.float32), np.zeros(SIZE, bool))
    assert section_pairs.laid(blank, scene(), (1, 0)).status == "failed"
    assert not len(blank.points.points)
