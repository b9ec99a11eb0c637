"""Where a block of one volume lies in a window of another: masked normalised cross-correlation, and how sure that is.

Padfield, "Masked Object Registration in the Fourier Domain", IEEE Transactions on Image Processing 21 (2012), in three
dimensions. Arrays are ``[x, y, z]``. What becomes of a block depends on its own voxels only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

Array = npt.NDArray[Any]
_SHARE = 0.35  # of a block's voxels must be seen in both
_APART = 2  # voxels: peaks nearer than so are one
_GRAIN = 27  # voxels that say the same, once noise is smoothed
_BASE = np.array(
    [
        (1, x, y, z, x * x / 2, y * y / 2, z * z / 2, x * y, x * z, y * z)
        for x, y, z in product((-1, 0, 1), repeat=3)
    ],
    np.float64,
)  # fmt: skip
_FIT = np.linalg.pinv(_BASE)


class Status(IntEnum):
    """What became of a block."""

    GOOD, NOTHING, WEAK, UNLIKE, END = range(5)


@dataclass(frozen=True)
class Found:
    """The displacement ``d`` in voxels for which the window shows at ``p + d`` what the block shows at ``p``."""

    shift: tuple[float, float, float]
    peak: float
    """The correlation."""
    ratio: float
    """Of the peak to the next that is not near it."""
    sigma: float
    """In voxels, along the axis of which least is known."""
    status: Status


_NOWHERE = Found((0.0, 0.0, 0.0), 0.0, 0.0, 0.0, Status.NOTHING)


@dataclass(frozen=True)
class Sure:
    """What a displacement must have to be believed."""

    peak: float = 0.12
    ratio: float = 1.5
    sigma: float = 0.5


def matched(block: tuple[Array, Array], window: tuple[Array, Array], sure: Sure) -> Found:
    """Where the block lies; each is values, 0 where they do not count, and where they do.

    The window is wider than the block, by the same on both sides of each axis, by the search.
    """
    least = _SHARE * prod(block[0].shape)
    if block[1].sum() < least or window[1].sum() < least:
        return _NOWHERE
    score, count = correlations(block, window)
    score = np.where(count >= least, score, 0)
    at = np.unravel_index(int(np.argmax(score)), score.shape)
    best = float(score[at])
    if best <= 0:
        return _NOWHERE
    middle = [n // 2 for n in score.shape]
    whole = tuple(float(a - m) for a, m in zip(at, middle, strict=True))
    ratio = min(best / max(_next(score, at), 1e-3), 100.0)
    if any(a in (0, n - 1) for a, n in zip(at, score.shape, strict=True)):
        return Found((whole[0], whole[1], whole[2]), best, ratio, 0.0, Status.END)
    part, sigma = _refined(score[tuple(slice(a - 1, a + 2) for a in at)], float(count[at]))
    x, y, z = (a + b for a, b in zip(whole, part, strict=True))
    good = best >= sure.peak and ratio >= sure.ratio and sigma <= sure.sigma
    return Found((x, y, z), best, ratio, sigma, Status.GOOD if good else Status.WEAK)


def correlations(block: tuple[Array, Array], window: tuple[Array, Array]) -> tuple[Array, Array]:
    """Normalised correlation for each shift, the least first, and how many voxels it rests on.

    Sums over what a block without holes covers are running ones; the others come from transforms.
    """
    (a, ma), (b, mb) = block, window
    shape = b.shape
    kept = tuple(slice(0, m - n + 1) for m, n in zip(b.shape, a.shape, strict=True))

    def transformed(values: Array) -> Array:
        return np.asarray(fft.rfftn(values.astype(np.float32, copy=False), shape, workers=1))

    def product_of(one: Array, two: Array) -> Array:
        return np.asarray(fft.irfftn(one.conj() * two, shape, workers=1)[kept], np.float64)

    fa, fb = transformed(a), transformed(b)
    sab = product_of(fa, fb)
    if ma.all():
        sb, sbb, count = (_running(one, a.shape) for one in (b, b * b, mb))
    else:
        fma = transformed(ma)
        sb, sbb, count = product_of(fma, fb), product_of(fma, transformed(b * b)), product_of(fma, transformed(mb))
    if mb.all():
        sa, saa = a.sum(dtype=np.float64), (a * a).sum(dtype=np.float64)
    else:
        fmb = transformed(mb)
        sa, saa = product_of(fa, fmb), product_of(transformed(a * a), fmb)
    count = np.round(count)
    safe = np.maximum(count, 1)
    top = sab - sa * sb / safe
    below = np.maximum(saa - sa * sa / safe, 0) * np.maximum(sbb - sb * sb / safe, 0)
    least = 1e-4 * safe * safe  # values have a spread of about 1: less is what rounding leaves of nothing
    return np.where(below > least, top / np.sqrt(np.maximum(below, least)), 0), count


def _running(values: Array, shape: tuple[int, ...]) -> Array:
    """The sums of ``values`` over each box of ``shape`` in them."""
    for axis, n in enumerate(shape):
        ends = np.moveaxis(np.cumsum(values, axis=axis, dtype=np.float64), axis, 0)
        values = np.moveaxis(np.concatenate([ends[n - 1 : n], ends[n:] - ends[:-n]]), 0, axis)
    return values


def _next(score: Array, at: tuple[Any, ...]) -> float:
    """The best of the other local maxima or, where that is larger, the worst: chance is as good at either."""
    tops = np.where(score == ndimage.maximum_filter(score, 3, mode="nearest"), score, 0)
    tops[tuple(slice(max(a - _APART, 0), a + _APART + 1) for a in at)] = 0
    return max(float(tops.max()), -float(score.min()))


def _refined(around: Array, count: float) -> tuple[Array, float]:
    """Where between voxels the peak of a quadratic through 27 values is, and the sigma along its flattest axis.

    Of two pictures that correlate by r, one less r squared is noise; a shift is known to within that, by how much
    sharper the peak is than noise alone would leave it, and by how many voxels agree.
    """
    _, gx, gy, gz, xx, yy, zz, xy, xz, yz = _FIT @ around.ravel()
    bend = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    flattest = float(-np.linalg.eigvalsh(bend)[-1])
    if flattest <= 1e-6:
        return np.zeros(3), 100.0
    part = np.clip(-np.linalg.solve(bend, np.array([gx, gy, gz])), -1, 1)
    best = min(float(around[1, 1, 1]), 0.9999)
    noise = (1 - best * best) / best
    return part, min(float(np.sqrt(noise * _GRAIN / (flattest * count))), 100.0)
