"""Grey values of tiles made to agree where they overlap, and of sections with those beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import splu

Array = npt.NDArray[Any]
GAIN_STEP, OFFSET_STEP = 2.0**-12, 2.0**-4
"""What gains and offsets of sections are rounded to."""
TILE_STEP = 2.0**-7
"""What gains of tiles are rounded to; offsets to that part of the section's spread, as a power of two."""
QUANTILES = (0.01, 0.5, 0.99)
"""By which sections are compared."""
BINS = 2**18
"""Counts of a section's values."""
_ROUNDS = 6
_CLIP = np.log(4.0)
_DAMP = 1e-4  # weight of a tile's own zero, where that of the median overlap is one
_FINE = 128
_GAINS = 0.75, 4 / 3  # of a section


def balance(tiles: int, pairs: Array, mean: Array, spread: Array, area: Array) -> Array:
    """Gain and offset of each of so many tiles, ``[tile, 2]``, float64, rounded, for one channel.

    ``pairs`` ``[n, 2]``; ``mean`` and ``spread`` ``[n, 2]`` of both tiles where they overlap, over ``area`` ``[n]``
    pixels. First gains, log a_i - log a_j = log s_j - log s_i, of at most a factor of four, then offsets,
    a_i m_i + b_i = a_j m_j + b_j (the form of FEABAS, Yuan et al.), each by damped least squares with weights by area
    and by Huber's for what does not fit. Tiles that hang together have the mean gain 1 and the mean offset 0, nearly
    (:func:`_levelled`): they keep their own level, and so does a tile without any overlap.

    The steps of rounding are as coarse as eyes allow, for in the equations every tile hangs on every other: noise of
    one overlap moves all tiles, most of them by less than a step. Offsets make up for what gains are rounded by.
    """
    both = np.ones((tiles, 2)) * (1.0, 0.0)
    if not len(pairs):
        return both
    weight = area / _binary(float(np.median(area)))
    groups = _groups(tiles, pairs)
    told: Array = spread.min(axis=1) > 0
    logs = np.log(np.where(told[:, None], spread, 1.0))
    ratio = np.clip(logs[:, 1] - logs[:, 0], -_CLIP, _CLIP)
    found = _solved(tiles, pairs, ratio, weight * told, 2 * TILE_STEP)
    gains = np.exp(_levelled(found, _seen(tiles, pairs, logs), groups, 1 / 64, _log_mean))
    gains = np.round(gains / TILE_STEP) * TILE_STEP
    unit = _binary(float(np.median(spread)))
    step = unit / 16
    level = round(float(np.median(mean)) / step) * step  # gains turn about it: the rest is likely to be small
    about = gains[pairs] * (mean - level)
    rest = _solved(tiles, pairs, about[:, 1] - about[:, 0], weight, unit / 32) + (1.0 - gains) * level
    offsets = _levelled(rest, _seen(tiles, pairs, gains[pairs] * mean), groups, step, np.mean)
    both[:, 0], both[:, 1] = gains, np.round(offsets / (unit * TILE_STEP)) * unit * TILE_STEP + 0.0  # never -0
    return both


def steps(pairs: Array, mean: Array, tones: Array) -> Array:
    """By how much grey values differ where pairs overlap, ``[n]``, once tiles have their ``tones``."""
    shown = tones[pairs, 0] * mean + tones[pairs, 1]
    return np.asarray(shown[:, 0] - shown[:, 1])


def _solved(tiles: int, pairs: Array, wished: Array, weight: Array, floor: float) -> Array:
    """x of least sum w (x_i - x_j - wished)^2 + damp sum x^2.

    What misses by more than is usual, and by more than ``floor``, counts less.
    """
    i, j = pairs.T
    robust: Array = np.ones(len(pairs))
    found = np.zeros(tiles)
    for _ in range(_ROUNDS):
        w = weight * robust
        rows, columns = np.concatenate([i, j, i, j]), np.concatenate([i, j, j, i])
        diagonal = np.arange(tiles)
        values = np.concatenate([w, w, -w, -w, np.full(tiles, _DAMP)])
        places = np.concatenate([rows, diagonal]), np.concatenate([columns, diagonal])
        matrix = sparse.coo_matrix((values, places), (tiles, tiles)).tocsc()
        right = np.bincount(i, w * wished, tiles) - np.bincount(j, w * wished, tiles)
        found = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(right)
        missed = np.abs(found[i] - found[j] - wished)
        usual = max(3 * float(np.median(missed)), floor)
        robust = usual / np.maximum(missed, usual)
    return np.asarray(found)


