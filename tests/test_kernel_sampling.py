from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from igneous_ng.geometry import Box, vec
from igneous_ng.kernels import sampling
from igneous_ng.kernels.sampling import Method
from igneous_ng.native import resample as native

BOUNDS = Box((-20, 30, 7), (20, 60, 40))


def ramp() -> np.ndarray:
    """A linear function of the place, float32 ``[x, y, z]`` over the bounds."""
    x, y, z = np.meshgrid(*(np.arange(a, b) for a, b in zip(BOUNDS.lo, BOUNDS.hi, strict=True)), indexing="ij")
    return np.asfortranarray((2 * x - 3 * y + 5 * z).astype(np.float32))


def bent(points: np.ndarray) -> np.ndarray:
    """Where points of the window lie: turned and stretched, inside the bounds."""
    matrix = np.array([[0.9, 0.1, 0.05], [-0.1, 0.8, 0.0], [0.02, 0.1, 1.1]])
    return np.asarray(points @ matrix.T + [0.3, 44.7, 20.2])


def show(voxels: np.ndarray, window: Box, method: Method, held: Box = BOUNDS) -> tuple[np.ndarray, np.ndarray]:
    part = voxels[held.slices(BOUNDS.lo)]
    return sampling.sampled(part, held.lo, BOUNDS, bent(sampling.points(window)), window, method)


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_a_linear_function_is_found_between_voxels(method: Method) -> None:
    window = Box((-9, -10, -8), (10, 9, 9))
    values, inside = show(ramp(), window, method)
    x, y, z = np.meshgrid(*(np.arange(a, b) for a, b in zip(window.lo, window.hi, strict=True)), indexing="ij")
    at = bent(np.stack([x, y, z], axis=-1))
    deep = ((at > np.array(BOUNDS.lo) + 1) & (at < np.array(BOUNDS.hi) - 3)).all(axis=-1)
    assert deep.sum() > 4000
    assert inside[deep].all()
    assert np.allclose(values[deep], (at @ [2, -3, 5])[deep], atol=1e-3)
    assert (inside == ((at >= np.array(BOUNDS.lo) - 0.5) & (at < np.array(BOUNDS.hi) - 0.5)).all(axis=-1)).all()
    assert not values[~inside].any()


def test_cubic_convolution_is_that_of_keys() -> None:
    """Against the kernel of the paper, written out."""

    def weight(s: float) -> float:
        s = abs(s)
        return 1.5 * s**3 - 2.5 * s**2 + 1 if s <= 1 else -0.5 * s**3 + 2.5 * s**2 - 4 * s + 2 if s < 2 else 0.0

    voxels = np.asfortranarray(np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32))
    at = np.array([3.3, 2.6, 4.1])
    places = np.broadcast_to(at, (2, 2, 2, 3)).copy()
    box = Box((0, 0, 0), (8, 8, 8))
    found, _ = sampling.sampled(voxels, (0, 0, 0), box, places, Box((0, 0, 0), (1, 1, 1)), "cubic")
    sides = [[weight(k - a) for k in range(8)] for a in at]
    assert np.isclose(found[0, 0, 0], np.einsum("xyz,x,y,z", voxels, *sides), atol=1e-5)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4"])
def test_nothing_changes_where_nothing_moves(dtype: str) -> None:
    top = 2**63 if dtype == "u8" else 100
    voxels = np.random.default_rng(1).integers(0, top, (19, 17, 11), "u8").astype(dtype)
    box = Box((5, -3, 90), (24, 14, 101))
    for method in ("nearest", "linear", "cubic"):
        found, inside = sampling.sampled(voxels, box.lo, box, sampling.points(box), box, method)
        assert inside.all()
        if method == "nearest":
            assert found.dtype == voxels.dtype
            assert (found == voxels).all()
        elif dtype[1] in "12":
            assert (found == voxels).all()


@pytest.mark.parametrize("method", ["nearest", "linear", "cubic"])
def test_a_voxel_is_the_same_in_any_window_and_from_any_box(method: Method) -> None:
    voxels = np.asfortranarray(np.random.default_rng(2).integers(0, 255, BOUNDS.shape).astype(np.uint8))
    whole = Box((-21, -19, -11), (23, 18, 14))
    values, inside = show(voxels, whole, method)
    for corner in product((0, 1), repeat=3):
        lo = vec(np.array([-21, -19, -11]) + np.array(corner) * (13, 9, 11))
        part = Box.sized(lo, (17, 22, 12)) & whole
        held = sampling.around(bent(sampling.points(part)), BOUNDS, method)
        assert held != BOUNDS
        some, there = show(voxels, part, method, held)
        assert (some == values[part.slices(whole.lo)]).all()
        assert (there == inside[part.slices(whole.lo)]).all()


def test_what_makes_no_sense_is_refused() -> None:
    voxels, points = np.zeros((3, 3, 3), np.uint8), np.zeros((2, 2, 2, 3))
    frame = (0, 0, 0), (0, 0, 0), (3, 3, 3)
    for wrong, match in [
        ((voxels[0], frame, points, (0, 0, 0), (1, 1, 1), "linear"), "give a volume"),
        ((voxels, frame, points[0], (0, 0, 0), (1, 1, 1), "linear"), "give points"),
        ((voxels, frame, points, (0, 0, 0), (9, 1, 1), "linear"), "lattice ends"),
        ((voxels, (frame[0], frame[0], frame[0]), points, (0, 0, 0), (1, 1, 1), "linear"), "hold nothing"),
        ((voxels, frame, points, (0, 0, 0), (1, 1, 1), "mean"), "nearest, linear or cubic"),
        ((voxels.astype(np.float64), frame, points, (0, 0, 0), (1, 1, 1), "linear"), "integers or of float32"),
    ]:
        with pytest.raises(ValueError, match=match):
            native.resample(*wrong)
