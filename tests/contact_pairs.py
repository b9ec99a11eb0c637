"""What the contacts of a volume are, by definition: whole arrays and fractions, for tests."""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3, Vec3f
from igneous_ng.kernels.crofton import DIRECTIONS, measure

Array = npt.NDArray[Any]
Pairs = dict[tuple[int, int], dict[str, Any]]


def defined(labels: Array, first: Vec3, resolution: Vec3f) -> Pairs:
    """The contacts of whole labels [x, y, z] whose first voxel is ``first``: each two, 0 among them, the lower first.

    `counts` along the 13 directions, `area` in pm^2, `lo`, `hi` of the voxels beside faces, and `place`, the mean of
    faces by their weights, in nm.
    """
    made: dict[tuple[int, int], dict[str, Any]] = defaultdict(lambda: {"counts": [0] * 13, "faces": [], "place": []})
    for number, step in enumerate(DIRECTIONS):
        near = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(step, labels.shape, strict=True))
        far = tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip(step, labels.shape, strict=True))
        one, other = labels[near], labels[far]
        for at in np.argwhere(one != other).tolist():
            low, high = sorted((int(one[tuple(at)]), int(other[tuple(at)])))
            made[low, high]["counts"][number] += 1
            if number < 3:
                made[low, high]["faces"].append((number, at))
    for pair in made.values():
        _measure(pair, first, resolution)
    return dict(made)


def _measure(pair: dict[str, Any], first: Vec3, resolution: Vec3f) -> None:
    how, faces = measure(resolution), pair.pop("faces")
    pair["area"] = sum(c * w for c, w in zip(pair["counts"], how.crossing.tolist(), strict=True))
    if faces:
        beside = [np.add(at, first) + e for axis, at in faces for e in (0, np.eye(3, dtype=int)[axis])]
        pair["lo"], pair["hi"] = np.min(beside, axis=0).tolist(), (np.max(beside, axis=0) + 1).tolist()
        weights = [int(how.weight[axis]) for axis, _ in faces]
        for axis in range(3):
            middles = [w * _middle(face, axis, first, how.pitch) for w, face in zip(weights, faces, strict=True)]
            pair["place"].append(_nearest(Fraction(sum(middles)) / sum(weights) / 1000))


def _middle(face: tuple[int, list[int]], axis: int, first: Vec3, pitch: Vec3) -> Fraction:
    """The middle of a face along an axis, in pm."""
    across, at = face
    return Fraction(2 * (at[axis] + first[axis]) + (2 if across == axis else 1), 2) * pitch[axis]


def _nearest(value: Fraction) -> int:
    """A whole number, halves upwards."""
    return math.floor(value + Fraction(1, 2))


def nm2(area: int) -> int:
    """Whole nm^2 of pm^2, halves upwards."""
    return _nearest(Fraction(area, 10**6))


def cells(shape: Vec3, side: Vec3) -> list[tuple[Vec3, Vec3]]:
    """Cells of a volume: where each begins, and its shape."""
    starts = product(*(range(0, n, s) for n, s in zip(shape, side, strict=True)))
    return [
        ((x, y, z), (min(side[0], shape[0] - x), min(side[1], shape[1] - y), min(side[2], shape[2] - z)))
        for x, y, z in starts
    ]


def blobs(shape: Vec3, count: int, seed: int, background: float = 0.2) -> Array:
    """Labels of uint64, many above 2**53, of cells around random points, with some background."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, shape, (count, 3))
    names = rng.integers(1, 2**63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    names[rng.random(count) < background] = 0
    at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    nearest = np.argmin(((at[..., None, :] - points) ** 2).sum(axis=-1), axis=-1)
    return np.asfortranarray(names[nearest])
