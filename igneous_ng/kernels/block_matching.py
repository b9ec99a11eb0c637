"""Where patches of one section are seen in another: correlation of small blocks, summed to patches on a lattice.

Pictures are averaged over squares of pixels and lose what is coarse, so that neither gain nor shading matters. Around
each node of the lattice, a patch under Hann's window is compared with the other picture at every shift of a search:
normalised correlation over what is tissue in both (Padfield, IEEE Transactions on Image Processing 21, 2012). Patches
overlap; products are summed over blocks of half a stride, which all patches above share (``native/blocks.cpp``). So no
transform is needed, and a vector depends on the pixels below its patch and its search alone.

The top is found on a cubic spline. Its uncertainty follows from its curvature H and from how the surface varies
elsewhere: of a texture of which a part is common and the rest is chance, the slope of what chance adds has the variance
``s^2 (1 - r^2) H / r``, and so the place of the top ``s^2 (1 - r^2) / r H^-1``.

Arrays are ``[x, y]``. Node ``(i, j)`` lies at ``((i + 1/2) stride - 1/2, ...)`` pixels of the level, between two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.native import blocks

Array = npt.NDArray[Any]
Window = tuple[int, int, int, int]
COARSE = 4.0
"""Sigma of the Gaussian that is subtracted, in pixels of the level."""
LEAST = 0.4
"""The share of a patch that must be tissue in both pictures."""
APART = 4
"""Pixels of the level between peaks that are two."""
_FINE = {1: np.array([1, 2, 1], np.float32) / 4, 2: np.array([1, 5, 10, 10, 5, 1], np.float32) / 32}
"""Weights of the pixels of the level in one that is compared: binomial, for little that moves tops must be left."""
_WHOLE = 0.999  # of these weights
_NEAR = 16  # pixels of the level
_REACH = 3  # sigmas of a Gaussian
_KNOWN = 0.5  # of the shifts of a search
_SINGLE = 1.3  # times the next peak
_CHANCE = 4.5  # times the spread of the surface
_SMALLEST, _LARGEST = 1 / 64, 99.0  # pixels of the level, a sigma


class Status(IntEnum):
    """What became of a node."""

    GOOD = 0
    NOTHING = 1
    WEAK = 2
    UNLIKE = 3
    EDGE = 4


@dataclass(frozen=True)
class Manner:
    """How it is matched, in pixels of the level: multiples of 4, the patch a multiple of the stride."""

    stride: int
    patch: int
    search: int

    @property
    def pool(self) -> int:
        """Pixels of the level along a pixel that is compared: 2 where much has to be searched."""
        return 2 if self.search > _NEAR else 1

    @property
    def reach(self) -> int:
        """Pixels compared that are searched each way."""
        return self.search // self.pool

    @property
    def side(self) -> int:
        """Pixels compared along a block."""
        return self.stride // 2 // self.pool

    @property
    def weights(self) -> Array:
        """Of the blocks of a patch along an axis: Hann's window, float32."""
        count = 2 * self.patch // self.stride
        return np.asarray(np.sin(np.pi * (np.arange(count) + 0.5) / count) ** 2, np.float32)

    @property
    def halo(self) -> int:
        """Pixels of the level around a window that its filter sees."""
        return _taps(COARSE / self.pool).size // 2 * self.pool + 2

    def window(self, low: tuple[int, int], high: tuple[int, int], reach: int) -> Window:
        """Pixels of the level below the patches of nodes ``low`` to ``high``, and ``reach`` more on each side."""
        more = (self.patch - self.stride) // 2 + reach
        x0, y0 = (n * self.stride - more for n in low)
        x1, y1 = (n * self.stride + more for n in high)
        return x0, y0, x1, y1


