"""Points of an overlap that are the same place in two tiles: blocks of one looked for in the other, each for itself.

Arrays are ``[x, y]``; a shift d puts pixel q of the second strip at q + d of the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from igneous_ng.kernels import texture
from igneous_ng.kernels.correlation import Masked
from igneous_ng.kernels.pair_fits import Fit, fitted
from igneous_ng.kernels.strips import Strips
from igneous_ng.kernels.subpixel import refined

Array = npt.NDArray[Any]
MOST = 32
"""The most points of a pair."""
_WIDE = 36  # pixels: an overlap has two rows of points, so that slopes across it are seen
_SPACING = 75  # pixels between points, where they are not too many
_FINE = 1.0  # pixels
_REACH = 6  # half pixels around what is expected that blocks are looked for
_AGREE = 2.0  # pixels that a point may be off what its pair's points say together
_WEAKEST = 0.1  # the least correlation of a block
_AGREEING = 0.4, 1.6  # of all blocks, and blocks: of few nearly all, for few agree by chance
_FEW, _MISSED = 3, 6  # blocks with texture that there must be, and one of how many may disagree
_ROUNDS, _STEPS = 4, 3
_STILL = 1.0  # pixels that blocks move in a last round
_MANY = 50_000  # pixels of all blocks beyond which every other one is enough
_EDGE = 16  # pixels that filters look beyond the blocks
_FLOOR = 0.03**2  # px^2: what no block is better than
_COARSE = 0.25  # px^2: variance of a block at half resolution that correlates wholly


@dataclass(frozen=True)
class Points:
    """Places ``p`` ``[n, 2]`` of the first strip, ``q`` of the second that are the same, and their ``weight`` [n]."""

    p: Array
    q: Array
    weight: Array


@dataclass(frozen=True)
class _Lattice:
    """Blocks of the first strip: their columns ``[n, w]`` and rows ``[n, h]``."""

    xs: Array
    ys: Array

    @property
    def centres(self) -> Array:
        """``[n, 2]``."""
        return np.stack([self.xs.mean(axis=1), self.ys.mean(axis=1)], axis=1)

    @property
    def size(self) -> Array:
        """Of a block, in pixels."""
        return np.array([self.xs.shape[1], self.ys.shape[1]])

    def of(self, chosen: Array) -> _Lattice:
        """Some of the blocks."""
        return _Lattice(self.xs[chosen], self.ys[chosen])


def points(pair: Strips, start: Fit) -> Points | None:
    """Points near what ``start`` says; None where too few blocks agree to believe it, or nothing is shared.

    About half of all blocks must agree, of few nearly all; or, where most show nothing, all those with texture but one
    in six, and of these there must be three: one speck is not enough.
    """
    fit = start
    for n in range(_ROUNDS):
        lattice = _lattice(pair, fit)
        if lattice is None:
            return None
        variance, shifts, seen = _searched(pair, lattice, fit(lattice.centres))
        if not np.isfinite(variance).any():
            return None
        old, fit = fit, fitted(lattice.centres, shifts, variance, 2 * _AGREE)
        moved = float(np.abs(old(lattice.centres) - fit(lattice.centres)).max())
        if moved < _STILL or n == _ROUNDS - 1:
            found, kept = _finest(pair, lattice, fit)
            with_texture = np.count_nonzero(seen)
            most = np.count_nonzero(kept) >= min(len(kept), _AGREEING[0] * len(kept) + _AGREEING[1])
            missed = with_texture - np.count_nonzero(kept & seen)
            enough = with_texture >= _FEW and missed <= with_texture // _MISSED
            return found if most or enough else None
    return None


def _lattice(pair: Strips, fit: Fit) -> _Lattice | None:
    low, high = _shared(pair, fit)
    sides = high - low + 1
    if sides.min() < 6:
        return None
    spacing, least = float(_SPACING), np.where(sides >= _WIDE, 2, 1)
    while np.maximum(least, np.round(sides / spacing)).prod() > MOST:
        spacing *= 1.05
    counts = np.maximum(least, np.round(sides / spacing)).astype(int)
    counts[int(np.argmax(sides))] = max(2, counts.max())  # one block alone bears nothing out
    size = np.minimum(sides // counts, _SPACING).astype(int)
    axes = []
    for k in (0, 1):
        centres = low[k] + (np.arange(counts[k]) + 0.5) * (sides[k] / counts[k])
        starts = np.floor(centres - size[k] / 2 + 1e-6).astype(int)
        axes.append(np.clip(starts, int(low[k]), int(high[k]) + 1 - size[k]))
    x, y = (one.ravel() for one in np.meshgrid(*axes, indexing="ij"))
    return _Lattice(x[:, None] + np.arange(size[0]), y[:, None] + np.arange(size[1]))


def _shared(pair: Strips, fit: Fit) -> tuple[Array, Array]:
    """First and last pixel of the first strip that the second covers as well, about."""
    sizes = [np.array(one.values.shape) for one in pair.full]
    low, high = np.zeros(2), sizes[0] - 1.0
    for _ in range(3):
        shift = fit(((low + high) / 2)[None])[0]
        low, high = np.maximum(0, shift), np.minimum(sizes[0] - 1, sizes[1] - 1 + shift)
    return np.ceil(low), np.floor(high)


def _searched(pair: Strips, lattice: _Lattice, expected: Array) -> tuple[Array, Array, Array]:
    """How sure blocks are, their shifts near what is ``expected`` ``[n, 2]``, at half resolution; which have texture.

    The first as a variance in px^2, infinite for blocks that are not found.
    """
    a, b = pair.half
    near = np.rint(expected / 2).astype(int)
    xs, ys = (_halves(side, n) for side, n in zip((lattice.xs, lattice.ys), a.values.shape, strict=True))
    blocks = _taken(a, xs, ys)
    windows = _taken(b, _wider(xs - near[:, :1]), _wider(ys - near[:, 1:]))
    seen = (_spread(*blocks) > pair.noise[0]) | (_spread(*windows) > pair.noise[1])
    found = _local(blocks, windows)
    flat = found.reshape(len(found), -1)
    best = flat.argmax(axis=1)
    i, j = np.unravel_index(best, found.shape[1:])
    value = flat.max(axis=1)
    shifts = 2 * (near + np.stack([i, j], axis=1) - _REACH + _tops(found, i, j))
    sure = value >= _WEAKEST
    return np.where(sure, _COARSE / np.where(sure, value, 1) ** 2, np.inf), shifts, seen


def _spread(values: Array, mask: Array) -> Array:
    """The standard deviation in each block of what counts, about 0."""
    count = np.maximum(mask.sum(axis=(1, 2)), 1)
    return np.asarray(np.sqrt((values * values).sum(axis=(1, 2)) / count))


def _halves(side: Array, size: int) -> Array:
    """Half pixels of blocks, at least one each."""
    count = max(side.shape[1] // 2, 1)
    return np.asarray(np.minimum(side[:, :1] // 2, size - count) + np.arange(count))


def _wider(side: Array) -> Array:
    return np.asarray(side[:, :1] - _REACH + np.arange(side.shape[1] + 2 * _REACH))


def _taken(picture: Masked, xs: Array, ys: Array) -> tuple[Array, Array]:
    """Blocks ``[n, w, h]`` of a picture and their masks; 0 beyond its borders."""
    w, h = picture.values.shape
    inside = ((xs >= 0) & (xs < w))[:, :, None] & ((ys >= 0) & (ys < h))[:, None, :]
    at = np.clip(xs, 0, w - 1)[:, :, None], np.clip(ys, 0, h - 1)[:, None, :]
    mask = inside & picture.mask[at]
    return np.where(mask, picture.values[at], 0), mask


def _local(blocks: tuple[Array, Array], windows: tuple[Array, Array]) -> Array:
    """Correlation of each block with its window at all shifts, ``[n, 2 reach + 1, 2 reach + 1]``.

    0 where less than a quarter of the pixels count.
    """
    (a, in_a), (b, in_b) = blocks, windows
    size, shape = a.shape[1:], [fft.next_fast_len(n, real=True) for n in b.shape[1:]]
    count = np.maximum(in_a.sum(axis=(1, 2)), 1)
    about = np.where(in_a, a - (a.sum(axis=(1, 2)) / count)[:, None, None], 0).astype(np.float32)
    product = fft.irfft2(fft.rfft2(b, shape) * fft.rfft2(about, shape).conj(), shape)
    reach = 2 * _REACH + 1
    top = product[:, :reach, :reach][:, ::-1, ::-1]
    power_a = (about.astype(np.float64) ** 2).sum(axis=(1, 2))[:, None, None]
    power_b = _boxes(b.astype(np.float64) ** 2, size)[:, ::-1, ::-1]
    shared = _boxes(in_b.astype(np.float64), size)[:, ::-1, ::-1]
    enough = (shared >= in_a[0].size / 4) & (count >= in_a[0].size / 4)[:, None, None]
    power = np.where(enough, power_a * power_b, 0)
    least = 1e-10 * power.max(axis=(1, 2), keepdims=True) + 1e-30
    return np.where(power > least, top / np.sqrt(np.maximum(power, least)), 0)


def _boxes(values: Array, size: tuple[int, ...]) -> Array:
    """Sums over all boxes of ``size`` in each of ``values`` ``[n, w, h]``."""
    whole = np.zeros((len(values), values.shape[1] + 1, values.shape[2] + 1))
    np.cumsum(np.cumsum(values, axis=1), axis=2, out=whole[:, 1:, 1:])
    rows = whole[:, size[0] :] - whole[:, : -size[0]]
    return np.asarray(rows[:, :, size[1] :] - rows[:, :, : -size[1]])


def _tops(found: Array, i: Array, j: Array) -> Array:
    """How far the peaks are from the largest values ``[n, i, j]``, by parabolas, ``[n, 2]``."""
    n, last = np.arange(len(found)), found.shape[1] - 1
    top = found[n, i, j]
    moved = []
    for at, (dx, dy) in ((i, (1, 0)), (j, (0, 1))):
        inner = (at > 0) & (at < last)
        before = top - found[n, np.maximum(i - dx, 0), np.maximum(j - dy, 0)]
        after = top - found[n, np.minimum(i + dx, last), np.minimum(j + dy, last)]
        moved.append(np.where(inner, (before - after) / (2 * np.maximum(before + after, 1e-12)), 0))
    return np.stack(moved, axis=1)


def _finest(pair: Strips, every: _Lattice, fit: Fit) -> tuple[Points | None, Array]:
    """Points of those blocks that agree at full resolution, and which of ``every`` block these are."""
    chosen = np.flatnonzero(fit.trust)
    agreed = np.zeros(len(every.xs), bool)
    if not len(chosen):
        return None, agreed
    lattice = every.of(chosen)
    expected = fit(lattice.centres)
    a, from_a = _filtered(pair.full[0], lattice.centres, lattice.size)
    b, from_b = _filtered(pair.full[1], lattice.centres - expected, lattice.size)
    about = from_b - from_a
    step = 1 if lattice.xs.size * lattice.size[1] < _MANY else 2  # what is filtered says little more in each pixel
    corners = np.stack([lattice.xs[:, 0], lattice.ys[:, 0]], axis=1) - from_a
    blocks = np.concatenate([corners, np.broadcast_to(lattice.size, corners.shape)], axis=1)
    found = refined(a, b, blocks, expected + about, fit.slopes(lattice.centres), (_STEPS, step))
    shifts, variance = found.shift - about, found.variance + _FLOOR
    variance = np.where((found.value >= _WEAKEST) & np.isfinite(variance), variance, np.inf)
    if not np.isfinite(variance).any():
        return None, agreed
    last = fitted(lattice.centres, shifts, variance, _AGREE)
    kept = last.trust > 0
    p = lattice.centres[kept]
    agreed[chosen[kept]] = True
    return Points(p, p - shifts[kept], (last.trust[kept] / variance[kept]).astype(np.float32)), agreed


def _filtered(whole: Masked, centres: Array, size: Array) -> tuple[Masked, Array]:
    """What of a strip blocks around ``centres`` need, filtered, and its first pixel."""
    half = size / 2 + _EDGE
    low, high = np.floor(centres.min(axis=0) - half).astype(int), np.ceil(centres.max(axis=0) + half).astype(int)
    first = np.clip(low, 0, np.array(whole.values.shape) - 1)
    part = whole.cut(slice(first[0], max(high[0] + 1, first[0] + 1)), slice(first[1], max(high[1] + 1, first[1] + 1)))
    return Masked(texture.smooth(part.values, part.mask, _FINE), part.mask), first
