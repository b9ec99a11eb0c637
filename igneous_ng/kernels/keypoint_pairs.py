"""How one picture lies on another, from points that both have: matched by their descriptors, and agreed upon.

Fischler and Bolles, "Random Sample Consensus", Comm. ACM 24 (1981), of similarities; each sample is two matches,
drawn by a generator that is seeded by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels import keypoints
from igneous_ng.kernels.affine import Affine, fit_affine, fit_similarity
from igneous_ng.kernels.keypoints import Keypoints

Array = npt.NDArray[Any]
TOLERANCE = 4.0
"""Pixels by which an inlier may be off."""
_RATIO = 0.9  # of the distances to the nearest descriptor and to the next
_DRAWS = 4000
_TURN = 0.6  # radians by which the directions of points may differ from the turn of the picture
_STRETCH = 1.25
_NEAR = 20.0  # pixels: two matches that lie nearer say too little of a turn
_ENOUGH, _SHARE, _LEAST = 20, 0.05, 8
_AFFINE = 20  # inliers that are needed for an affine map


@dataclass(frozen=True)
class Lies:
    """A guess how the first picture lies on the second one."""

    affine: Affine
    mirrored: bool
    inverted: bool
    inliers: int
    matches: int

    @property
    def sure(self) -> bool:
        """Whether enough matches agree."""
        return self.inliers >= _ENOUGH or self.inliers >= max(_LEAST, _SHARE * self.matches)


def guesses(a: Keypoints, b: Keypoints, seed: tuple[int, ...]) -> list[Lies]:
    """How ``a`` may lie on ``b``, of both mirror states and both contrasts those with enough inliers, best first."""
    found = []
    for mirrored in (False, True):
        for inverted in (False, True):
            rng = np.random.default_rng([*seed, int(mirrored), int(inverted)])
            one = _agreed(a, b, mirrored, inverted, rng)
            if one is not None and one.sure:
                found.append(one)
    return sorted(found, key=lambda one: -one.inliers)


def _agreed(a: Keypoints, b: Keypoints, mirrored: bool, inverted: bool, rng: np.random.Generator) -> Lies | None:
    i, j = _matched(a, b, mirrored, inverted)
    if len(i) < _LEAST:
        return None
    p, q = a.points[i], b.points[j]
    sign = -1.0 if mirrored else 1.0
    turn = b.angle[j] - sign * a.angle[i] + (np.pi if inverted else 0.0)
    flip = np.array([1.0, sign])
    best = _sampled(p * flip, q, turn, rng)
    for _ in range(3):
        if best.sum() < _LEAST:
            return None
        fit = fit_affine if best.sum() >= _AFFINE else fit_similarity
        similar = fit(p * flip, q, best.astype(np.float64))
        best = _off(similar, p * flip, q) <= TOLERANCE
    return Lies(Affine(similar.matrix * flip, similar.shift), mirrored, inverted, int(best.sum()), len(i))


def _matched(a: Keypoints, b: Keypoints, mirrored: bool, inverted: bool) -> tuple[Array, Array]:
    """Pairs of points that are each other's nearest by their descriptors, and clearly nearer than the next."""
    first, second = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    words = keypoints.turned_over(a.words, mirrored, inverted)
    for octave in range(keypoints.OCTAVES):
        i, j = np.flatnonzero(a.octave == octave), np.flatnonzero(b.octave == octave)
        if min(len(i), len(j)) < 2:
            continue
        apart = _distances(words[i], b.words[j])
        near = apart.argmin(axis=1)
        rows = np.arange(len(i))
        least = apart[rows, near]
        mutual = apart.argmin(axis=0)[near] == rows
        apart[rows, near] = np.inf
        good = mutual & (least < _RATIO**2 * apart.min(axis=1))
        first.append(i[good])
        second.append(j[near[good]])
    return np.concatenate(first), np.concatenate(second)


def _distances(a: Array, b: Array) -> Array:
    """Squared distances; whole numbers below 2^24, exact in float32 whatever the order of sums."""
    x, y = a.astype(np.float32), b.astype(np.float32)
    found: Array = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * (x @ y.T)
    return found


def _sampled(p: Array, q: Array, turn: Array, rng: np.random.Generator) -> Array:
    """The inliers of the best of many samples, bool [n]."""
    i, j = rng.integers(0, len(p), (2, _DRAWS))
    dp, dq = (_complex(one[j] - one[i]) for one in (p, q))
    far = np.abs(dp) > _NEAR
    factor = np.where(far, dq / np.where(far, dp, 1), 0)
    stretch = np.abs(factor)
    fits = far & (stretch > 1 / _STRETCH) & (stretch < _STRETCH)
    for one in (i, j):
        fits &= np.abs(_wrapped(turn[one] - np.angle(factor))) < _TURN
    i, factor = i[fits], factor[fits]
    best, most = np.zeros(len(p), bool), 0
    cp, cq = _complex(p), _complex(q)
    for start in range(0, len(i), 256):
        f, k = factor[start : start + 256, None], i[start : start + 256, None]
        inside = np.abs(f * (cp - cp[k]) + cq[k] - cq) <= TOLERANCE
        counts = inside.sum(axis=1)
        if counts.max() > most:
            best, most = inside[counts.argmax()], int(counts.max())
    return best


def _off(affine: Affine, p: Array, q: Array) -> Array:
    return np.asarray(np.hypot(*np.moveaxis(affine(p) - q, -1, 0)))


def _complex(points: Array) -> Array:
    return np.asarray(points[..., 0] + 1j * points[..., 1])


def _wrapped(angle: Array) -> Array:
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi)
