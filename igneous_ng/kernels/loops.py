"""How sure measured displacements are, from three that go round: from a section to the one before, on, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels import fields

Array = npt.NDArray[Any]
LEAST = 0.05
"""Pixels that nothing is surer than."""
FEWEST = 30
"""Loops from which on they are believed."""
DISTANCES = 4
"""Sections between which displacements may be measured."""
_EVERY = 4  # nodes of distance 2 lie so far apart
_RATIO = 3.0  # variance of distance 2 over that of distance 1, where nothing says more
_NORMAL = 1.4826  # deviations of a normal distribution in one median deviation


@dataclass(frozen=True)
class Spread:
    """What loops say: ``ratio`` of the variances of distance 2 and 1; ``sigma`` of distance 1, of one axis, pixels."""

    loops: int
    sigma: float
    ratio: float
    median: float
    """Of the lengths by which loops do not close, pixels."""
    p95: float

    def at(self, distance: int) -> float:
        """Sigma at a distance: variances grow by ``ratio`` with each doubling."""
        return float(self.sigma * self.ratio ** (np.log2(distance) / 2))


def spread(first: Array, before: Array, second: Array, low: tuple[int, int], step: int) -> Spread | None:
    """Of displacements ``[x, y, 2]`` of one section to the one before (``first``) and the one before that (``second``),
    and of the one before to the one before that (``before``); NaN where there are none. None: too few loops.

    A loop is off by twice the variance of distance 1 and once that of distance 2; how these two compare is told by how
    much each differs between neighbours.
    """
    off = _loops(first, before, second, low, step)
    if len(off) < FEWEST:
        return None
    ratio = _ratio(first, second)
    axis = _NORMAL * float(np.median(np.abs(off)))
    length = np.hypot(off[:, 0], off[:, 1])
    return Spread(
        len(off), axis / float(np.sqrt(2 + ratio)), ratio, float(np.median(length)), float(np.quantile(length, 0.95))
    )


def _loops(first: Array, before: Array, second: Array, low: tuple[int, int], step: int) -> Array:
    """By how much loops do not close, ``[loop, 2]``."""
    there = np.isfinite(first).all(axis=-1) & np.isfinite(second).all(axis=-1)
    high = low[0] + first.shape[0], low[1] + first.shape[1]
    at = fields.places(fields.points(low, high, step)[there] + first[there], step)
    inside = ((at >= low) & (at <= np.array(high) - 1)).all(axis=-1)
    onward = fields.bilinear(before, low, at)
    off = (first[there] + onward - second[there])[inside]
    return np.asarray(off[np.isfinite(off).all(axis=-1)])


def _ratio(first: Array, second: Array) -> float:
    """From second differences between nodes where both are known."""
    both = [np.concatenate([_bends(one, axis) for axis in (0, 1)]) for one in (first, second)]
    known = np.isfinite(both[0]).all(axis=-1) & np.isfinite(both[1]).all(axis=-1)
    if known.sum() < FEWEST:
        return _RATIO
    near, far = (float(np.median(np.abs(one[known]))) for one in both)
    return float(np.clip((far / max(near, 1e-9)) ** 2, 1.0, 2 * DISTANCES))


def _bends(values: Array, axis: int) -> Array:
    moved = np.moveaxis(values, axis, 0)
    return np.asarray((moved[: -2 * _EVERY] - 2 * moved[_EVERY:-_EVERY] + moved[2 * _EVERY :]).reshape(-1, 2))
