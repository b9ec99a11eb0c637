"""How much of the true axes the skeletons follow that were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.io import IO
from igneous_ng.labelled import unsigned
from igneous_ng.true_skeletons import Skeletons

Array = npt.NDArray[Any]
NEAR = 150.0  # nm


def covered(folder: Path) -> tuple[float, int]:
    """The share of the true nodes that have a skeleton of their own segment near by, and how many nodes there are."""
    io = IO()
    nodes = _all(Skeletons(io, f"file://{folder}/truth/skeletons", 1))
    points = np.concatenate([np.zeros((0, 3)), *nodes.values()])
    segments = _segments(io, f"file://{folder}/segmentation", points)
    made = _all(Skeletons(io, f"file://{folder}/segmentation", 1))
    near = sum(
        _near(points[segments == label], made.get(label)) for label in np.unique(segments[segments > 0]).tolist()
    )
    return near / max(len(points), 1), len(points)


def _near(points: Array, skeleton: Array | None) -> int:
    """How many of ``points`` lie near a node of a skeleton."""
    if skeleton is None:
        return 0
    from scipy.spatial import cKDTree

    return int((cKDTree(skeleton).query(points)[0] < NEAR).sum())


def _segments(io: IO, layer: str, points: Array) -> Array:
    """The label at each place in nm; 0 outside."""
    volume = io.volume(layer, 0)
    labels = unsigned(io.read(volume, volume.bounds), volume, volume.bounds)
    at = np.floor(points / np.array(volume.resolution)).astype(np.int64) - np.array(volume.bounds.lo)
    inside = ((at >= 0) & (at < np.array(labels.shape[:3]))).all(axis=1)
    found = np.zeros(len(points), np.uint64)
    found[inside] = labels[tuple(at[inside].T)]
    return found


def _all(source: Skeletons) -> dict[int, Array]:
    """The nodes of all skeletons, by their numbers."""
    return {one.number: one.points for unit in source.units for one in source.read(unit)}
