"""Whether two pictures show the same tissue under an affine map, block by block, and the map that fits them best.

Each block of the first is looked for around the place where the map puts it, by masked normalised cross-correlation. An
affine map is then fitted to what was found, robustly, and all is done again through it. A block agrees if most blocks
beside it moved about as it did: sections are bent, so that few may lie where an affine map has them, but smoothly,
which what matches by chance does not. Arrays are ``[x, y]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng.kernels import keypoints, texture
from igneous_ng.kernels.affine import Affine, fit_affine
from igneous_ng.kernels.correlation import Masked, correlations

Array = npt.NDArray[Any]
POINTS = 64
"""The most blocks that speak for a pair."""
_BLOCK, _SMALLEST = 96, 24  # pixels
_SEARCHES = (16, 16, 16)  # pixels, one after the other
_SMOOTH = 1.0
_APART = 4  # pixels around a peak that are the peak's own
_FULL = 0.5  # of a block that must be tissue in both
_BENT = 12.0  # pixels by which a block may be off the affine map, for sections are bent
_TOLERANCE = 5.0  # pixels by which it may be off most blocks beside it
_SURE = 2.5  # standard deviations of the correlations around, by which a peak beats their mean
_ROUNDS = 8
_SCALE = 1.0  # pixels, of residuals that still count
_FEWEST = 3


@dataclass(frozen=True)
class View:
    """A picture made even, and where there is tissue."""

    values: Array
    tissue: Array

    @classmethod
    def of(cls, picture: Array, tissue: Array) -> View:
        """From a picture as it was taken."""
        smooth = texture.smooth(keypoints.even(picture, tissue), tissue, _SMOOTH)
        return cls(np.asarray(smooth, np.float32), tissue)


@dataclass(frozen=True)
class Agreement:
    """``points`` [n, 2] of the first picture are seen at ``seen`` of the second, with ``weight`` [n] from 0 to 1."""

    affine: Affine
    share: float
    """Of the blocks of tissue that both have, those that agree."""
    correlation: float
    """The median over blocks that agree; 0 where none does."""
    common: int
    """Blocks of tissue that both have."""
    points: Array
    seen: Array
    weight: Array

    @property
    def score(self) -> float:
        """By which guesses are compared."""
        return self.share * self.common


def agreement(a: View, b: View, affine: Affine, inverted: bool) -> Agreement:
    """How well ``b`` at ``affine(p)`` shows what ``a`` shows at p; the map is refined."""
    none = np.zeros((0, 2))
    found = Agreement(affine, 0.0, 0.0, 0, none, none, np.zeros(0))
    for search in _SEARCHES:
        found = _looked(a, b, found.affine, inverted, search)
        if found.share * found.common < _FEWEST:
            break
    return found


def _looked(a: View, b: View, affine: Affine, inverted: bool, search: int) -> Agreement:
    second = _through(b, affine, a.values.shape, inverted)
    at, places, shifts, value, sure = _blocks(a, second, search)
    refined, weight = _fitted(places, places + shifts, sure)
    agrees = _agreeing(at, refined(places) - places - shifts, sure)
    share = float(agrees.mean()) if len(agrees) else 0.0
    kept = np.flatnonzero(agrees)
    kept = kept[:: -(-len(kept) // POINTS)] if len(kept) else kept
    correlation = float(np.median(value[agrees])) if agrees.any() else 0.0
    seen = affine(places[kept] + shifts[kept])
    return Agreement(affine.after(refined), share, correlation, len(places), places[kept], seen, weight[kept])


def _agreeing(at: Array, off: Array, sure: Array) -> Array:
    """Which blocks are sure, and off the map about as the blocks beside them, of which each counts as it is sure."""
    beside = np.abs(at[:, np.newaxis] - at).max(axis=-1, initial=0) == 1
    counts = np.where(beside, _weight(sure), 0)
    alike = np.hypot(*(off[:, np.newaxis] - off).transpose(2, 0, 1)) <= _TOLERANCE
    total = counts.sum(axis=1)
    most = (total > 0) & (2 * (counts * alike).sum(axis=1) >= total)
    return np.asarray(most & (sure >= _SURE) & (np.hypot(*off.T) <= _BENT))


def _weight(sure: Array) -> Array:
    return np.asarray(np.clip(sure - 2, 0, 4) / 4)


def _through(b: View, affine: Affine, shape: tuple[int, ...], inverted: bool) -> View:
    """``b`` in the frame of the first picture, contrast and all."""
    values, weight = (
        ndimage.affine_transform(one, affine.matrix, affine.shift, shape, order=1, mode="constant", output=np.float32)
        for one in (b.values, b.tissue.astype(np.float32))
    )
    tissue = weight > 0.999
    return View(np.where(tissue, -values if inverted else values, 0), tissue)


def _blocks(a: View, b: View, search: int) -> tuple[Array, Array, Array, Array, Array]:
    """Of each block with tissue in both: its row and column, middle, how far it moved, its correlation, how sure."""
    block = _side(a)
    rows: list[tuple[float, ...]] = []
    for i, x in enumerate(_starts(a.values.shape[0], block)):
        for j, y in enumerate(_starts(a.values.shape[1], block)):
            own = slice(x, x + block), slice(y, y + block)
            if (a.tissue[own] & b.tissue[own]).mean() >= _FULL:
                rows.append((i, j, x + (block - 1) / 2, y + (block - 1) / 2, *_block(a, b, own, search)))
    found = np.array(rows, np.float64).reshape(-1, 8)
    return found[:, :2], found[:, 2:4], found[:, 4:6], found[:, 6], found[:, 7]


def _side(a: View) -> int:
    """Pixels of a block: less where there is little tissue, that there be enough of them."""
    return int(np.clip(np.sqrt(a.tissue.sum()) / 4, _SMALLEST, _BLOCK))


def _starts(size: int, block: int) -> list[int]:
    """Where blocks begin: about as many that they overlap by a third, at most a dozen, to the very ends."""
    count = int(np.clip(-(-3 * (size - block) // (2 * block)) + 1, 1, 12))
    return [int(n) for n in np.linspace(0, max(size - block, 0), count)]


def _block(a: View, b: View, own: tuple[slice, slice], search: int) -> tuple[float, float, float, float]:
    wide = [slice(max(s.start - search, 0), s.stop + search) for s in own]
    first = Masked(b.values[*wide], b.tissue[*wide])
    second = Masked(a.values[own], a.tissue[own])
    origin = [s.start - w.start for s, w in zip(own, wide, strict=True)]
    window = tuple((o - search, o + search) for o in origin)
    found, count = correlations(first, second, (window[0], window[1]))
    found = np.where(count >= _FULL * second.values.size / 2, found, 0)
    x, y = np.unravel_index(int(found.argmax()), found.shape)
    away = np.ones(found.shape, bool)
    away[max(x - _APART, 0) : x + _APART + 1, max(y - _APART, 0) : y + _APART + 1] = False
    rest = found[away]
    spread = float(rest.std())
    sure = (float(found[x, y]) - float(rest.mean())) / spread if spread > 0 else 0.0
    return _vertex(found, int(x), 0, int(y)) - search, _vertex(found, int(y), 1, int(x)) - search, found[x, y], sure


def _vertex(found: Array, at: int, axis: int, other: int) -> float:
    """The top of the parabola through a peak and its neighbours; the peak itself at the end of the search."""
    line = found[:, other] if axis == 0 else found[other]
    if not 0 < at < len(line) - 1:
        return float(at)
    low, top, high = (float(line[at + n]) for n in (-1, 0, 1))
    bend = low - 2 * top + high
    return at + ((low - high) / (2 * bend) if bend < 0 else 0.0)


def _fitted(p: Array, q: Array, sure: Array) -> tuple[Affine, Array]:
    """The affine map from p to q that most agree with (Geman and McClure's weights, from wide to narrow)."""
    base = _weight(sure)
    weight = base
    affine = Affine(np.eye(2), np.median(q - p, axis=0) if len(p) else np.zeros(2))
    for k in range(_ROUNDS):
        off = np.hypot(*(affine(p) - q).T)
        weight = base / (1 + (off / (_SCALE * max(1.0, 8.0 / 2**k))) ** 2) ** 2
        if np.count_nonzero(weight > 0.1 * weight.max(initial=0)) < _FEWEST or weight.sum() <= 1e-6:
            break
        affine = fit_affine(p, q, weight)
    return affine, weight
