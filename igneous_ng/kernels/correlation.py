"""Where one picture lies in another: masked normalised cross-correlation, and how sure that is.

Padfield, "Masked Object Registration in the Fourier Domain", IEEE Transactions on Image Processing 21 (2012).
Arrays are ``[x, y]``, real. A shift ``d`` puts pixel ``q`` of the second picture at ``q + d`` of the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
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
    """Normalised correlation at each shift of ``window``, ``[dx, dy]``, and how many pixels it rests on."""
    return _Compared(a, b, window).correlations(turned=False)


def peak(a: Masked, b: Masked, window: Window, apart: int, least: int) -> Peak:
    """The best shift of ``window``, of those that ``least`` pixels share.

    Shifts are compared by ``r sqrt(n)``, which for chance has the same spread whatever the number n of pixels. The
    confidence is one less the largest share of it that is reached elsewhere, more than ``apart`` pixels away, or
    anywhere by the second picture turned by half a circle, which can match by chance alone.
    """
    compared = _Compared(a, b, window)
    found, count = compared.correlations(turned=False)
    score = np.where(count >= least, found * np.sqrt(count), 0)
    x, y = np.unravel_index(int(np.argmax(score)), score.shape)
    best = float(score[x, y])
    if best <= 0:
        return Peak((window[0][0], window[1][0]), 0.0, 0.0)
    turned, count = compared.correlations(turned=True)
    chance = float(np.max(np.abs(turned) * np.sqrt(count), where=count >= least, initial=0))
    rest = score.copy()
    rest[max(x - apart, 0) : x + apart + 1, max(y - apart, 0) : y + apart + 1] = 0
    confidence = 1 - max(float(rest.max()), chance) / best
    return Peak((int(x) + window[0][0], int(y) + window[1][0]), float(found[x, y]), max(confidence, 0.0))


class _Compared:
    """Two pictures at each shift of a window, the second as it is or turned; transforms of both serve for both ways.

    Of pictures that count wholly the sums over what two rectangles share come from integrals, else from transforms.
    """

    def __init__(self, a: Masked, b: Masked, window: Window) -> None:
        self._a, self._b, self._window = a, b, window
        self._shape = [_length(a.values.shape[k], b.values.shape[k], *window[k]) for k in (1, 0)]
        self._whole = a.whole and b.whole
        self._pair = self._transformed(a.values), self._transformed(b.values)

    def correlations(self, turned: bool) -> tuple[Array, Array]:
        """As :func:`correlations`."""
        count, sa, saa, sb, sbb = self._integrals(turned) if self._whole else self._sums_of_transforms(turned)
        sab = self._product(*self._pair, turned)
        safe = np.maximum(count, 1)
        top = sab - sa * sb / safe
        below = np.maximum(saa - sa * sa / safe, 0) * np.maximum(sbb - sb * sb / safe, 0)
        least = 1e-10 * np.max(saa, initial=0) * np.max(sbb, initial=0)  # what rounding leaves of nothing
        return np.where(below > least, top / np.sqrt(np.maximum(below, least + 1e-30)), 0), count

    def _transformed(self, values: Array) -> Array:
        return np.asarray(fft.rfft2(values.T, self._shape))

    def _product(self, a: Array, b: Array, turned: bool) -> Array:
        """The sum of ``a[p] b[p - d]`` over p, of transforms; turned, it is a convolution, some pixels farther on."""
        sizes = self._b.values.shape[::-1] if turned else (1, 1)
        places = [
            (np.arange(low, high + 1) + size - 1) % n
            for (low, high), size, n in zip(self._window[::-1], sizes, self._shape, strict=True)
        ]
        product = a * (b if turned else b.conj())
        return np.asarray(fft.irfft2(product, self._shape)[np.ix_(*places)].T, np.float64)

    @cached_property
    def _moments(self) -> tuple[list[Array], list[Array]]:
        """Transforms of the mask, the values and their squares of both pictures."""
        found = []
        for one, known in zip((self._a, self._b), self._pair, strict=True):
            mask, squares = one.mask.astype(one.values.dtype), one.values * one.values
            found.append([self._transformed(mask), known, self._transformed(squares)])
        return found[0], found[1]

    def _sums_of_transforms(self, turned: bool) -> list[Array]:
        """At each shift: the number of shared pixels, the sums and sums of squares over them of ``a`` and of ``b``."""
        (ma, a, aa), (mb, b, bb) = self._moments
        count, *sums = (self._product(*two, turned) for two in ((ma, mb), (a, mb), (aa, mb), (ma, b), (ma, bb)))
        return [np.round(count), *sums]

    @cached_property
    def _tables(self) -> tuple[list[Array], list[Array]]:
        """Sums of values and of their squares up to each column, ``[y, x]``, of both pictures."""
        return _cumulated(self._a.values.T), _cumulated(self._b.values.T)

    def _integrals(self, turned: bool) -> list[Array]:
        """As :meth:`_sums_of_transforms`, of rectangles without holes."""
        spans, own = [], []
        for k in (0, 1):
            n, m = self._a.values.shape[k], self._b.values.shape[k]
            d = np.arange(self._window[k][0], self._window[k][1] + 1)
            start = np.clip(d, 0, n)
            stop = np.maximum(start, np.minimum(n, m + d))
            spans.append((start, stop))
            low, high = np.clip(start - d, 0, m), np.clip(stop - d, 0, m)
            own.append((m - high, m - low) if turned else (low, high))
        count = np.multiply.outer(*(stop - start for start, stop in spans)).astype(np.float64)
        return [count, *_sums(self._tables[0], spans), *_sums(self._tables[1], own)]


def _cumulated(values: Array) -> list[Array]:
    found = []
    for one in (values, values * values):
        across = np.zeros((one.shape[0], one.shape[1] + 1))
        np.cumsum(one, axis=1, dtype=np.float64, out=across[:, 1:])
        found.append(across)
    return found


def _sums(tables: list[Array], spans: list[tuple[Array, Array]]) -> list[Array]:
    """From sums up to each column, those over each rectangle of spans ``[start, stop)`` along x and y."""
    (x0, x1), (y0, y1) = spans
    found = []
    for across in tables:
        rows = np.zeros((across.shape[0] + 1, len(x0)))
        np.cumsum(across[:, x1] - across[:, x0], axis=0, out=rows[1:])
        found.append((rows[y1] - rows[y0]).T)
    return found


def _length(a: int, b: int, low: int, high: int) -> int:
    """How long a cycle must be, so that no shift from ``low`` to ``high`` comes round to pixels at the other end."""
    return int(fft.next_fast_len(max(a - low, b + high, a, b), real=True))
