"""The parts of clefts in one block of evidence: which voxels are connected, and what adds up over each. Arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3, ceil_div, exactly
from igneous_ng.kernels import components
from igneous_ng.kernels.components import Parts, Runs
from igneous_ng.native import run_sums

Array = npt.NDArray[Any]


def quantised(evidence: Array) -> Array:
    """Evidence as uint8: uint8 as it is, uint16 by 257, of float32 the nearest to 255 p, 0 where it is no number."""
    if evidence.dtype == np.uint8:
        return evidence
    if evidence.dtype == np.uint16:
        return (evidence // np.uint16(257)).astype(np.uint8)
    scaled = np.nan_to_num(evidence, nan=0.0, posinf=1.0, neginf=0.0)
    np.clip(scaled, 0, 1, out=scaled)
    scaled *= np.float32(255)
    found: Array = np.rint(scaled, out=scaled).astype(np.uint8)
    return found


def least(fraction: float) -> int:
    """The least evidence, of 255, that is not below ``fraction``."""
    scaled = exactly(fraction) * 255
    return ceil_div(scaled.numerator, scaled.denominator)


def measured(labels: Array, evidence: Array, connectivity: int, place: Vec3) -> tuple[Runs, Parts, Array]:
    """The components of ``labels``, [x, y, z] of integers, and what is known of each, int64 [n, 12].

    That is: voxels; the sum and the greatest of ``evidence``, uint8 [x, y, z]; the sums of x, y, z; the box, lo and
    hi, hi excluded; places counted from where the block's first voxel is at ``place``.
    """
    runs, parts = components.label(labels, connectivity) if labels.any() else _nothing(labels.size)
    known = run_sums.sums(runs.lengths, runs.ids, evidence, len(parts.first))
    start = np.array(place, np.int64)
    known[:, 3:6] += known[:, :1] * start
    known[:, 6:12] += np.tile(start, 2)
    return runs, parts, known


def _nothing(voxels: int) -> tuple[Runs, Parts]:
    """The components of a block of background."""
    none = np.zeros(0, np.int64)
    return Runs(np.array([voxels], np.min_scalar_type(voxels)), np.zeros(1, np.uint8)), Parts(none, none)


def faces(runs: Runs, shape: Vec3) -> dict[tuple[int, int], Array]:
    """The components of the outermost voxels of a block on each side, in the smallest type."""
    kind = runs.ids.dtype
    return {side: np.asfortranarray(runs.face(shape, *side), kind) for side in components.FACES}
