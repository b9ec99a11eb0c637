"""How a camera sees an even field, from many of its pictures: what all of them have in common is the camera's.

Pictures are coarse: means of ``factor`` x ``factor`` pixels, ``[x, y]``. A field is 1 on average, and is
kept as :mod:`~igneous_ng.kernels.flat_nodes` says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

Array = npt.NDArray[Any]
FEWEST = 20
"""Pictures below which nothing is known: an image is no flat field."""
_ROUNDS, _SIGMAS = 3, 3.0
_SMOOTH = 40  # widths of the picture in a sigma
_DOUBT = 4.0  # times the noise that a group of terms must have to count at all
_POWERS = tuple((i, n - i) for n in range(5) for i in range(n, -1, -1))


def field(pictures: Array, place: Array) -> Array:
    """The field ``[x, y]``, float64, mean 1, of ``pictures`` ``[n, x, y]``, each divided by its own median.

    Per pixel the median, after three rounds of leaving out what is beyond three sigma; then a Gaussian of a 40th of
    the width. What is left of the pictures' own texture is told from the camera by halves of them: the field is a sum
    of polynomials and waves, and those of one degree, or octave, are shrunk by the part of their power in which halves
    differ (James and Stein 1961). So few pictures give a smooth field, or none. ``place`` ``[n]`` numbers the places
    that pictures show, from 0 on: those of one place are in one half, for they share their texture.
    """
    whole = _smoothed(_common(pictures))
    halves = [_smoothed(_common(pictures[place % 2 == n])) for n in (0, 1)]
    terms = _polynomials(whole.shape)
    smooth, waves = _parts(whole / whole.mean(), terms)
    differ = _parts(halves[0] / halves[0].mean() - halves[1] / halves[1].mean(), terms)
    degrees = np.array([i + j - 1 for i, j in _POWERS])
    alike = np.full(
        len(_POWERS), (differ[0][1:] ** 2).mean() / 4
    )  # slow terms have one noise, and each too few to tell
    smooth = _shrunk(smooth, alike, degrees)
    waves = _shrunk(waves, differ[1] ** 2 / 4, _octaves(whole.shape))
    found = (terms * smooth).sum(axis=-1) + fft.idctn(waves, norm="ortho")
    return np.asarray(found / found.mean())


def _common(pictures: Array) -> Array:
    """The clipped median of each pixel, a row of them at a time."""
    return np.stack([_median(pictures[:, row]) for row in range(pictures.shape[1])])


def _median(values: Array) -> Array:
    """Of ``[n, m]`` the median along the first axis, without what is beyond some sigma of it."""
    ordered = np.sort(values.astype(np.float64), axis=0)
    kept = np.ones(ordered.shape, bool)
    middle = _middle(ordered, kept)
    for _ in range(_ROUNDS):
        spread = np.sqrt(np.where(kept, (ordered - middle) ** 2, 0.0).sum(axis=0) / kept.sum(axis=0))
        kept &= np.abs(ordered - middle) <= _SIGMAS * spread
        middle = _middle(ordered, kept)
    return middle


def _middle(ordered: Array, kept: Array) -> Array:
    """The median of what is kept, which is one stretch of each column: all that is near enough to a value in it."""
    first, count = kept.argmax(axis=0), kept.sum(axis=0)
    low, high = first + (count - 1) // 2, first + count // 2
    columns = np.arange(ordered.shape[1])
    return np.asarray((ordered[low, columns] + ordered[high, columns]) / 2)


def _smoothed(found: Array) -> Array:
    """After a Gaussian that leaves slopes as they are, at the borders too, where the picture is continued by them."""
    for axis, count in enumerate(found.shape):
        sigma = count / _SMOOTH
        reach = min(int(np.ceil(4 * sigma)), count - 1)
        around = [(reach, reach) if n == axis else (0, 0) for n in range(2)]
        wide = np.pad(found, around, mode="reflect", reflect_type="odd")
        found = ndimage.gaussian_filter1d(wide, sigma, axis=axis, radius=reach)
        found = found.take(range(reach, reach + count), axis=axis)
    return found


def _polynomials(shape: tuple[int, ...]) -> Array:
    """Orthonormal polynomials over a picture, ``[x, y, term]``, by falling importance of :data:`_POWERS`."""
    x, y = (np.linspace(-1.0, 1.0, count) if count > 1 else np.zeros(1) for count in shape)
    found: list[Array] = []
    for i, j in _POWERS:
        term = x[:, None] ** i * y**j
        length = np.sqrt((term**2).sum())
        for _ in range(2):  # once more, for what rounding left
            for other in found:
                term = term - (term * other).sum() * other
        rest = np.sqrt((term**2).sum())
        found.append(term / rest if rest > 1e-9 * length else np.zeros(shape))
    return np.stack(found, axis=-1)


def _parts(found: Array, terms: Array) -> tuple[Array, Array]:
    """The polynomials in a picture, ``[term]``, and what is left as a cosine series, ``[x, y]``."""
    smooth = (found[..., None] * terms).sum(axis=(0, 1))
    return smooth, np.asarray(fft.dctn(found - (terms * smooth).sum(axis=-1), norm="ortho"))


def _shrunk(found: Array, power: Array, group: Array) -> Array:
    """Terms, those of each group from 0 on shrunk by how much of their power is noise, of mean ``power`` a term."""
    kept = found.copy()
    for n in range(int(group.max(initial=-1)) + 1):
        here = group == n
        total = float((found[here] ** 2).sum())
        kept[here] *= max(0.0, 1.0 - _DOUBT * float(power[here].sum()) / total) if total else 0.0
    return kept


def _octaves(shape: tuple[int, ...]) -> Array:
    """For each term of a cosine series, the power of two of its half waves; -1 for the mean."""
    radius = np.hypot(*np.ogrid[: shape[0], : shape[1]])
    with np.errstate(divide="ignore"):
        return np.asarray(np.maximum(np.floor(np.log2(radius)), -1).astype(int))
