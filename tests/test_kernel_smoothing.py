"""Smoothing: steps of voxels go, volumes and ends of surfaces stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.kernels import meshing
from tests.test_kernel_meshing import volume

Array = npt.NDArray[Any]
VOXEL = (16.0, 16.0, 40.0)
RADIUS = 400.0


def ball(high: bool = True) -> meshing.Mesh:
    """A ball of anisotropic voxels, in nm around its centre; without ``high`` it is open where z is highest."""
    x, y, z = np.ogrid[-30:31, -30:31, -12:13] if high else np.ogrid[-30:31, -30:31, -12:1]
    inside = (x * VOXEL[0]) ** 2 + (y * VOXEL[1]) ** 2 + (z * VOXEL[2]) ** 2 < RADIUS**2
    labels = inside.astype("uint8")
    (found,) = meshing.march(labels, (0, 0, 0), labels.shape, (True,) * 3, (True, True, high))
    vertices, faces = meshing.join([found.piece])
    return (vertices - (61, 61, 25)) * (np.array(VOXEL) / 2), faces


def tilt(vertices: Array, faces: Array) -> float:
    """By how many degrees faces lean away from those of a ball, on the average of their areas."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normals, outward = np.cross(b - a, c - a), a + b + c
    areas = np.linalg.norm(normals, axis=1)
    cosines = (normals * outward).sum(axis=1) / np.linalg.norm(outward, axis=1) / np.maximum(areas, 1e-9)
    return float(np.average(np.degrees(np.arccos(np.clip(cosines, -1, 1))), weights=areas))


def test_steps_of_voxels_go_and_the_volume_stays() -> None:
    vertices, faces = ball()
    smooth = meshing.smooth(vertices, faces, 20)
    assert tilt(smooth, faces) < tilt(vertices, faces) / 3
    assert np.std(np.linalg.norm(smooth, axis=1)) < np.std(np.linalg.norm(vertices, axis=1))
    assert volume(smooth, faces) == pytest.approx(volume(vertices, faces), rel=0.01)
    assert np.linalg.norm(smooth - vertices, axis=1).max() < max(VOXEL)


def test_ends_of_surfaces_stay() -> None:
    vertices, faces = ball(high=False)
    smooth = meshing.smooth(vertices, faces, 20)
    edge = vertices[:, 2] == vertices[:, 2].max()
    assert np.count_nonzero(edge) > 50
    assert np.array_equal(smooth[edge], vertices[edge])
    assert not np.array_equal(smooth[~edge], vertices[~edge])


def test_no_round_moves_nothing_and_what_is_no_mesh_is_refused() -> None:
    vertices, faces = ball()
    assert np.array_equal(meshing.smooth(vertices, faces, 0), vertices)
    with pytest.raises(ValueError, match="not there"):
        meshing.smooth(vertices[:5], faces, 1)
    with pytest.raises(ValueError, match=r"\[n, 3\]"):
        meshing.smooth(vertices[:, :2], faces, 1)
