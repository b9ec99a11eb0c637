"""The inverse of a field of displacements: which place is moved to a given one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels import fields

Array = npt.NDArray[Any]
_STEPS = 24
_NEAR = 1e-3  # pixels


def inverse(forward: Array, low: tuple[int, int], step: int, points: Array) -> tuple[Array, Array]:
    """V with ``s = r + V`` and ``s + U(s) = r`` at the points r ``[..., 2]``, and how far that is missed, pixels.

    ``forward`` is U at nodes ``[x, y, 2]`` from node ``low``. By fixed points, then by Newton's method where these come
    no nearer: U may turn by more than it is long. Each point takes the same steps, whatever others do.
    """
    found = points.copy()
    for _ in range(_STEPS):
        found = points - _at(forward, low, step, found)
    missed = _missed(forward, low, step, found, points)
    far = missed > _NEAR
    if far.any():
        better = _newton(forward, low, step, points[far])
        left = _missed(forward, low, step, better, points[far])
        found[far] = np.where((left < missed[far])[:, np.newaxis], better, found[far])
        missed[far] = np.minimum(left, missed[far])
    return found - points, missed


def _newton(forward: Array, low: tuple[int, int], step: int, points: Array) -> Array:
    """Half steps at first, for fields are bent at every node."""
    found = points - _at(forward, low, step, points)
    for turn in range(2 * _STEPS):
        off = found + _at(forward, low, step, found) - points
        (a, b), (c, d) = _slope(forward, low, step, found)
        det = a * d - b * c
        det = np.where(np.abs(det) < 0.05, 0.05, det)
        change = np.stack([d * off[:, 0] - b * off[:, 1], a * off[:, 1] - c * off[:, 0]], axis=-1) / det[:, np.newaxis]
        found = found - np.clip(change, -step, step) * (0.5 if turn < _STEPS else 1.0)
    return np.asarray(found)


def _slope(
    forward: Array, low: tuple[int, int], step: int, at: Array
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The derivatives of ``s + U(s)``."""
    little = step / 16
    right, below = (
        (_at(forward, low, step, at + side) - _at(forward, low, step, at - side)) / (2 * little)
        for side in (np.array([little, 0.0]), np.array([0.0, little]))
    )
    return (1 + right[:, 0], below[:, 0]), (right[:, 1], 1 + below[:, 1])


def _at(forward: Array, low: tuple[int, int], step: int, points: Array) -> Array:
    return fields.bilinear(forward, low, fields.places(points, step))


def _missed(forward: Array, low: tuple[int, int], step: int, found: Array, points: Array) -> Array:
    off = found + _at(forward, low, step, found) - points
    return np.asarray(np.hypot(off[..., 0], off[..., 1]))