@dataclass(frozen=True)
class Picture:
    """A window as it is compared: ``values`` float32 ``[x, y]``, 0 where ``tissue`` is not."""

    values: Array
    tissue: Array

    @classmethod
    def of(cls, values: Array, tissue: Array, manner: Manner) -> Picture:
        """From pixels of the level, the halo around them included; without it then."""
        pool, cut = manner.pool, manner.halo // manner.pool
        fine, coarse = _FINE[pool], _taps(COARSE / pool)
        before = (len(fine) - pool) // 2
        seen = np.where(tissue, values, 0).astype(np.float32)
        mean, share = (_smoothed(one, fine, before, pool) for one in (seen, tissue.astype(np.float32)))
        known = share > _WHOLE
        counts = known.astype(np.float32)
        around, share = (_smoothed(one, coarse, len(coarse) // 2) for one in (mean * counts, counts))
        left = np.where(known, mean - around / np.where(known, share, 1), 0)
        inner = slice(cut, left.shape[0] - cut), slice(cut, left.shape[1] - cut)
        return cls(left[inner], known[inner])

    def cut(self, x: int, y: int, width: int, height: int) -> Picture:
        """A part of it."""
        part = slice(x, x + width), slice(y, y + height)
        return Picture(self.values[part], self.tissue[part])


@dataclass(frozen=True)
class Vectors:
    """What was found at nodes ``[x, y]``; NaN where status is 1. Lengths are pixels of the level."""

    shift: Array
    """``[x, y, 2]``: what lies at a node r of the first picture lies at r + shift of the second."""
    peak: Array
    ratio: Array
    """Of the peak to the next one, or to the height of the surface more than :data:`APART` away; at most 99."""
    sigma: Array
    status: Array
    """uint8: of the :class:`Status`, all but UNLIKE."""

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Vectors:
        """Nothing was found."""
        shift, peak, ratio, sigma = (np.full((*shape, *more), np.nan) for more in ((2,), (), (), ()))
        return cls(shift, peak, ratio, sigma, np.full(shape, Status.NOTHING, np.uint8))


def tissue(a: Picture, manner: Manner) -> Array:
    """The share of each node's patch that is tissue, by weight, ``[x, y]``."""
    side, weights = manner.side, manner.weights
    shape = [n // side for n in a.tissue.shape]
    share = a.tissue.reshape(shape[0], side, shape[1], side).mean(axis=(1, 3))
    for axis in (0, 1):
        count = (share.shape[axis] - len(weights)) // 2 + 1
        parts = [np.moveaxis(share, axis, 0)[k : k + 2 * count - 1 : 2] * w for k, w in enumerate(weights)]
        share = np.moveaxis(np.sum(parts, axis=0), 0, axis)
    return np.asarray(share / weights.sum() ** 2)


def correlated(a: Picture, b: Picture, wanted: Array, manner: Manner) -> Array:
    """How alike two pictures are around each node wanted, at each shift: float32 ``[n, dy, dx]``, nodes row by row.

    NaN where too little of the patch is tissue in both.
    """
    how = manner.side, manner.reach, LEAST
    return blocks.correlated(a.values.T, a.tissue.T, b.values.T, b.tissue.T, wanted.T, manner.weights, how)


Correlate = Callable[[Picture, Picture, Array, Manner], Array]
"""What :func:`correlated` is."""


def matched(a: Picture, b: Picture, wanted: Array, manner: Manner, correlate: Correlate = correlated) -> Vectors:
    """The vectors of the nodes that are ``wanted``, bool ``[x, y]``.

    ``a``: what :meth:`Manner.window` says for these nodes; ``b``: the same with the search around it.
    """
    found = Vectors.none(wanted.shape)
    if not (wanted.any() and b.tissue.any()):
        return found
    rows = blocks.peaks(correlate(a, b, wanted, manner), APART // manner.pool)
    at = tuple(reversed(np.nonzero(wanted.T)))
    for name, values in _judged(rows, manner).items():
        getattr(found, name)[at] = values
    return found


def _judged(rows: Array, manner: Manner) -> dict[str, Array]:
    """Columns of :class:`Vectors` from what is known of peaks."""
    x, y, peak, other, spread, xx, xy, yy, inner, known = rows.T
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.minimum(peak / other, 99.0)
        top = (xx < 0) & (xx * yy - xy * xy > 0) & (peak > 0)
        apart = np.maximum(1 - peak * peak, 0) / peak
        variance = spread**2 * apart * -(xx + yy) / (2 * (xx * yy - xy * xy))
        sigma = np.where(top, np.clip(np.sqrt(variance) * manner.pool, _SMALLEST, _LARGEST), _LARGEST)
        weak = ~top | (ratio < _SINGLE) | (peak < _CHANCE * spread)
    status = np.where(inner == 0, Status.EDGE, np.where(weak, Status.WEAK, Status.GOOD))
    nothing = known < _KNOWN
    columns = {"shift": np.stack([x, y], axis=-1) * manner.pool, "peak": peak, "ratio": ratio, "sigma": sigma}
    for values in columns.values():
        values[nothing] = np.nan
    return {**columns, "status": np.where(nothing, Status.NOTHING, status)}


def _taps(sigma: float) -> Array:
    """A Gaussian's weights, their sum 1, float32."""
    reach = int(np.ceil(_REACH * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(taps / taps.sum(), np.float32)


def _smoothed(values: Array, taps: Array, before: int, step: int = 1) -> Array:
    return blocks.smoothed(values.T, taps, before, step).T
