"""Contrast of sections: exact counts, limits by order statistics, their smoothing over neighbours, tables.

All of it is integer arithmetic on the counts of a section, so a section has one result whatever it was read in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Box

Array = npt.NDArray[Any]
Limits = tuple[int, int]
"""The values that become black and white; the first is the smaller."""


def counts(values: Array) -> Array:
    """How often each value of an unsigned type of 8 or 16 bits occurs."""
    return np.bincount(values.ravel(order="K"), minlength=1 << 8 * values.dtype.itemsize)


def limits(found: Array, lower: float, upper: float, zeros: bool) -> Limits | None:
    """The values between which all but the fractions ``lower`` and ``upper`` of what was counted lie.

    Of n values in order, those at ``floor(lower n)`` from the first and ``floor(upper n)`` from the last. Unless
    ``zeros``, zeros do not count. None where that leaves nothing, or only one value.
    """
    total = int(found.sum()) if zeros else int(found[1:].sum())
    if not total:
        return None
    ends = np.cumsum(found) - (0 if zeros else found[0])
    first, last = int(Fraction(lower) * total), total - 1 - int(Fraction(upper) * total)
    low, high = (int(np.searchsorted(ends, rank, side="right")) for rank in (first, last))
    return (low, high) if low < high else None


def smooth(found: Sequence[Limits | None], at: int, window: int) -> Limits | None:
    """The medians of the limits of the ``window`` sections around ``at``; sections without limits do not count.

    At the ends the window is cut. Of two middle values it is their mean, rounded down.
    """
    reach = window // 2
    known = [pair for pair in found[max(0, at - reach) : at + reach + 1] if pair is not None]
    if not known:
        return None
    lows, highs = (sorted(side) for side in zip(*known, strict=True))
    middle, other = len(known) // 2, (len(known) - 1) // 2
    low, high = (lows[middle] + lows[other]) // 2, (highs[middle] + highs[other]) // 2
    return (low, high) if low < high else None


def table(found: Limits | None, old: np.dtype[Any], new: np.dtype[Any]) -> Array:
    """The new value of each old one: linear between the limits, halves rounded up, cut beyond them.

    Without limits, for a section of nothing or of a single value, the whole old range becomes the new one.
    """
    white = int(np.iinfo(new).max)
    low, high = found or (0, int(np.iinfo(old).max))
    values = np.arange(1 << 8 * old.itemsize, dtype=np.int64)
    scaled = (2 * (values - low) * white + (high - low)) // (2 * (high - low))
    mapped: Array = np.clip(scaled, 0, white).astype(new)
    return mapped


def sampled(boxes: Sequence[Box], coverage: float, seed: int) -> list[Box]:
    """A ``coverage`` of ``boxes``, at least one, in their order, chosen by a hash of the seed and their coordinates."""
    if coverage == 1:
        return list(boxes)
    keys = [hashlib.blake2b(f"{seed}:{box}".encode(), digest_size=8).digest() for box in boxes]
    chosen = sorted(range(len(boxes)), key=keys.__getitem__)[: max(1, ceil(coverage * len(boxes)))]
    return [boxes[index] for index in sorted(chosen)]
