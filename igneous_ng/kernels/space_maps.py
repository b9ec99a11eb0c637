"""Affine maps of space: from pairs of points, robustly, and in words.

Points are ``[n, 3]``, nm. Sums over an axis of three are written out, so that no point depends on how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_ROUNDS = 10  # of reweighting
_FLAT = 1e-3  # of the largest spread: points spread less than so along an axis are in a plane


@dataclass(frozen=True)
class Affine:
    """``q = matrix @ p + shift``."""

    matrix: Array
    shift: Array

    def __call__(self, points: Array) -> Array:
        """Where ``points`` ``[..., 3]`` come to lie."""
        x, y, z = (points[..., n, np.newaxis] for n in range(3))
        a, b, c = self.matrix.T
        found: Array = x * a + y * b + z * c + self.shift
        return found

    @property
    def inverse(self) -> Affine:
        """The way back."""
        back = np.linalg.inv(self.matrix)
        return Affine(back, -(back @ self.shift))

    def to_json(self) -> list[list[float]]:
        """Three rows of four numbers."""
        rows: list[list[float]] = np.column_stack([self.matrix, self.shift]).tolist()
        return rows

    @classmethod
    def parse(cls, rows: Any) -> Affine:
        """From three rows of four numbers, or twelve numbers; ValueError where they are not, or flatten space."""
        numbers = np.array(rows, np.float64).reshape(3, 4)
        if not np.isfinite(numbers).all() or np.linalg.cond(numbers[:, :3]) > 1e6:
            raise ValueError("the map brings space into a plane")
        return cls(numbers[:, :3], numbers[:, 3])


def from_landmarks(p: Array, q: Array) -> Affine:
    """What brings ``p`` to ``q``: a shift for less than three points or such on a line, a similarity for three or such
    in a plane (Umeyama, "Least-squares estimation of transformation parameters between two point patterns", IEEE
    Transactions on Pattern Analysis and Machine Intelligence 13, 1991), else an affine map.
    """
    a, b = p - p.mean(axis=0), q - q.mean(axis=0)
    spread = np.linalg.svd(a, compute_uv=False)
    rank = int((spread > _FLAT * max(spread[0], 1e-300)).sum()) if spread[0] > 0 else 0
    matrix = np.eye(3) if rank < 2 else _similar(a, b) if rank == 2 else np.linalg.lstsq(a, b, rcond=None)[0].T
    return Affine(matrix, q.mean(axis=0) - matrix @ p.mean(axis=0))


def _similar(a: Array, b: Array) -> Array:
    """The turn and stretch that brings ``a`` to ``b``, both around 0."""
    u, s, v = np.linalg.svd(b.T @ a)
    sign = np.array([1, 1, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    found: Array = (u * sign) @ v * ((s * sign).sum() / (a**2).sum())
    return found


def refitted(old: Affine, p: Array, q: Array, weight: Array, scale: float) -> Affine:
    """The affine map that brings ``p`` to ``q`` best, ``weight`` each; those far more than ``scale`` off have no say.

    What points do not tell, such as how a plane is stretched across, stays as in ``old``. Weights are changed ten times
    by Geman and McClure's function of residuals, whose scale falls from all there is to ``scale``.
    """
    centre, left = p.mean(axis=0), q - old(p)
    size = max(float(np.abs(p - centre).max()), 1.0)
    base = np.column_stack([(p - centre) / size, np.ones(len(p))])
    share, found = np.ones(len(p)), np.zeros((4, 3))
    for n in range(_ROUNDS):
        root = np.sqrt(weight * share)[:, np.newaxis]
        found = np.linalg.lstsq(base * root, left * root, rcond=_FLAT)[0]
        off = np.sqrt(((base @ found - left) ** 2).sum(axis=1))
        now = max(scale, float(np.median(off)) * 2.0 ** (3 - n))
        share = 1 / (1 + (off / now) ** 2) ** 2
    more = found[:3].T / size
    return Affine(old.matrix + more, old.shift + found[3] - more @ centre)


def rounded(map_: Affine, points: Array, grain: float) -> Affine:
    """The map with numbers of few digits: none of ``points`` is moved by more than ``grain``."""
    far = max(float(np.abs(points).max()), 1.0)
    step = 2.0 ** np.floor(np.log2(grain / (8 * far)))
    centre = points.mean(axis=0)
    matrix = np.round(map_.matrix / step) * step
    fine = 2.0 ** np.floor(np.log2(grain / 4))
    shift = np.round((map_(centre) - Affine(matrix, np.zeros(3))(centre)) / fine) * fine
    return Affine(matrix, shift)


def words(map_: Affine) -> str:
    """Stretch, turn and shear of a map, for people; the turn is that nearest to the map (its polar part)."""
    u, s, v = np.linalg.svd(map_.matrix)
    turn = u @ v
    mirrored = np.linalg.det(turn) < 0
    proper = -turn if mirrored else turn
    cosine = np.clip((np.trace(proper) - 1) / 2, -1, 1)
    angle = np.degrees(np.arccos(cosine))
    sides = ", ".join(f"{size:.4g}" for size in s)
    return f"stretched by {sides}, turned by {angle:.3g} degrees" + (", mirrored" if mirrored else "")