def _groups(tiles: int, pairs: Array) -> list[Array]:
    """The tiles that hang together, in groups of two and more."""
    graph = sparse.coo_matrix((np.ones(len(pairs)), pairs.T), (tiles, tiles))
    _, label = sparse.csgraph.connected_components(graph, directed=False)
    order = np.argsort(label, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    return [group for group in groups if len(group) > 1]


def _seen(tiles: int, pairs: Array, values: Array) -> Array:
    """The mean over a tile's overlaps of what it has there, ``[n, 2]``; 0 of none."""
    count = np.bincount(pairs.ravel(), minlength=tiles)
    return np.asarray(np.bincount(pairs.ravel(), values.ravel(), tiles) / np.maximum(count, 1))


def _levelled(values: Array, seen: Array, groups: list[Array], step: float, middle: Callable[[Array], Any]) -> Array:
    """``values`` moved by one number in each group, so that its ``middle`` is 0, to half a ``step``.

    Were the middle itself to be 0, a tile that changes would change all. So what is shown, ``seen`` and values
    together, is brought to a whole step in the mean: a tile that comes to have another value is seen as much lower.
    Where values differ by less than half a step in the mean, most are alike, and it is these that are to be 0.
    """
    found = values.copy()
    for group in groups:
        own = values[group]
        shown, most = float(np.mean(own + seen[group])), float(np.median(own))
        alike = np.abs(own - most).mean() < step / 2
        found[group] -= most if alike else shown - round((shown - float(middle(own))) / step) * step
    return found


def _log_mean(logs: Array) -> Any:
    return np.log(np.exp(logs).mean())


def _binary(value: float) -> float:
    """The power of two next to a value, which small changes leave as it is; 1 for none."""
    return 2.0 ** float(np.round(np.log2(value))) if value > 0 else 1.0


def counts(values: Array, white: float) -> Array:
    """How many of ``values`` are in each of :data:`BINS` from half of ``white`` below zero to as much above it."""
    bins = np.floor((values.ravel() / white + 0.5) * (BINS / 2)).astype(np.int64)
    return np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)


def quantiles(found: Array, white: float) -> list[float] | None:
    """The :data:`QUANTILES` of what was counted; None of nothing.

    They are rounded to about a 128th of their range: a tile that changes should not change all sections around.
    """
    ends = np.cumsum(found)
    if not ends[-1]:
        return None
    ranks = [int(q * (int(ends[-1]) - 1)) for q in QUANTILES]
    places = ((np.searchsorted(ends, ranks, side="right") + 0.5) / (BINS / 2) - 0.5) * white
    step = _binary(float(places[2] - places[0])) / _FINE
    return [float(n) for n in np.round(places / step) * step]


def level(own: list[float], near: list[list[float]]) -> tuple[float, float]:
    """Gain and offset that bring the quantiles of a section, ``own``, to the median of those ``near``, it among them.

    The gain is between 3/4 and 4/3, the middle moves by at most the section's own range.
    """
    dark, middle, bright = (float(np.median(side)) for side in zip(*near, strict=True))
    range_ = own[2] - own[0]
    gain = float(np.clip((bright - dark) / range_, *_GAINS)) if range_ > 0 and bright > dark else 1.0
    gain = round(gain / GAIN_STEP) * GAIN_STEP
    moved = float(np.clip(middle - own[1], -range_, range_))
    return gain, round((own[1] + moved - gain * own[1]) / OFFSET_STEP) * OFFSET_STEP
