"""What can be measured of a single picture: levels, focus, rows that show nothing, a hash of how it looks.

Pictures are ``[x, y, channel]`` with x fastest. Integers are summed as integers, so that figures are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SIDE = 32
"""Least sides of a thumbnail, where the picture has as many pixels."""
_COARSEST = 32
_BLOCK = 64  # side, in pairs of pixels, of the blocks in which focus is measured
_PROBES = 16  # pixels of a row that are compared before the whole row is
_ROWS = 256  # that are looked at at once
_COUNTED = 2  # bytes of the widest values that are counted one by one


@dataclass(frozen=True)
class Levels:
    """The values of a picture, all channels together, those that are no numbers left out."""

    min: float
    max: float
    p1: float
    """The value at place ``floor((n - 1) / 100)`` of n in order; the next two likewise."""
    p50: float
    p99: float
    mean: float
    std: float
    dark: float
    """Fraction of values that are the smallest."""
    bright: float
    """Fraction of values that are the largest."""


def levels(picture: Array) -> Levels | None:
    """The levels of a picture; None where no value is a number."""
    if picture.dtype.kind in "iu" and picture.dtype.itemsize <= _COUNTED:
        return _of_counts(*_counts(picture))
    values = picture.ravel(order="K").astype(np.float64)
    values = np.sort(values[np.isfinite(values)])
    return _of_sorted(values) if values.size else None


def _counts(picture: Array) -> tuple[int, Array]:
    """The smallest value of a type of one or two bytes, and how often each from there on occurs."""
    bits = 8 * picture.dtype.itemsize
    flat = picture.ravel(order="K").view(f"u{picture.dtype.itemsize}")
    found = np.zeros(1 << bits, np.int64)
    step = 1 << 16
    for at in range(0, flat.size, step):
        found += np.bincount(flat[at : at + step], minlength=1 << bits)
    if picture.dtype.kind == "u":
        return 0, found
    return -(1 << (bits - 1)), np.roll(found, 1 << (bits - 1))


def _of_counts(least: int, found: Array) -> Levels:
    used = np.flatnonzero(found)
    ends, total = np.cumsum(found), int(found.sum())
    low, high = int(used[0]), int(used[-1])
    first = int((used * found[used]).sum())
    second = int((used * used * found[used]).sum())
    at = [least + int(np.searchsorted(ends, percent * (total - 1) // 100, side="right")) for percent in (1, 50, 99)]
    spread = math.sqrt(second * total - first * first) / total
    ends_of = (int(found[low]) / total, int(found[high]) / total)
    return Levels(least + low, least + high, at[0], at[1], at[2], least + first / total, spread, *ends_of)


def _of_sorted(values: Array) -> Levels:
    total = values.size
    low, high = float(values[0]), float(values[-1])
    p1, p50, p99 = (float(values[percent * (total - 1) // 100]) for percent in (1, 50, 99))
    dark = int(np.searchsorted(values, low, side="right")) / total
    bright = (total - int(np.searchsorted(values, high, side="left"))) / total
    return Levels(low, high, p1, p50, p99, float(values.mean()), float(values.std()), dark, bright)


def thumbnail_factor(width: int, height: int) -> int:
    """The largest power of two, at most 32, that leaves at least 32 pixels along both sides; at least 1."""
    fits = min(width, height) // SIDE
    return min(_COARSEST, 1 << max(0, fits.bit_length() - 1))


def thumbnail(picture: Array, factor: int) -> Array:
    """Means of ``factor`` x ``factor`` pixels, float32 ``[x, y, channel]``, far borders cut."""
    depth, height, width = picture.T.shape
    rows, columns = height // factor, width // factor
    sums = np.uint64 if picture.dtype.kind == "u" else np.int64 if picture.dtype.kind == "i" else np.float64
    narrow = np.uint32 if picture.dtype.kind == "u" and picture.dtype.itemsize <= _COUNTED else sums
    cut = picture.T[:, : rows * factor, : columns * factor].reshape(depth, rows, factor, columns * factor)
    lines = cut.sum(axis=2, dtype=narrow)
    total = lines.reshape(depth, rows, columns, factor).sum(axis=3, dtype=sums)
    return np.asfortranarray((total / factor**2).astype(np.float32).T)


def focus(picture: Array) -> float | None:
    """How sharp a picture is: variance of its Laplacian, divided by the variance of its values, without a unit.

    Both are taken of pairs of pixels along x and y added up, in which noise counts less, in blocks of 128 x 128 pixels;
    the median of the blocks that are not even (after Pech-Pacheco et al. 2000). None where there are none.
    """
    found = []
    planes = picture.T
    for top in range(0, max(1, planes.shape[1] - 2 * _BLOCK + 1), 2 * _BLOCK):
        found += _ratios(_pairs(planes[:, top : top + 2 * _BLOCK]))
    return float(f"{np.median(found):.6g}") if found else None


def _pairs(planes: Array) -> Array:
    """Sums of 2 x 2 pixels and all channels, ``[y, x]``."""
    wide = np.int32 if planes.dtype.kind in "iu" and planes.dtype.itemsize <= _COUNTED else np.float64
    height, width = planes.shape[1] & ~1, planes.shape[2] & ~1
    even = planes[:, :height, :width].sum(axis=0, dtype=wide)
    lines = even[0::2] + even[1::2]
    return np.asarray(lines[:, 0::2] + lines[:, 1::2])


def _ratios(strip: Array) -> list[float]:
    """Of each block of a strip ``[y, x]`` that is not even."""
    if min(strip.shape) < 3:
        return []
    bent = 4 * strip[1:-1, 1:-1] - strip[:-2, 1:-1] - strip[2:, 1:-1] - strip[1:-1, :-2] - strip[1:-1, 2:]
    whole = max(1, bent.shape[1] // _BLOCK)
    size = min(_BLOCK, bent.shape[1])
    inner = strip[1:-1, 1:-1]
    above, below = _variances(bent, whole, size), _variances(inner, whole, size)
    return [float(a / b) for a, b in zip(above, below, strict=True) if np.isfinite(a) and np.isfinite(b) and b > 0]


def _variances(values: Array, blocks: int, size: int) -> Array:
    """Of each of ``blocks`` blocks of ``size`` columns side by side, times the square of the number of values."""
    cut = values[:, : blocks * size].reshape(len(values), blocks, size)
    wide = np.int64 if values.dtype.kind == "i" else np.float64
    first = cut.sum(axis=(0, 2), dtype=wide)
    second = np.einsum("ybx,ybx->b", cut, cut, dtype=wide, casting="safe", optimize=False)
    return np.asarray(second * float(len(values) * size) - first.astype(np.float64) ** 2)


def still_rows(picture: Array) -> tuple[int, int]:
    """The longest run of rows that show nothing: of one value along x in every channel, or the same as the row before.

    Its first row, and how many; the first of several, ``(0, 0)`` where there is none.
    """
    planes = picture.T
    probes = planes[:, :, np.linspace(0, planes.shape[2] - 1, _PROBES).astype(np.int64)]
    even = (probes == probes[:, :, :1]).all(axis=(0, 2))
    again = np.zeros_like(even)
    again[1:] = (probes[:, 1:] == probes[:, :-1]).all(axis=(0, 2))
    for at in range(0, len(even), _ROWS):
        rows = at + np.flatnonzero(even[at : at + _ROWS])
        even[rows] = (planes[:, rows] == planes[:, rows, :1]).all(axis=(0, 2))
        rows = at + np.flatnonzero(again[at : at + _ROWS])
        again[rows] = (planes[:, rows] == planes[:, rows - 1]).all(axis=(0, 2))
    return _longest(even | again)


def _longest(marked: Array) -> tuple[int, int]:
    steps = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    starts, lengths = steps[0::2], steps[1::2] - steps[0::2]
    if not len(starts):
        return 0, 0
    best = int(np.argmax(lengths))
    return int(starts[best]), int(lengths[best])


def perceptual_hash(thumb: Array) -> int:
    """64 bits that are alike for pictures that look alike, from a thumbnail ``[x, y, channel]``.

    The picture as 32 x 32 means, its cosine transform, of which the 8 x 8 lowest frequencies that change along both
    axes are kept: a bit each, whether it is above their median (after Zauner 2010).
    """
    from scipy.fft import dctn

    cells = cells_of(thumb, SIDE)
    low = dctn(cells, type=2)[1:9, 1:9].ravel()
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def cells_of(thumb: Array, side: int) -> Array:
    """A thumbnail ``[x, y, channel]`` as ``side`` x ``side`` means over its pixels and channels, float64 ``[x, y]``."""
    values = np.nan_to_num(thumb.astype(np.float64).mean(axis=2))
    for axis in (0, 1):
        edges = np.arange(side + 1) * values.shape[axis] // side
        sums = np.add.reduceat(values, edges[:-1], axis=axis)
        counts = np.maximum(np.diff(edges), 1)
        values = sums / (counts[:, np.newaxis] if axis == 0 else counts)
    return np.asarray(values)
