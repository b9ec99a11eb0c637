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
_SHOWS = 0.2  # least correlation of the two halves of a block that shows more than noise
_PROBES = 16  # pixels of a row that are compared before the whole row is
_ROWS = 256  # that are looked at at once
_NARROW = 8  # channels of bytes of which the Laplacian of sums fits 16 bits
_PART = 1 << 16  # values that are summed at once
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
    values = _numbers(picture.ravel(order="K"))
    values.sort()
    return _of_sorted(values) if values.size else None


def _numbers(flat: Array) -> Array:
    """A copy of the values that are numbers; one copy, however many they are."""
    kept, count = np.empty_like(flat), 0
    for at in range(0, flat.size, _PART):
        part = flat[at : at + _PART]
        good = part[np.isfinite(part)]
        kept[count : count + len(good)] = good
        count += len(good)
    return kept[:count]


def _counts(picture: Array) -> tuple[int, Array]:
    """The smallest value of a type of one or two bytes, and how often each from there on occurs."""
    bits = 8 * picture.dtype.itemsize
    flat = picture.ravel(order="K").view(f"u{picture.dtype.itemsize}")
    found = np.zeros(1 << bits, np.int64)
    for at in range(0, flat.size, _PART):
        found += np.bincount(flat[at : at + _PART], minlength=1 << bits)
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
    mean = float(values.mean(dtype=np.float64))
    parts = (values[at : at + _PART].astype(np.float64) - mean for at in range(0, total, _PART))
    spread = math.sqrt(math.fsum(float((part * part).sum()) for part in parts) / total)
    return Levels(low, high, p1, p50, p99, mean, spread, dark, bright)


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

    After Pech-Pacheco et al. (2000), but of the picture without its noise: each 2 x 2 pixels give two sums, of one
    diagonal and the other, which show the same with noise that is not, and their covariance stands for the variance.
    The median of blocks of 128 x 128 pixels in every second row of blocks, of those that show anything; None where
    none does.
    """
    found = []
    planes = picture.T
    for top in range(0, max(1, planes.shape[1] - 2 * _BLOCK + 1), 4 * _BLOCK):
        found += _ratios(*_diagonals(planes[:, top : top + 2 * _BLOCK]))
    return float(f"{np.median(found):.6g}") if found else None


def _diagonals(planes: Array) -> tuple[Array, Array]:
    """Sums over the two diagonals of 2 x 2 pixels, and over all channels, ``[y, x]``."""
    exact = planes.dtype.kind in "iu" and planes.dtype.itemsize <= _COUNTED
    narrow = planes.dtype.itemsize == 1 and len(planes) <= _NARROW
    wide = (np.int16 if narrow else np.int32) if exact else np.float64
    height, width = planes.shape[1] & ~1, planes.shape[2] & ~1
    cut = planes[:, :height, :width]
    flat = cut.sum(axis=0, dtype=wide) if len(cut) > 1 else cut[0].astype(wide)
    return flat[0::2, 0::2] + flat[1::2, 1::2], flat[0::2, 1::2] + flat[1::2, 0::2]


def _ratios(one: Array, other: Array) -> list[float]:
    """Of each block of a strip that shows something, from both sums ``[y, x]``."""
    if min(one.shape) < 3:
        return []
    blocks = max(1, (one.shape[1] - 2) // _BLOCK)
    size = min(_BLOCK, one.shape[1] - 2)
    a, b = (_cut(half[1:-1, 1:-1], blocks, size) for half in (one, other))
    bent = _covariances(*(_cut(_laplacian(half), blocks, size) for half in (one, other)))
    shared, noisy = _covariances(a, b), np.sqrt(_covariances(a, a)) * np.sqrt(_covariances(b, b))
    shows = shared > _SHOWS * noisy  # never of values that are no numbers
    return [max(0.0, float(n)) for n in bent[shows] / shared[shows]]


def _laplacian(half: Array) -> Array:
    return np.asarray(4 * half[1:-1, 1:-1] - half[:-2, 1:-1] - half[2:, 1:-1] - half[1:-1, :-2] - half[1:-1, 2:])


def _cut(values: Array, blocks: int, size: int) -> Array:
    """Blocks of ``size`` columns side by side: ``[block, value]``."""
    cut = values[:, : blocks * size].reshape(len(values), blocks, size)
    return cut.transpose(1, 0, 2).reshape(blocks, -1)


def _covariances(one: Array, other: Array) -> Array:
    """Of each block, times the square of the number of its values; from exact sums, where values are integers."""
    wide = np.int64 if one.dtype.kind == "i" else np.float64
    second = np.einsum("bn,bn->b", one, other, dtype=wide, casting="safe", optimize=False)
    first = one.sum(axis=1, dtype=wide).astype(np.float64) * other.sum(axis=1, dtype=wide).astype(np.float64)
    return np.asarray(second.astype(np.float64) * one.shape[1] - first)


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
