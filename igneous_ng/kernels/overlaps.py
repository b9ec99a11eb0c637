"""Two overlapping tiles: where one lies to the other, how sure that is, and points that are the same place in both.

First the shift at half resolution, of the whole overlap or, where that is not sure, of parts of it that agree; then
blocks along the overlap, each for itself, at half resolution and at last to a fraction of a pixel. A pair is matched
only if blocks bear the shift out. Arrays are ``[x, y]``; a shift d puts pixel q of the second tile at q + d of the
first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels.correlation import Peak, peak
from igneous_ng.kernels.overlap_points import points
from igneous_ng.kernels.pair_fits import Fit, fitted
from igneous_ng.kernels.strips import LEAST, Strips
from igneous_ng.kernels.views import Box, View

Array = npt.NDArray[Any]
Point = tuple[float, float]
SURE = 0.33
"""The least confidence of a match."""
_ALONE = 0.5  # confidence of a part of the overlap with which no other agrees
_FAR = 0.5  # confidence of what is farther off than the stage errs
_APART = 8  # half pixels: peaks nearer than that are one
_PARTS, _SHORTEST = 6, 48  # parts of an overlap, and the half pixels that each has at least
_THIN = 8  # pixels across that a pair must share by the stage to be missed
_AGREE = 6.0  # pixels between parts that agree, beside a slope


class Status(IntEnum):
    """What became of a pair."""

    MATCHED = 0
    UNSURE = 1
    EMPTY = 2
    APART = 3


@dataclass(frozen=True)
class Match:
    """How a pair lies, points ``p`` and ``q`` ``[m, 2]`` of the two that are the same place, and their ``weight`` [m].

    Weights are one by the variance in px^2 per axis. ``shift`` is what they say in the mean, and ``shown`` the same of
    the second tile's view; NaN where the pair is not matched.
    """

    status: Status
    confidence: float = 0.0
    shift: Point = (np.nan, np.nan)
    shown: Point = (np.nan, np.nan)
    p: Array = field(default_factory=lambda: np.zeros((0, 2)))
    q: Array = field(default_factory=lambda: np.zeros((0, 2)))
    weight: Array = field(default_factory=lambda: np.zeros(0, np.float32))


def matched(a: View, b: View, expected: Point, margin: int) -> Match:
    """The match of two tiles, of which the second's pixels are ``expected`` to lie that far from the first's.

    The shift found is off by at most ``margin`` px along x and y; where nothing is sure, twice as far is looked.
    """
    best = Match(Status.UNSURE)
    for reach, least in ((margin, SURE), (2 * margin, _FAR)):
        pair = Strips.cut(a, b, (round(expected[0]), round(expected[1])), reach)
        found = Match(Status.EMPTY) if pair is None else _compared(pair)
        if found.status == Status.MATCHED and found.confidence >= least:
            return found
        best = max(best, Match(Status.UNSURE, found.confidence), key=lambda one: one.confidence)
    if min(_shared(a.box, b.box, expected)) < _THIN:
        return Match(Status.APART, best.confidence)
    return Match(Status.EMPTY if pair is None or pair.blank else Status.UNSURE, best.confidence)


def _shared(a: Box, b: Box, shift: Point) -> tuple[float, ...]:
    """Along x and y, how much two boxes share of which the second is moved by ``shift``."""
    return tuple(min(a[k + 2], b[k + 2] + shift[k]) - max(a[k], b[k] + shift[k]) for k in (0, 1))


def _compared(pair: Strips) -> Match:
    """The match of two strips: by the whole overlap, else by its parts."""
    whole = peak(*pair.half, pair.window, _APART, LEAST)
    if whole.confidence >= SURE:
        found = _borne_out(pair, Fit.still(2.0 * np.array(whole.shift)), whole.confidence)
        if found is not None:
            return found
    parts, sure = _parts(pair)
    found = None if parts is None else _borne_out(pair, parts, sure)
    return found or Match(Status.UNSURE, max(whole.confidence, sure))


def _borne_out(pair: Strips, start: Fit, confidence: float) -> Match | None:
    """The match, if there are points that agree with ``start``."""
    found = points(pair, start)
    if found is None:
        return None
    p, shown = found.p + pair.origins[0], found.q + pair.origins[1]
    q = pair.back(shown)
    means = [_mean(p - one, found.weight) for one in (q, shown)]
    return Match(Status.MATCHED, confidence, means[0], means[1], p, q, found.weight)


def _mean(values: Array, weights: Array) -> Point:
    x, y = (weights[:, None] * values).sum(axis=0, dtype=np.float64) / weights.sum(dtype=np.float64)
    return float(x), float(y)


def _parts(pair: Strips) -> tuple[Fit | None, float]:
    """The shifts, in full pixels, of parts of the overlap that agree, and how sure the surest of them is."""
    a, b = pair.half
    centres: list[Point] = []
    peaks: list[Peak] = []
    for x, y in _pieces(a.values.shape):
        part = a.cut(x, y)
        if np.count_nonzero(part.mask) < LEAST:
            continue
        (lx, hx), (ly, hy) = pair.window
        found = peak(part, b, ((lx - x.start, hx - x.start), (ly - y.start, hy - y.start)), _APART, LEAST)
        if found.confidence >= SURE:
            centres.append((x.start + x.stop - 1.0, y.start + y.stop - 1.0))
            peaks.append(Peak((found.shift[0] + x.start, found.shift[1] + y.start), found.value, found.confidence))
    if not peaks:
        return None, 0.0
    shifts = 2.0 * np.array([one.shift for one in peaks])
    fit = fitted(np.array(centres), shifts, np.ones(len(peaks)), _AGREE)
    sure = max(one.confidence for one, trust in zip(peaks, fit.trust, strict=True) if trust > 0)
    return (fit, sure) if np.count_nonzero(fit.trust) > 1 or sure >= _ALONE else (None, sure)


def _pieces(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Halved strips in pieces along their longer side."""
    count = [1, 1]
    long = int(np.argmax(shape))
    count[long] = max(1, min(_PARTS, shape[long] // _SHORTEST))
    edges = [np.linspace(0, n, c + 1).astype(int).tolist() for n, c in zip(shape, count, strict=True)]
    xs, ys = ([slice(*ends) for ends in pairwise(edge)] for edge in edges)
    return [(x, y) for x in xs for y in ys]
