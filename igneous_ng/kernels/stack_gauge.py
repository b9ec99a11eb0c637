"""Where a stack lies as a whole, of which links say nothing: as most of its sections lay, in the mean unstretched."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels.affine import Affine, polar

Array = npt.NDArray[Any]
_NEAR = np.deg2rad(10)  # of the usual turn: sections whose turns are averaged
_CANDIDATES = 500


def gauge(matrix: Array, shift: Array) -> Affine:
    """What is to follow the maps of a component, ``[n, 2, 2]`` and ``[n, 2]``, whose middles are 0.

    Mirrored, if most are; turned by the turn that most are nearest to, and by the mean of those near it; stretched so
    that the mean stretch is none; moved so that the middle of the middles (median) is 0.
    """
    flip = np.diag([1.0, -1.0 if (np.linalg.det(matrix) < 0).sum() * 2 > len(matrix) else 1.0])
    parts = [polar(flip @ one) for one in matrix]
    turns = np.stack([turn for _, turn in parts])
    upright = turns[np.linalg.det(turns) > 0]
    angle = _usual(np.arctan2(upright[:, 1, 0], upright[:, 0, 0]))
    cos, sin = np.cos(angle), np.sin(angle)
    back = np.array([[cos, sin], [-sin, cos]])
    mean = np.mean([stretch for stretch, _ in parts], axis=0)
    linear = back @ np.linalg.inv(mean) @ flip
    return Affine(linear, -np.median(shift @ linear.T, axis=0))


def _usual(angles: Array) -> float:
    """The angle that all are nearest to (of the middle ones, where several are), and the mean of those near it."""
    count = len(angles)
    middle = sorted(range(0, count, max(1, count // _CANDIDATES)), key=lambda n: abs(2 * n - count + 1))
    costs = [np.round(np.abs(_wrapped(angles - angles[n])).sum(), 6) for n in middle]
    best = angles[middle[int(np.argmin(costs))]]
    off = _wrapped(angles - best)
    return float(best + off[np.abs(off) < _NEAR].mean())


def _wrapped(angle: Array) -> Array:
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi)
