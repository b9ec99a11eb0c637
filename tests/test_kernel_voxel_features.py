from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate1d, gaussian_filter

from igneous_ng.kernels.boundaries import BOUNDARY, INSIDE, UNKNOWN, affinities, bordering, classes
from igneous_ng.kernels.voxel_features import Bank
from igneous_ng.native import voxel_features as native

RESOLUTIONS = [(10.0, 10.0, 10.0), (8.0, 6.0, 30.0)]


def noise(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.asfortranarray(np.random.default_rng(seed).random(shape), np.float32)


def slopes(smoothed: np.ndarray, scale: float, resolution: tuple[float, float, float]) -> np.ndarray:
    """Central differences, [x, y, z, 3]."""
    return np.stack([correlate1d(smoothed, [-0.5, 0, 0.5], a) * scale / r for a, r in enumerate(resolution)], axis=-1)


def bends(smoothed: np.ndarray, scale: float, resolution: tuple[float, float, float]) -> np.ndarray:
    """The Hessian, [x, y, z, 3, 3]."""
    found = np.empty((*smoothed.shape, 3, 3))
    for a in range(3):
        for b in range(3):
            unit = scale**2 / (resolution[a] * resolution[b])
            if a == b:
                found[..., a, b] = correlate1d(smoothed, [1, -2, 1], a) * unit
            else:
                found[..., a, b] = correlate1d(correlate1d(smoothed, [-0.5, 0, 0.5], a), [-0.5, 0, 0.5], b) * unit
    return found


def smoothed(grey: np.ndarray, scale: float, resolution: tuple[float, float, float]) -> np.ndarray:
    return np.asarray(gaussian_filter(grey.astype(float), [scale / r for r in resolution], truncate=3.0))


def defined(bank: Bank, grey: np.ndarray) -> np.ndarray:
    """All features by scipy and numpy, in doubles."""
    planes, r = [grey.astype(float)], bank.resolution
    for s in bank.scales:
        image = smoothed(grey, s, r)
        hessian = bends(image, s, r)
        planes += [image, np.linalg.norm(slopes(image, s, r), axis=-1), np.trace(hessian, axis1=-2, axis2=-1)]
        planes += [np.linalg.eigvalsh(hessian)[..., i] for i in (2, 1, 0)]
    for s in bank.textures:
        slope = slopes(smoothed(grey, s, r), s, r)
        tensor = slope[..., :, np.newaxis] * slope[..., np.newaxis, :]
        for a in range(3):
            for b in range(3):
                tensor[..., a, b] = smoothed(tensor[..., a, b], 2 * s, r)
        planes += [np.linalg.eigvalsh(tensor)[..., i] for i in (2, 1, 0)]
    inside = tuple(slice(m, n - m) for m, n in zip(bank.margin, grey.shape, strict=True))
    return np.stack(planes, axis=-1)[inside]


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_features_are_those_of_scipy(resolution: tuple[float, float, float]) -> None:
    bank = Bank(resolution, (7.0, 16.0), (7.0,))
    shape = tuple(2 * m + n for m, n in zip(bank.margin, (7, 6, 5), strict=True))
    grey = noise(shape)  # type: ignore[arg-type]
    found = bank.of(grey)
    assert found.shape == (7, 6, 5, bank.count)
    assert found.flags.f_contiguous
    assert np.abs(found - defined(bank, grey)).max() < 2e-5


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_a_voxel_is_looked_at_as_far_as_the_margin_and_alike_in_any_patch(
    resolution: tuple[float, float, float],
) -> None:
    bank = Bank(resolution, (7.0, 16.0), (7.0,))
    m = bank.margin
    grey = noise(tuple(2 * n + 9 for n in m))  # type: ignore[arg-type]
    whole = bank.of(grey)
    part = bank.of(grey[2 : 2 + 2 * m[0] + 3, 1 : 1 + 2 * m[1] + 5, 3 : 3 + 2 * m[2] + 1])
    assert part.tobytes(order="F") == np.asfortranarray(whole[2:5, 1:6, 3:4]).tobytes(order="F")


def test_eigenvalues_are_those_of_lapack() -> None:
    rng = np.random.default_rng(4)
    full = rng.normal(size=(300, 3, 3)) * 10.0 ** rng.uniform(-6, 3, (300, 1, 1))
    full = full + full.transpose(0, 2, 1)
    full[:3] = np.diag([1, 1, 2]), np.diag([1, 2, 2]), np.zeros((3, 3))
    six = np.stack([full[:, a, b] for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))], axis=-1)
    found = native.eigenvalues(np.asfortranarray(six.reshape(300, 1, 1, 6), np.float32))[:, 0, 0]
    size = np.abs(full).max(axis=(1, 2))[:, np.newaxis] + 1e-30
    assert (np.abs(found - np.linalg.eigvalsh(full)[:, ::-1]) / size).max() < 5e-4


def test_what_is_too_small_is_refused() -> None:
    bank = Bank((10.0, 10.0, 10.0))
    with pytest.raises(ValueError, match="wider than the volume"):
        native.smooth(noise((3, 9, 9)), [0.5, 0.25], [1.0], [0.5, 0.2, 0.05, 0.01, 0.01, 0.01])
    with pytest.raises(ValueError, match="too small"):
        native.shapes(noise((2, 9, 9)), 1, 1, 1)
    assert bank.margin == (16, 16, 16)


LABELS = np.asfortranarray(
    np.repeat([5, 5, 5, 5, 5, 7, 7, 7, 7, 7, 0, 9], 5)[:, np.newaxis, np.newaxis] * np.ones((1, 9, 9), int)
)


def test_classes_of_voxels() -> None:
    line = classes(LABELS, (10.0, 10.0, 10.0))[:, 4, 4]
    assert set(np.flatnonzero(line == BOUNDARY)) == {24, 25}
    assert set(np.flatnonzero(line == INSIDE)) == {*range(24), *range(26, 49), *range(56, 60)}
    assert (line[49:56] == UNKNOWN).all()
    across = np.asfortranarray(LABELS.transpose(2, 1, 0))
    assert not bordering(across, (10.0, 10.0, 40.0)).any()  # nothing is known of what lies between thick sections
    assert bordering(across, (10.0, 10.0, 15.0)).any()


def test_affinities_of_labels() -> None:
    joined, known = affinities(LABELS, (10.0, 10.0, 10.0), (1, 4))
    assert joined.shape == (*LABELS.shape, 6)
    line = np.flatnonzero(~joined[:, 4, 4, 0] & known[:, 4, 4, 0])
    assert set(line) == {24, 25, 26}  # a border is two voxels thick
    assert not known[0, :, :, 0].any()
    assert not known[50:56, 4, 4, 0].any()
    assert known[1:50, 4, 4, 0].all()
    far = np.flatnonzero(~joined[:, 4, 4, 3] & known[:, 4, 4, 3])
    assert set(far) == set(range(24, 30))
    assert (joined[:, 4, 4, 1] == ((LABELS[:, 4, 4] > 0) & ~bordering(LABELS, (1, 1, 1))[:, 4, 4])).all()
