"""Affinities from layers: three channels or boundaries, bytes or fractions, halos beyond the layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng.affinities import Affinities
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from tests import segmentations


def test_three_channels_are_read_as_they_are_and_nothing_is_outside(tmp_path: Path) -> None:
    aff = segmentations.affinities((20, 17, 9))
    url = segmentations.layer(tmp_path / "aff", aff, (3, -4, 100))
    found = Affinities(url, 0).read(IO(), Box((-1, -6, 98), (30, 14, 110)))
    assert found.shape == (31, 20, 12, 3)
    assert np.array_equal(found[4:24, 2:19, 2:11], aff)
    assert found.sum() == aff.sum()


def test_no_face_leads_out_of_the_layer(tmp_path: Path) -> None:
    url = segmentations.layer(tmp_path / "aff", np.full((8, 8, 8, 3), 200, np.uint8))
    found = Affinities(url, 0).read(IO(), Box((0, 0, 0), (8, 8, 8)))
    assert not found[0, :, :, 0].any()
    assert not found[:, 0, :, 1].any()
    assert not found[:, :, 0, 2].any()
    assert (found[1:, 1:, 1:] == 200).all()


def test_channels_in_another_order(tmp_path: Path) -> None:
    aff = segmentations.affinities((8, 9, 10))
    url = segmentations.layer(tmp_path / "aff", aff[..., ::-1])
    found = Affinities(url, 0, (2, 1, 0)).read(IO(), Box((0, 0, 0), (8, 9, 10)))
    assert np.array_equal(found, aff)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_boundaries_become_affinities_the_same_for_any_box(tmp_path: Path, dtype: str) -> None:
    rng = np.random.default_rng(0)
    boundary = rng.integers(0, 256, (12, 11, 10, 1)).astype(np.uint8)
    stored = boundary if dtype == "uint8" else (boundary / np.float32(255)).astype(np.float32)
    url = segmentations.layer(tmp_path / "b", stored)
    whole = Affinities(url, 0).read(IO(), Box((0, 0, 0), (12, 11, 10)))
    expected = 255 - np.maximum(boundary[1:, :, :, 0], boundary[:-1, :, :, 0])
    assert np.array_equal(whole[1:, :, :, 0], expected)
    part = Box((4, 3, 2), (12, 13, 7))
    found = Affinities(url, 0).read(IO(), part)
    assert np.array_equal(found[:, :8], whole[4:, 3:, 2:7])
    assert not found[:, 8:].any()


def test_fractions_are_rounded_and_others_refused(tmp_path: Path) -> None:
    values = np.full((4, 4, 4, 3), 0.5, np.float32)
    url = segmentations.layer(tmp_path / "half", values)
    assert (Affinities(url, 0).read(IO(), Box((1, 1, 1), (4, 4, 4))) == 128).all()
    url = segmentations.layer(tmp_path / "wide", values * 3)
    with pytest.raises(DataError, match="from 0 to 1"):
        Affinities(url, 0).read(IO(), Box((0, 0, 0), (4, 4, 4)))


def test_layers_that_hold_no_affinities_are_refused(tmp_path: Path) -> None:
    url = segmentations.layer(tmp_path / "two", np.zeros((4, 4, 4, 2), np.uint8))
    with pytest.raises(SpecError, match="3 channels and boundaries 1"):
        Affinities(url, 0).volume(IO())
    url = segmentations.layer(tmp_path / "three", np.zeros((4, 4, 4, 3), np.uint8))
    with pytest.raises(SpecError, match="axes"):
        Affinities(url, 0, (0, 0, 1)).volume(IO())
