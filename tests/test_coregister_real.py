"""Real tissue, seen through a known map in other modalities, is found again: figures against truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.kernels.space_maps import Affine
from igneous_ng.stages.coregister_fit import Fit
from igneous_ng.stages.coregister_match import Matching
from igneous_ng.stages.coregister_rough import Rough
from tests.coregistered import VOXEL, Truth, Waves, about, layer, seen, tissue

MEDIAN, P95 = 0.3, 0.8  # voxels of FIXED
LOOKS: dict[str, dict[str, Any]] = {
    "gain": {"look": lambda v: 0.7 * v + 40},
    "inverted": {"look": lambda v: 255 - v},
    "gamma of 16 bit": {"look": lambda v: 60_000 * (v / 255) ** 2.2, "noise": 1500.0},
    "every second slice": {"pool": (1, 1, 2)},
    "pooled": {"pool": (2, 2, 2)},
}


def modality(still: np.ndarray, truth: Truth, pool: Vec3 = (1, 1, 1), **how: Any) -> tuple[np.ndarray, Truth]:
    """The moving volume, pooled along x and y, every ``pool``-th slice along z; and where it lies."""
    x, y, z = pool
    values = seen(still, truth, still.shape, **how)[:, :, ::z]
    nx, ny, nz = values.shape
    values = values.reshape(nx // x, x, ny // y, y, nz).mean(axis=(1, 3))
    top = 65535 if how.get("noise") else 255
    away = Affine(np.eye(3), np.array([0, 0, (1 - z) * VOXEL / 2]))  # the first slice is the middle of a voxel
    affine = Affine(truth.affine.matrix, truth.affine(away.shift))
    return np.clip(np.rint(values), 0, top).astype(np.uint16 if top > 255 else np.uint8), Truth(affine, truth.waves)


def errors(folder: Path, box: Box, **how: Any) -> np.ndarray:
    """By two rounds: the errors all over the part of FIXED in which MOVING is, voxels."""
    still = tissue(box)
    truth = Truth(about(np.array(box.shape) * VOXEL / 2), Waves.drawn(2 * VOXEL, 57 * VOXEL, 1))
    other, truth = modality(still, truth, **how)
    pool = np.array(how.get("pool", (1, 1, 1)))
    noisy = np.clip(still + np.random.default_rng(3).normal(0, 6, still.shape), 1, 255).astype(np.uint8)
    resolution = tuple((pool * VOXEL).tolist())
    names = layer(folder / "moving", other, resolution=resolution), layer(folder / "fixed", noisy)
    home = str(folder / "co")
    run.inline(Rough(moving=names[0], fixed=names[1], folder=home))
    run.inline(Matching(folder=home, mip=1, block=(32, 32, 32), step=(16, 16, 16)))
    run.inline(Fit(folder=home))
    run.inline(Matching(folder=home, round=2, search=(6, 6, 6)))
    run.inline(Fit(folder=home, round=2))
    found = truth.errors(IO(), f"file://{home}", 2, box)
    figures = np.percentile(found, (50, 95))
    print(figures, Fit(folder=home, round=2).said(IO()))  # noqa: T201 - shown with -s
    return found


@pytest.mark.long
@pytest.mark.parametrize("which", LOOKS)
def test_the_map_of_any_modality_is_found(tmp_path: Path, which: str) -> None:
    found = errors(tmp_path, Box((0, 0, 0), (192, 192, 128)), **LOOKS[which])
    assert np.median(found) <= MEDIAN
    assert np.percentile(found, 95) <= P95


@pytest.mark.long
def test_the_map_of_a_whole_crop_is_found(tmp_path: Path) -> None:
    found = errors(tmp_path, Box((0, 0, 0), (520, 520, 128)), **LOOKS["gain"])
    assert np.median(found) <= MEDIAN
    assert np.percentile(found, 95) <= P95
