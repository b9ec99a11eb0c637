"""Where one picture lies in another: masked normalised cross-correlation, and how sure that is.

Padfield, "Masked Object Registration in the Fourier Domain", IEEE Transactions on Image Processing 21 (2012).
Arrays are ``[x, y]``, real. A shift ``d`` puts pixel ``q`` of the second picture at ``q + d`` of the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

Array = npt.NDArray[Any]
Window = tuple[tuple[int, int], tuple[int, int]]
"""Shifts that are looked at: the first and the last along x, the same along y."""


@dataclass(frozen=True)
class Masked:
    """A picture and which of its pixels count; the others are 0."""

    values: Array
    mask: Array

    @property
    def whole(self) -> bool:
        """Whether all pixels count."""
        return bool(self.mask.all())

    def turned(self) -> Masked:
        """Turned by half a circle."""
        return Masked(self.values[::-1, ::-1], self.mask[::-1, ::-1])

    def cut(self, x: slice, y: slice) -> Masked:
        """A part of it."""
        return Masked(self.values[x, y], self.mask[x, y])


@dataclass(frozen=True)
class Peak:
    """The best of all shifts looked at."""

    shift: tuple[int, int]
    value: float
    """The correlation there."""
    confidence: float
    """From 0 to 1: by how much it beats what else there is (:func:`peak`)."""


def correlations(a: Masked, b: Masked, window: Window) -> tuple[Array, Array]:
    """Normalised correlation at each shift of ``window``, ``[dx, dy]``, and how many pixels it rests on.

    Of pictures that count wholly the sums over what two rectangles share come from integrals, else from transforms.
    """
    count, sa, saa, sb, sbb = _integrals(a, b, window) if a.whole and b.whole else _transforms(a, b, window)
    (sab,) = _products([(a.values, b.values)], window)
    safe = np.maximum(count, 1)
    top = sab - sa * sb / safe
    below = np.maximum(saa - sa * sa / safe, 0) * np.maximum(sbb - sb * sb / safe, 0)
    least = 1e-10 * np.max(saa, initial=0) * np.max(sbb, initial=0)  # what rounding leaves of nothing
    return np.where(below > least, top / np.sqrt(np.maximum(below, least + 1e-30)), 0), count


def peak(a: Masked, b: Masked, window: Window, apart: int, least: int) -> Peak:
    """The best shift of ``window``, of those that ``least`` pixels share.

    Shifts are compared by ``r sqrt(n)``, which for chance has the same spread whatever the number n of pixels. The
    confidence is one less the largest share of it that is reached elsewhere, more than ``apart`` pixels away, or
    anywhere by the second picture turned by half a circle, which can match by chance alone.
    """
    found, count = correlations(a, b, window)
    score = np.where(count >= least, found * np.sqrt(count), 0)
    x, y = np.unravel_index(int(np.argmax(score)), score.shape)
    best = float(score[x, y])
    if best <= 0:
        return Peak((window[0][0], window[1][0]), 0.0, 0.0)
    turned, count = correlations(a, b.turned(), window)
    chance = float(np.max(np.abs(turned) * np.sqrt(count), where=count >= least, initial=0))
    rest = score.copy()
    rest[max(x - apart, 0) : x + apart + 1, max(y - apart, 0) : y + apart + 1] = 0
    confidence = 1 - max(float(rest.max()), chance) / best
    return Peak((int(x) + window[0][0], int(y) + window[1][0]), float(found[x, y]), max(confidence, 0.0))


def _products(pairs: list[tuple[Array, Array]], window: Window) -> list[Array]:
    """The sum of ``a[p] b[p - d]`` over p, at each shift d of ``window``, for each pair."""
    sizes = pairs[0][0].shape, pairs[0][1].shape
    shape = [_length(sizes[0][k], sizes[1][k], *window[k]) for k in (1, 0)]
    places = [np.arange(low, high + 1) % n for (low, high), n in zip(window[::-1], shape, strict=True)]
    known: dict[int, Array] = {}

    def transformed(values: Array) -> Array:
        if id(values) not in known:
            known[id(values)] = fft.rfft2(values.T, shape)
        return known[id(values)]

    return [
        fft.irfft2(transformed(a) * transformed(b).conj(), shape)[np.ix_(*places)].T.astype(np.float64)
        for a, b in pairs
    ]


def _length(a: int, b: int, low: int, high: int) -> int:
    """How long a cycle must be, so that no shift from ``low`` to ``high`` comes round to pixels at the other end."""
    return int(fft.next_fast_len(max(a - low, b + high, a, b), real=True))


def _transforms(a: Masked, b: Masked, window: Window) -> list[Array]:
    """At each shift: the number of shared pixels, the sums and sums of squares over them of ``a`` and of ``b``."""
    ma, mb = a.mask.astype(a.values.dtype), b.mask.astype(b.values.dtype)
    count, *sums = _products([(ma, mb), (a.values, mb), (a.values**2, mb), (ma, b.values), (ma, b.values**2)], window)
    return [np.round(count), *sums]


def _integrals(a: Masked, b: Masked, window: Window) -> list[Array]:
    """As :func:`_transforms`, of rectangles without holes."""
    spans, own = [], []
    for k in (0, 1):
        d = np.arange(window[k][0], window[k][1] + 1)
        start = np.clip(d, 0, a.values.shape[k])
        stop = np.maximum(start, np.minimum(a.values.shape[k], b.values.shape[k] + d))
        spans.append((start, stop))
        own.append((np.clip(start - d, 0, b.values.shape[k]), np.clip(stop - d, 0, b.values.shape[k])))
    count = np.multiply.outer(*(stop - start for start, stop in spans)).astype(np.float64)
    return [count, *_sums(a.values.T, spans), *_sums(b.values.T, own)]


def _sums(values: Array, spans: list[tuple[Array, Array]]) -> list[Array]:
    """Sums of values ``[y, x]`` and of their squares over each rectangle of spans ``[start, stop)`` along x and y."""
    (x0, x1), (y0, y1) = spans
    found = []
    for one in (values, values * values):
        rows = np.zeros((one.shape[0] + 1, len(x0)))
        across = np.zeros((one.shape[0], one.shape[1] + 1))
        np.cumsum(one, axis=1, dtype=np.float64, out=across[:, 1:])
        np.cumsum(across[:, x1] - across[:, x0], axis=0, out=rows[1:])
        found.append((rows[y1] - rows[y0]).T)
    return found
