"""Shifts of small blocks to a hundredth of a pixel: steps to the peak of their correlation.

The second picture, interpolated by cubic splines, is compared with the first one's slopes, which are the same in each
step: Lucas and Kanade, "An Iterative Image Registration Technique" (IJCAI 1981); Baker and Matthews, "Lucas-Kanade 20
Years On" (IJCV 56, 2004). Noise of one picture is no part of the other, and that of a picture says nothing of its own
slope, so noise moves no peak; it makes slopes look steeper, by about what correlation lacks: steps are longer by that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng.kernels.correlation import Masked

Array = npt.NDArray[Any]
_FARTHEST = 1.0  # pixels in one step
_LEAST = 1e-2  # of what two directions say, and of a correlation


@dataclass(frozen=True)
class Refined:
    """For each block: ``shift`` [n, 2]; ``value`` [n], the correlation; ``variance`` [n] of a shift, in px^2, per axis.

    A block that has too little to hold on to has the value 0.
    """

    shift: Array
    value: Array
    variance: Array


def refined(a: Masked, b: Masked, lattice: tuple[Array, Array], start: Array, slopes: Array, rounds: int) -> Refined:
    """Shifts of blocks of ``a``: pixel p of one lies at ``p - shift - slopes (p - centre)`` of ``b``.

    ``lattice``: the columns ``[n, w]`` and rows ``[n, h]`` of each block in ``a``. ``start`` ``[n, 2]``:
    shifts that are right to about two pixels; ``slopes`` ``[n, 2, 2]``.
    """
    xs, ys = lattice
    at = xs[:, :, None], ys[:, None, :]
    gx, gy = _slopes(a.values)
    fixed = _Fixed(a.values[at], a.mask[at], gx[at], gy[at])
    places = _bent(xs, ys, slopes)
    spline = ndimage.spline_filter(b.values, 3, output=np.float32, mode="mirror")
    shift = start.astype(np.float64)
    value, variance = np.zeros(len(shift)), np.full(len(shift), np.inf)
    for _ in range(rounds):
        step, value, variance = _step(fixed, *_sampled(spline, b.mask, places, shift))
        shift = shift + np.clip(step, -_FARTHEST, _FARTHEST)
    return Refined(shift, value, variance)


def _slopes(values: Array) -> tuple[Array, Array]:
    """How values change along x and y, to the fourth order."""
    near, far = np.float32(2 / 3), np.float32(1 / 12)
    p = np.pad(values, 2, mode="edge")
    x = near * (p[3:-1, 2:-2] - p[1:-3, 2:-2]) - far * (p[4:, 2:-2] - p[:-4, 2:-2])
    y = near * (p[2:-2, 3:-1] - p[2:-2, 1:-3]) - far * (p[2:-2, 4:] - p[2:-2, :-4])
    return x, y


@dataclass(frozen=True)
class _Fixed:
    """Blocks of the first picture ``[n, w, h]``, and their slopes."""

    values: Array
    mask: Array
    gx: Array
    gy: Array


def _bent(xs: Array, ys: Array, slopes: Array) -> Array:
    """Where the pixels of blocks lie before their shift, ``[2, n, w, h]``."""
    x, y = np.broadcast_arrays(xs[:, :, None].astype(np.float32), ys[:, None, :].astype(np.float32))
    dx, dy = x - x.mean(axis=(1, 2), keepdims=True), y - y.mean(axis=(1, 2), keepdims=True)
    m = slopes.astype(np.float32)[:, :, :, None, None]
    return np.stack([x - m[:, 0, 0] * dx - m[:, 0, 1] * dy, y - m[:, 1, 0] * dx - m[:, 1, 1] * dy])


def _sampled(spline: Array, mask: Array, places: Array, shift: Array) -> tuple[Array, Array]:
    """The second picture at the blocks' pixels, and which of them count there."""
    at = places - shift.T[:, :, None, None].astype(np.float32)
    values = ndimage.map_coordinates(spline, at, order=3, prefilter=False, mode="nearest", output=np.float32)
    x, y = np.rint(at).astype(np.int32)
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[0]) & (y < mask.shape[1])
    return values, inside & mask[np.clip(x, 0, mask.shape[0] - 1), np.clip(y, 0, mask.shape[1] - 1)]


def _step(fixed: _Fixed, values: Array, mask: Array) -> tuple[Array, Array, Array]:
    """The step of each block ``[n, 2]``, its correlation and its variance now."""
    weight = (mask & fixed.mask).astype(np.float32)
    count = np.maximum(_sum(weight), 1)
    a, power = _normal(fixed.values, weight, count)
    b, _ = _normal(values, weight, count)
    gx, gy = fixed.gx / power * weight, fixed.gy / power * weight
    off = (b - a) * weight
    rx, ry = _sum(gx * off), _sum(gy * off)
    xx, yy, xy = _sum(gx * gx), _sum(gy * gy), _sum(gx * gy)
    det = xx * yy - xy * xy
    value = _sum(a * b * weight) / count
    good = (det > _LEAST * xx * yy) & (value > 0)
    safe = np.where(good, det * np.maximum(value, _LEAST), 1)
    step = np.stack([yy * rx - xy * ry, xx * ry - xy * rx], axis=-1) / safe[:, None]
    variance = _sum(off * off) / count * (xx + yy) / (2 * safe)
    return np.where(good[:, None], step, 0), np.where(good, value, 0), np.where(good, variance, np.inf)


def _normal(values: Array, weight: Array, count: Array) -> tuple[Array, Array]:
    """``values`` with mean 0 and variance 1 in each block, and by what they were divided."""
    about = values - (_sum(values * weight) / count)[:, None, None].astype(np.float32)
    power = np.sqrt(np.maximum(_sum(about * about * weight) / count, 1e-20))[:, None, None].astype(np.float32)
    return about / power, power


def _sum(values: Array) -> Array:
    found: Array = values.sum(axis=(1, 2), dtype=np.float64)
    return found
