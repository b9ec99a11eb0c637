"""Where one volume lies in another, from nothing: every shift, and if asked for every quarter turn and mirror image."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import fft

Array = npt.NDArray[Any]
Turns = Literal["none", "turns", "mirrors"]
BYTES = 56
"""Of each voxel of the padded volumes, at most, while two are compared."""
_APART = 4  # voxels: peaks nearer than so are one


@dataclass(frozen=True)
class Place:
    """A shift ``d`` puts voxel ``q`` of the second volume at ``q + d`` of the first."""

    shift: tuple[int, int, int]
    score: float
    """The correlation, times the root of the number of voxels that share it."""
    value: float
    """The correlation."""
    rest: float
    """The best score elsewhere."""


def turned(turns: Turns) -> list[Array]:
    """The matrices ``[3, 3]`` of the turns that are tried: one, the 24 of a cube, or those and their mirror images."""
    if turns == "none":
        return [np.eye(3)]
    found = []
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        matrix = np.zeros((3, 3))
        matrix[range(3), order] = signs
        if turns == "mirrors" or np.linalg.det(matrix) > 0:
            found.append(matrix)
    return found


def padded(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """Sides of the cycles in which no shift comes round."""
    return tuple(int(fft.next_fast_len(m + n - 1, real=True)) for m, n in zip(a, b, strict=True))


def placed(a: tuple[Array, Array], b: tuple[Array, Array], share: float) -> Place:
    """The best shift of those at which ``share`` of the smaller volume lies in the other.

    Volumes ``[x, y, z]`` are values, 0 where they do not count, and where they do. Masked normalised cross-correlation
    as in :mod:`.volume_matching`.
    """
    shape = padded(a[0].shape, b[0].shape)
    ranges = zip(a[0].shape, b[0].shape, shape, strict=True)
    keep = np.ix_(*(np.arange(-n + 1, m) % cycle for m, n, cycle in ranges))
    score, value = _scores(a, b, shape, keep, share)
    at = np.unravel_index(int(np.argmax(score)), score.shape)
    best, found = float(score[at]), float(value[at])
    score[tuple(slice(max(k - _APART, 0), k + _APART + 1) for k in at)] = 0
    x, y, z = (int(k) - n + 1 for k, n in zip(at, b[0].shape, strict=True))
    return Place((x, y, z), best, found, float(score.max()))


def _scores(
    a: tuple[Array, Array], b: tuple[Array, Array], shape: tuple[int, ...], keep: Any, share: float
) -> tuple[Array, Array]:
    def transformed(values: Array) -> Array:
        return np.asarray(fft.rfftn(values.astype(np.float32), shape, workers=1))

    def together(one: Array, two: Array) -> Array:
        return np.asarray(fft.irfftn(one * two.conj(), shape, workers=1)[keep], np.float32)

    fa, fb, ma, mb = (transformed(part) for part in (a[0], b[0], a[1], b[1]))
    count = np.round(together(ma, mb))
    safe = np.maximum(count, 1)
    sa, sb = together(fa, mb), together(ma, fb)
    top = together(fa, fb) - sa * sb / safe
    del fa, fb
    below = np.maximum(together(transformed(a[0] * a[0]), mb) - sa * sa / safe, 0)
    below *= np.maximum(together(ma, transformed(b[0] * b[0])) - sb * sb / safe, 0)
    enough = count >= share * min(prod(a[0].shape), prod(b[0].shape))
    value = np.where(enough & (below > 1e-4 * safe * safe), top / np.sqrt(np.maximum(below, 1e-4)), np.float32(0))
    return value * np.sqrt(safe), value
