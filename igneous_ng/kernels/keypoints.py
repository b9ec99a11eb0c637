"""Points of a picture that are found again in another one, turned, mirrored or of the opposite contrast.

Places: extrema of differences of Gaussians; descriptors: histograms of slopes in 4 x 4 cells, in the direction in which
most of the slopes point (Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 60, 2004). Sections of
one stack have one scale, so it is not searched for: each octave of a picture has points of its own, matched with those
of the same octave. Descriptors are whole numbers, so that products of them are exact in any order.

What mirrors a picture, or turns its contrast over, permutes the numbers of a descriptor: one set of points serves all.
Arrays are ``[x, y]``; angles run from x to y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng.kernels import texture

Array = npt.NDArray[Any]
OCTAVES = 4
"""Each is half as wide as the one before."""
MOST = 1000
"""Points of an octave."""
_FINE, _COARSE = 1.6, 2.6  # Gaussians, pixels of the octave
_FLAT = 31  # pixels over which brightness and contrast are made even
_APART = 5  # pixels: one extremum in so many squared
_EDGE = 12.0  # ratio of curvatures of what is a line, no point
_INSIDE = 8  # pixels of tissue around a point
_CELLS, _SAMPLES, _BINS = 4, 4, 8
_PITCH = 2.0  # pixels between samples
_DIRECTIONS = 36
_CLIP, _SCALE = 0.2, 512.0
_SMALLEST = 32  # pixels of the shorter side of an octave


@dataclass(frozen=True)
class Keypoints:
    """``points`` float64 [n, 2], pixels; ``angle`` [n], radians; ``octave`` int8 [n]; ``words`` uint8 [n, 128]."""

    points: Array
    angle: Array
    octave: Array
    words: Array


def keypoints(picture: Array, tissue: Array) -> Keypoints:
    """The points of ``picture`` float32 [x, y] where there is ``tissue`` bool [x, y]; at most 1,000 an octave."""
    found = []
    for octave in range(OCTAVES):
        if min(picture.shape) < _SMALLEST:
            break
        places, angle, words = _of_octave(even(picture, tissue), tissue)
        scale = 1 << octave
        points = (places + 0.5) * scale - 0.5
        found.append((points, angle, np.full(len(points), octave, np.int8), words))
        picture, tissue = texture.halved(picture, tissue)
    none = (np.zeros((0, 2)), np.zeros(0, np.float32), np.zeros(0, np.int8), np.zeros((0, 128), np.uint8))
    return Keypoints(*(np.concatenate(parts) for parts in zip(none, *found, strict=True)))


def even(picture: Array, tissue: Array) -> Array:
    """``picture`` of mean 0 and variance 1 in each surrounding, float32; 0 where there is no tissue."""
    weight = tissue.astype(np.float32)
    share = np.maximum(_mean(weight), 1e-3)
    level = float(picture[tissue].mean()) if tissue.any() else 0.0
    values = np.where(tissue, picture - np.float32(level), 0).astype(np.float32)
    mean = _mean(values) / share
    apart = np.where(tissue, values - mean, 0)
    spread = np.sqrt(np.maximum(_mean(apart * apart), 0) / share)  # sums that run leave less than nothing
    least = float(np.median(spread[tissue])) * 0.1 if tissue.any() else 1.0
    return np.asarray(apart / np.maximum(spread, max(least, 1e-6)), np.float32)


def turned_over(words: Array, mirrored: bool, inverted: bool) -> Array:
    """The descriptors that the picture would have, mirrored (y to -y), or of the opposite contrast."""
    cells = words.reshape(len(words), _CELLS, _CELLS, _BINS)
    if mirrored:
        cells = cells[:, :, ::-1][..., -np.arange(_BINS) % _BINS]
    if inverted:  # all slopes, and so the direction, are turned by half a circle
        cells = cells[:, ::-1, ::-1]
    return np.ascontiguousarray(cells.reshape(words.shape))


def _mean(values: Array) -> Array:
    found: Array = ndimage.uniform_filter(
        ndimage.uniform_filter(values, _FLAT, mode="constant"), _FLAT, mode="constant"
    )
    return found


def _of_octave(values: Array, tissue: Array) -> tuple[Array, Array, Array]:
    fine = ndimage.gaussian_filter(values, _FINE, mode="constant")
    blobs = fine - ndimage.gaussian_filter(values, _COARSE, mode="constant")
    places = _extrema(blobs, ndimage.binary_erosion(tissue, np.ones((3, 3)), iterations=_INSIDE))
    slopes = np.gradient(fine)
    angle = _directions(slopes, places)
    return places, angle, _described(slopes, places, angle)


def _extrema(blobs: Array, inside: Array) -> Array:
    """The strongest extrema of either sign that are no lines, [n, 2], to fractions of a pixel."""
    strength = np.abs(blobs)
    peak = (strength == ndimage.maximum_filter(strength, _APART)) & inside & (strength > 0)
    peak[[0, -1]] = peak[:, [0, -1]] = False
    x, y = np.nonzero(peak)
    dx, dy = (blobs[x + 1, y] - blobs[x - 1, y]) / 2, (blobs[x, y + 1] - blobs[x, y - 1]) / 2
    xx = blobs[x + 1, y] - 2 * blobs[x, y] + blobs[x - 1, y]
    yy = blobs[x, y + 1] - 2 * blobs[x, y] + blobs[x, y - 1]
    xy = (blobs[x + 1, y + 1] - blobs[x - 1, y + 1] - blobs[x + 1, y - 1] + blobs[x - 1, y - 1]) / 4
    det = xx * yy - xy * xy
    round_ = (det > 0) & ((xx + yy) ** 2 * _EDGE < (_EDGE + 1) ** 2 * det)
    safe = np.where(round_, det, 1)
    step = np.stack([xy * dy - yy * dx, xy * dx - xx * dy], axis=-1) / safe[:, None]
    kept = np.flatnonzero(round_)
    kept = kept[np.argsort(-strength[x[kept], y[kept]], kind="stable")[:MOST]]
    return np.stack([x, y], axis=-1)[kept].astype(np.float64) + np.clip(step[kept], -0.5, 0.5)


def _directions(slopes: list[Array], places: Array) -> Array:
    """The direction in which most slopes around each place point, radians."""
    side = np.arange(-8, 9) * 1.0
    net = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    gx, gy = (_sampled(one, places[:, None] + net) for one in slopes)
    weight = np.hypot(gx, gy) * np.exp(-(net**2).sum(axis=-1) / (2 * 4.0**2)).astype(np.float32)
    bins = np.floor(np.arctan2(gy, gx) * (_DIRECTIONS / (2 * np.pi))).astype(np.int64) % _DIRECTIONS
    rows = np.arange(len(places))[:, None] * _DIRECTIONS
    summed = np.bincount((rows + bins).ravel(), weight.ravel(), len(places) * _DIRECTIONS)
    counts: Array = summed.reshape(len(places), _DIRECTIONS)
    for _ in range(4):
        counts = (np.roll(counts, 1, axis=1) + counts + np.roll(counts, -1, axis=1)) / 3
    best = counts.argmax(axis=1) if len(places) else np.zeros(0, np.int64)
    each = np.arange(len(places))
    low, top, high = (counts[each, (best + n) % _DIRECTIONS] for n in (-1, 0, 1))
    bend = low - 2 * top + high
    shift = np.where(bend < 0, (low - high) / (2 * np.where(bend < 0, bend, -1)), 0)
    return np.asarray((best + 0.5 + shift) * (2 * np.pi / _DIRECTIONS), np.float32)


def _described(slopes: list[Array], places: Array, angle: Array) -> Array:
    """Descriptors, uint8 [n, 128]: cells along the direction and across, bins of slopes relative to it."""
    wide = _CELLS * _SAMPLES
    side = (np.arange(wide) - (wide - 1) / 2) * _PITCH
    along, across = np.meshgrid(side, side, indexing="ij")
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    net = np.stack([cos * along - sin * across, sin * along + cos * across], axis=-1)
    gx, gy = (_sampled(one, places[:, None, None] + net) for one in slopes)
    weight = np.hypot(gx, gy) * np.exp(-(along**2 + across**2) / (2 * (wide * _PITCH / 2) ** 2)).astype(np.float32)
    turn = ((np.arctan2(gy, gx) - angle[:, None, None]) * np.float32(_BINS / (2 * np.pi))) % _BINS
    words = np.zeros((len(places), _CELLS, _CELLS, _BINS), np.float32)
    for k in range(_BINS):
        near = np.maximum(1 - np.abs((turn - k + _BINS / 2) % _BINS - _BINS / 2), 0) * weight
        words[..., k] = near.reshape(-1, _CELLS, _SAMPLES, _CELLS, _SAMPLES).sum(axis=(2, 4))
    flat = words.reshape(len(places), _CELLS * _CELLS * _BINS)
    for _ in range(2):
        flat = np.minimum(flat / np.maximum(np.sqrt((flat**2).sum(axis=1, keepdims=True)), 1e-9), _CLIP)
    flat = flat / np.maximum(np.sqrt((flat**2).sum(axis=1, keepdims=True)), 1e-9)
    return np.asarray(np.minimum(np.rint(flat * _SCALE), 255), np.uint8)


def _sampled(values: Array, at: Array) -> Array:
    found: Array = ndimage.map_coordinates(values, np.moveaxis(at, -1, 0), output=np.float32, order=1, mode="constant")
    return found
