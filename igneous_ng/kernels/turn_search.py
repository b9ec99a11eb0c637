"""How one picture lies on another, by trying all turns: slow, and finds what has no points to hold on to.

Both pictures are made small and even; the second stays, the first is turned by a few degrees at a time, as it is and
mirrored, and correlated at all shifts. Of an even picture the sum of products over n pixels is about n times the
correlation, so that ``sum / sqrt(n)`` compares shifts whatever they share. A negative one says that contrasts are
opposite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from igneous_ng.kernels import texture
from igneous_ng.kernels.affine import Affine
from igneous_ng.kernels.block_agreement import View

Array = npt.NDArray[Any]
SIDE = 256
"""The most pixels along a side of what is turned."""
_STEP = 3  # degrees
_SMOOTH = 1.5
_SHARE = 0.2  # of the smaller tissue that both must share


@dataclass(frozen=True)
class Turned:
    """A guess, and the correlation times the root of the pixels that it rests on."""

    affine: Affine
    mirrored: bool
    inverted: bool
    score: float


@dataclass(frozen=True)
class _Still:
    """The picture that stays: its size, that of the transforms, and these, of values and of tissue."""

    size: tuple[int, ...]
    cycle: tuple[int, ...]
    transforms: tuple[Array, Array]


def best_turns(a: View, b: View, count: int) -> list[Turned]:
    """The ``count`` best guesses how ``a`` lies on ``b``, one a turn, contrast and mirror state, best first."""
    factor, (small, other) = _small(a, b)
    least = _SHARE * min(small.tissue.sum(), other.tissue.sum())
    if least < 1:
        return []
    side = int(np.ceil(np.hypot(*small.values.shape)))
    cycle = tuple(int(fft.next_fast_len(side + n, real=True)) for n in other.values.shape)
    still = _Still(other.values.shape, cycle, _transforms(other, cycle))
    found = []
    for mirrored in (False, True):
        for degrees in range(0, 360, _STEP):
            centred, view = _turned(small, np.deg2rad(degrees), mirrored, side)
            found += _shifts(still, _transforms(view, cycle), centred, mirrored, least)
    best = sorted(found, key=lambda one: -one.score)[:count]
    return [Turned(one.affine.scaled(factor), one.mirrored, one.inverted, one.score) for one in best]


def _small(a: View, b: View) -> tuple[int, list[View]]:
    """Both views, halved until they are small, and smoothed, and how many pixels one then is."""
    factor, views = 1, [(one.values, one.tissue) for one in (a, b)]
    while max(n for values, _ in views for n in values.shape) > SIDE:
        factor, views = 2 * factor, [texture.halved(*one) for one in views]
    made = []
    for values, tissue in views:
        even = texture.banded(values, tissue, _SMOOTH, 31)
        spread = float(even[tissue].std()) if tissue.any() else 1.0
        made.append(View(np.asarray(np.where(tissue, even / max(spread, 1e-6), 0), np.float32), tissue))
    return factor, made


def _turned(view: View, angle: float, mirrored: bool, side: int) -> tuple[Affine, View]:
    """``view`` turned about its middle, in a square that holds all of it; the map of its points to the square's."""
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]]) * np.array([1.0, -1.0 if mirrored else 1.0])
    middle = (np.array(view.values.shape) - 1) / 2
    there = Affine(matrix, (side - 1) / 2 - matrix @ middle)
    back = there.inverse
    values, weight = (
        ndimage.affine_transform(one, back.matrix, back.shift, (side, side), order=1, output=np.float32)
        for one in (view.values, view.tissue.astype(np.float32))
    )
    tissue = weight > 0.5
    return there, View(np.where(tissue, values, 0), tissue)


def _transforms(view: View, shape: tuple[int, ...]) -> tuple[Array, Array]:
    return fft.rfft2(view.values, shape), fft.rfft2(view.tissue.astype(np.float32), shape)


def _shifts(still: _Still, moved: tuple[Array, Array], there: Affine, mirrored: bool, least: float) -> list[Turned]:
    """The best shift of either contrast."""
    both, count = (fft.irfft2(a * b.conj(), still.cycle) for a, b in zip(still.transforms, moved, strict=True))
    score = np.where(count >= least, both / np.sqrt(np.maximum(count, 1)), 0)
    found = []
    for inverted, sign in ((False, 1), (True, -1)):
        at = np.unravel_index(int((sign * score).argmax()), score.shape)
        shift = [n if n < size else n - cycle for n, size, cycle in zip(at, still.size, still.cycle, strict=True)]
        found.append(Turned(Affine(there.matrix, there.shift + shift), mirrored, inverted, sign * float(score[at])))
    return found
