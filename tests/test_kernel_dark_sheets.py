"""The filter for dark sheets: what it says of simple images, and that it looks no farther than it says."""

from __future__ import annotations

import numpy as np
import pytest

from igneous_ng.kernels.dark_sheets import Sheets

NM = (10.0, 10.0, 10.0)


def inner(sheets: Sheets, image: np.ndarray) -> np.ndarray:
    found = sheets.respond(np.asfortranarray(image, np.float32))
    assert found.flags.f_contiguous
    assert found.shape == image.shape
    return np.asarray(found[tuple(slice(r, n - r) for r, n in zip(sheets.radius, image.shape, strict=True))])


def test_polynomials_have_the_hessian_that_they_have() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        matrix = rng.normal(0, 1, (3, 3))
        matrix = (matrix + matrix.T) / 50
        at = np.stack(np.meshgrid(*[np.arange(21) - 10.0] * 3, indexing="ij"), -1)
        image = 0.5 * np.einsum("...i,ij,...j", at, matrix, at) + at @ rng.normal(0, 0.1, 3) + 3
        found = inner(Sheets(NM, (16.0,), 0.0), image)
        expected = np.linalg.eigvalsh(matrix)[-1] * 1.6**2
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_a_double_largest_eigenvalue_is_found_too() -> None:
    at = np.stack(np.meshgrid(*[np.arange(21) - 10.0] * 3, indexing="ij"), -1)
    for diagonal in ((1, 1, 0), (1, 1, 1), (0, 0, 0), (-1, -1, -2), (1, 1, -3)):
        image = 0.05 * (at**2 @ np.array(diagonal, float))
        np.testing.assert_allclose(inner(Sheets(NM, (16.0,), 0.0), image), 0.1 * 2.56 * max(diagonal), atol=2e-3)


def test_darkness_counts_against_the_smoothed_image() -> None:
    image = np.full((20, 20, 20), 0.25)
    np.testing.assert_allclose(inner(Sheets(NM, (16.0,), 2.0), image), -0.5, atol=1e-5)


def test_the_best_scale_counts() -> None:
    image = np.random.default_rng(1).random((24, 22, 20))
    both, reach = Sheets(NM, (12.0, 20.0), 0.3), 6
    alone = [Sheets(NM, (scale,), 0.3) for scale in both.scales]
    trimmed = [
        one.respond(np.asfortranarray(image, np.float32))[reach:-reach, reach:-reach, reach:-reach] for one in alone
    ]
    assert both.radius == (reach, reach, reach)
    assert (inner(both, image) == np.maximum(*trimmed)).all()


@pytest.mark.parametrize("resolution", [NM, (4.0, 4.0, 40.0), (8.0, 10.0, 12.0)])
def test_a_voxel_follows_only_what_lies_within_the_radius(resolution: tuple[float, float, float]) -> None:
    sheets = Sheets(resolution, (16.0, 22.0), 0.25)
    shape = tuple(2 * r + 5 for r in sheets.radius)
    rng = np.random.default_rng(0)
    image = rng.random(shape).astype(np.float32)
    other = np.asfortranarray(1000 * rng.random(shape).astype(np.float32))
    middle = tuple(n // 2 for n in shape)
    near = tuple(slice(m - r, m + r + 1) for m, r in zip(middle, sheets.radius, strict=True))
    other[near] = image[near]
    one, two = (sheets.respond(np.asfortranarray(seen)) for seen in (image, other))
    assert one[middle] == two[middle]
    assert one[tuple(m + 1 for m in middle)] != two[tuple(m + 1 for m in middle)]


def test_thick_sections_speak_for_themselves() -> None:
    sheets = Sheets((4.0, 4.0, 40.0), (16.0,), 0.25)
    assert sheets.radius == (12, 12, 0)
    image = np.random.default_rng(0).random((30, 30, 3))
    whole = inner(sheets, image)
    for z in range(3):
        assert (inner(sheets, image[:, :, z : z + 1])[..., 0] == whole[..., z]).all()


def test_axes_are_alike() -> None:
    sheets, image = Sheets((8.0, 10.0, 12.0), (20.0,), 0.25), np.random.default_rng(0).random((24, 22, 20))
    turned = Sheets((12.0, 8.0, 10.0), (20.0,), 0.25)
    np.testing.assert_allclose(
        inner(turned, image.transpose(2, 0, 1)), inner(sheets, image).transpose(2, 0, 1), atol=1e-4
    )
