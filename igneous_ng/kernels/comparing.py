"""Whether units in one box have other figures than units in another, or in all the rest.

A figure of a unit is a number; units count by how much of them lies in the box. Two questions are asked, for either
alone misleads. *Could units as different as these come out of one heap?* The probability of superiority P (a unit of
the box has a larger figure than one of the others, ties counting half; Mann and Whitney 1947) and its two-sided
significance by the normal approximation, ties corrected, with effective sizes (sum w)^2 / sum w^2 (Kish 1965). That
takes units for independent, and neighbours are not: a soma, a vessel, a gradient of brightness make any two boxes
differ. *Do boxes of this shape differ as much elsewhere?* The box is moved to all places of the grid of units, around
its ends (the toroidal shift of Lotwick and Silverman 1982), and the difference of mean ranks there is compared with
that of the box: the share of places that differ at least as much is the second significance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
LEAST = 3.0
"""Units, effectively, that each side must have; of fewer nothing is said."""
_PLACES = 1 << 26  # of a grid: more would take gigabytes, and the second question is then left out
_SURE, _RARE = 0.01, 0.05
_DELTA, _RATIO = 0.15, 0.1
_SPREAD = 1.4826  # a median absolute deviation of a normal distribution is its deviation divided by this


@dataclass(frozen=True)
class Sample:
    """``values`` [n] of units, and how much each ``counts`` (voxels, or things of which they are means).

    ``inside`` and ``outside`` [n] are the shares of each unit in the two boxes; ``at`` [n, 3] its place in a grid.
    """

    values: Array
    counts: Array
    inside: Array
    outside: Array
    at: Array


@dataclass(frozen=True)
class Difference:
    """How the units inside differ from those outside."""

    units: tuple[float, float]
    """How many there are, effectively."""
    means: tuple[float, float]
    """Weighted by how much units count; of counts by volume that is the density."""
    standardised: float
    """The difference of the weighted medians, in deviations of the units outside (1.4826 times their median absolute
    deviation; their deviation where that is 0)."""
    superiority: float
    p: float
    places: int
    """To which the box was moved; 0: it was not."""
    p_places: float

    @property
    def ratio(self) -> float:
        """The mean inside over the mean outside; 1 where both are 0."""
        inside, outside = self.means
        return inside / outside if outside else 1.0 if not inside else math.inf

    def parted(self, compared: int) -> bool:
        """Whether this is no accident, if so many figures were ``compared``, and no trifle.

        p is at most 0.01 divided by that number (Bonferroni), at most one place in 20 differs as much, and Cliff's
        delta (1993), 2 P - 1, is at least 0.15 (below that Romano 2006 calls it negligible) or the ratio of means 10 %
        off 1: of rare things delta is small for small units, whatever their density does.
        """
        sure = self.p * compared <= _SURE and self.p_places <= _RARE
        return sure and (abs(2 * self.superiority - 1) >= _DELTA or abs(self.ratio - 1) >= _RATIO)


def compare(sample: Sample) -> Difference | None:
    """How units inside differ from those outside; None where too few of either say anything."""
    known = np.isfinite(sample.values) & (sample.counts > 0)
    weights = [np.where(known, side, 0.0) for side in (sample.inside, sample.outside)]
    sizes = [_effective(side) for side in weights]
    if min(sizes) < LEAST:
        return None
    values = np.where(known, sample.values, 0.0)
    means = [float(np.average(values, weights=side * sample.counts)) for side in weights]
    above, ties = _superiority(values, *weights)
    ranks = _ranks(values, known)
    places, rare = _moved(np.where(known, ranks, np.nan), weights[0], weights[1], sample.at)
    return Difference(
        units=(sizes[0], sizes[1]),
        means=(means[0], means[1]),
        standardised=_standardised(values, *weights),
        superiority=above,
        p=_significance(above, sizes[0], sizes[1], ties),
        places=places,
        p_places=rare,
    )


def _effective(weights: Array) -> float:
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _superiority(values: Array, inside: Array, outside: Array) -> tuple[float, float]:
    """P, and the share by which ties lessen its variance."""
    names, order = np.unique(values, return_inverse=True)
    one, other = (np.bincount(order, side, len(names)) for side in (inside, outside))
    below = np.cumsum(other) - other
    above = float((one * (below + other / 2)).sum() / (one.sum() * other.sum()))
    shares = (one + other) / (one.sum() + other.sum())
    return above, float(1 - (shares**3).sum())


def _significance(above: float, one: float, other: float, ties: float) -> float:
    """The two-sided significance of P."""
    variance = (one + other + 1) / (12 * one * other) * ties
    if variance <= 0:
        return 1.0
    return math.erfc(abs(above - 0.5) / math.sqrt(2 * variance))


def _standardised(values: Array, inside: Array, outside: Array) -> float:
    middle = _median(values, outside)
    spread = _SPREAD * _median(np.abs(values - middle), outside)
    if not spread:
        spread = math.sqrt(float(np.average((values - np.average(values, weights=outside)) ** 2, weights=outside)))
    return (_median(values, inside) - middle) / spread if spread else 0.0


def _median(values: Array, weights: Array) -> float:
    """The least value up to which half of the weights lie."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _ranks(values: Array, known: Array) -> Array:
    """Ranks from 0 to 1 of the values that are known, the same for equal ones; 0 for the others."""
    found = np.zeros(len(values))
    _, order, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    found[known] = (np.cumsum(counts) - counts / 2)[order] / max(1, int(known.sum()))
    return found


def _moved(ranks: Array, inside: Array, outside: Array, at: Array) -> tuple[int, float]:
    """To how many places both boxes were moved, and the share of places that differ as much as where they are.

    ``ranks`` are NaN where nothing is known.
    """
    shape = tuple((at.max(axis=0) + 1).tolist())
    if math.prod(shape) > _PLACES:
        return 0, 1.0
    known = np.isfinite(ranks)
    ranks = np.where(known, ranks, 0.0)
    grids = [np.zeros(shape) for _ in range(4)]
    for grid, values in zip(grids, (inside, outside, known, ranks), strict=True):
        np.add.at(grid, tuple(at.T), values)
    one, other, there, ranked = map(np.fft.rfftn, grids)

    def mean(box: Array) -> Array:
        total, weight = (np.fft.irfftn(np.conj(box) * field, shape, axes=(0, 1, 2)) for field in (ranked, there))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(weight > LEAST / 2, total / weight, np.nan)

    found = np.abs(mean(one) - mean(other)).ravel()
    found = found[np.isfinite(found)]
    own = abs(float(np.average(ranks, weights=inside) - np.average(ranks, weights=outside)))
    return len(found), float((found >= own - 1e-9).mean()) if len(found) else 1.0
