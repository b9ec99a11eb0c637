"""Affine maps of the plane, and those that fit points best. Points are ``[..., 2]``, x and y."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Affine:
    """``p`` to ``matrix @ p + shift``."""

    matrix: Array
    shift: Array

    def __call__(self, points: Array) -> Array:
        """Where points come to lie."""
        return linear(self.matrix, points) + self.shift

    def after(self, first: Affine) -> Affine:
        """This map of what ``first`` gives."""
        return Affine(self.matrix @ first.matrix, self.matrix @ first.shift + self.shift)

    @property
    def inverse(self) -> Affine:
        """The map back."""
        back = np.linalg.inv(self.matrix)
        return Affine(back, -back @ self.shift)

    def scaled(self, factor: float) -> Affine:
        """The same map between frames whose pixels are ``1 / factor`` as large, centre 0 of a pixel at 0 in both."""
        offset = (factor - 1) / 2
        shift = factor * self.shift + offset - self.matrix @ np.full(2, offset)
        return Affine(self.matrix, shift)


def linear(matrix: Array, points: Array) -> Array:
    """``points`` ``[..., 2]`` times a matrix ``[2, 2]``, term by term: no sum depends on how many points there are."""
    (a, b), (c, d) = matrix.tolist()
    x, y = points[..., 0], points[..., 1]
    return np.stack([a * x + b * y, c * x + d * y], axis=-1)


IDENTITY = Affine(np.eye(2), np.zeros(2))


def fit_affine(p: Array, q: Array, weight: Array) -> Affine:
    """The affine map that takes ``p`` to ``q`` best, by least squares with weights; a similarity where p is a line."""
    total = weight.sum()
    mp, mq = ((weight[:, None] * one).sum(axis=0) / total for one in (p, q))
    u, v = p - mp, q - mq
    spread = (weight[:, None, None] * u[:, :, None] * u[:, None, :]).sum(axis=0)
    if np.linalg.det(spread) <= 1e-6 * np.trace(spread) ** 2:
        return fit_similarity(p, q, weight)
    cross = (weight[:, None, None] * v[:, :, None] * u[:, None, :]).sum(axis=0)
    matrix = cross @ np.linalg.inv(spread)
    return Affine(matrix, mq - matrix @ mp)


def fit_similarity(p: Array, q: Array, weight: Array) -> Affine:
    """The turn, stretch and shift that take ``p`` to ``q`` best."""
    total = weight.sum()
    mp, mq = ((weight[:, None] * one).sum(axis=0) / total for one in (p, q))
    u, v = p - mp, q - mq
    square = max(float((weight * (u**2).sum(axis=1)).sum()), np.finfo(float).tiny)
    cos = float((weight * (u * v).sum(axis=1)).sum()) / square
    sin = float((weight * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])).sum()) / square
    matrix = np.array([[cos, -sin], [sin, cos]])
    return Affine(matrix, mq - matrix @ mp)


def polar(matrix: Array) -> tuple[Array, Array]:
    """``stretch`` (symmetric) and ``turn`` (a rotation, mirrored where ``matrix`` is): ``matrix = stretch @ turn``."""
    u, s, v = np.linalg.svd(matrix)
    turn = u @ v
    return (u * s) @ u.T, turn
