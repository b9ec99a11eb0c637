"""Scenes whose objects are known: bright, of an analytic model's taste, with dark voxels between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from igneous_ng.geometry import Box, Vec3, vec
from tests import layers
from tests.segmentations import canonical

BRIGHT = 200


def tubes(shape: Vec3, seed: int = 0, step: int = 10, thick: int = 5) -> np.ndarray:
    """Labels [x, y, z] of objects: tubes that wander on a lattice of ``step`` voxels, which no two share a node of."""
    rng = np.random.default_rng(seed)
    nodes = vec(max(1, (n - thick) // step + 1) for n in shape)
    owner = np.zeros(nodes, np.uint64)
    labels = np.zeros(shape, np.uint64, order="F")
    for start in map(vec, rng.permutation(np.argwhere(owner == 0)).tolist()):
        if owner[start]:
            continue
        name, at = owner.max() + np.uint64(1), start
        owner[at] = name
        _box(labels, at, at, step, thick, name)
        for _ in range(int(rng.integers(3, 16))):
            axis, side = int(rng.integers(3)), int(rng.choice((-1, 1)))
            there = vec(n + side * (a == axis) for a, n in enumerate(at))
            inside = all(0 <= t < n for t, n in zip(there, nodes, strict=True))
            if inside and owner[there] == 0:
                owner[there] = name
                _box(labels, vec(map(min, at, there)), vec(map(max, at, there)), step, thick, name)
                at = there
    return canonical(labels).astype(np.uint64)


def stored(folder: Path, labels: np.ndarray, offset: Vec3 = (0, 0, 0), chunk: Vec3 = (16, 16, 16)) -> dict[str, str]:
    """The layers of a scene, as fields of `segment flood`: the image, and where its edges are."""
    bright = labels > 0
    image = np.where(bright, BRIGHT, 10).astype(np.uint8)[..., None]
    edge = np.where(bright, 0, 255).astype(np.uint8)[..., None]
    about = {"resolution": (8.0, 8.0, 8.0)}
    return {
        "image": f"file://{layers.create(folder / 'image', image, offset, chunk, **about)}",
        "edges": f"file://{layers.create(folder / 'edges', edge, offset, chunk, **about)}",
    }


def _box(labels: np.ndarray, low: Vec3, high: Vec3, step: int, thick: int, name: np.uint64) -> None:
    lo, hi = vec(step * n for n in low), vec(step * n + thick for n in high)
    labels[Box(lo, hi).slices()] = name
