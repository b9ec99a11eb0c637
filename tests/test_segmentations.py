"""What other tests rely on: the definitions of segmentation in plain Python; ids that tell where they lie."""

from __future__ import annotations

import itertools

import numpy as np

from igneous_ng.geometry import vec
from igneous_ng.kernels import supervoxel_ids
from tests import segmentations
from tests.segmentations import Rules


def row(*values: int) -> np.ndarray:
    """A row of voxels along x with these affinities between them."""
    aff = np.zeros((len(values) + 1, 1, 1, 3), np.uint8)
    aff[1:, 0, 0, 0] = values
    return aff


def test_watershed_by_hand() -> None:
    assert segmentations.watershed(row(9, 3, 7, 0), 0, 1).ravel().tolist() == [1, 1, 3, 3, 0]
    assert segmentations.watershed(row(5, 5, 5), 0, 1).ravel().tolist() == [1, 1, 1, 1]
    assert segmentations.watershed(row(200, 100, 200), 0, 100 / 255).ravel().tolist() == [1, 1, 1, 1]


def test_agglomeration_by_hand() -> None:
    regions = np.array([1, 1, 3, 3, 5, 6]).reshape(6, 1, 1)
    aff = row(200, 100, 200, 60, 90)
    assert segmentations.agglomerate(regions, aff, Rules(95 / 255)).ravel().tolist() == [1, 1, 1, 1, 5, 6]
    assert segmentations.agglomerate(regions, aff, Rules(50 / 255)).ravel().tolist() == [1] * 6
    guarded = Rules(50 / 255, guard_size=2, guard_threshold=0.5)
    assert segmentations.agglomerate(regions, aff, guarded).ravel().tolist() == [1, 1, 3, 3, 5, 5]
    small = Rules(95 / 255, small_size=2, small_threshold=80 / 255)
    assert segmentations.agglomerate(regions, aff, small).ravel().tolist() == [1, 1, 1, 1, 5, 5]


def test_ids_tell_the_place_of_their_chunk() -> None:
    for bits in (10, 12):
        for at in map(vec, itertools.product((0, 1, 700), repeat=3)):
            low = supervoxel_ids.first(at, bits)
            ids = np.array([low + 1, low + supervoxel_ids.most(bits)], np.uint64)
            assert supervoxel_ids.places(ids, bits).tolist() == [list(at)] * 2
            assert (ids >> np.uint64(56) == 1).all()
    assert supervoxel_ids.most(10) == (1 << 26) - 1
    assert supervoxel_ids.bits_for((3, 1024, 5)) == 10
    assert supervoxel_ids.bits_for((3, 1025, 5)) == 11
