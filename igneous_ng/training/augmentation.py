"""Training patches turned, shaded, blurred and damaged: what a model shall not mind.

All is drawn from the generator that is given, so that the same seed gives the same patches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from igneous_ng.geometry import Vec3f

Array = npt.NDArray[Any]
_GAIN, _OFFSET, _GAMMA, _NOISE = 0.25, 0.12, 0.25, 0.05
_BLUR, _BLURRED = 0.2, 1.0  # how often, and by how many voxels of the smallest side at most
_DAMAGE = 0.15  # how often a section is missing, dim or noisy
_ALIKE = 1.1  # sides of voxels that may be exchanged


def turned(rng: np.random.Generator, resolution: Vec3f, *arrays: Array) -> list[Array]:
    """Arrays [x, y, z] flipped, and their axes exchanged where voxels are as long along them, all in the same way."""
    order, flips = np.arange(3), rng.random(3) < 0.5
    swaps = rng.random(2) < 0.5
    plain = rng.permutation(3)
    if max(resolution) < _ALIKE * min(resolution):
        order = plain
    elif swaps[0] and max(resolution[:2]) < _ALIKE * min(resolution[:2]):
        order = np.array([1, 0, 2])
    sides = tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)
    return [np.asfortranarray(array.transpose(order)[sides]) for array in arrays]


def shaded(rng: np.random.Generator, grey: Array, spread: float, resolution: Vec3f) -> Array:
    """Float32 grey values as another microscope may give them; changes are parts of the ``spread`` of the image."""
    middle = grey.mean()
    found = (grey - middle) * np.float32(1 + rng.uniform(-_GAIN, _GAIN)) + middle
    found = found + np.float32(spread * rng.uniform(-_OFFSET, _OFFSET))
    found = np.clip(found, 1e-3, 1) ** np.float32(np.exp(rng.uniform(-_GAMMA, _GAMMA)))
    if rng.random() < _BLUR:
        sigma = rng.uniform(0.3, _BLURRED) * min(resolution)
        found = gaussian_filter(found, [sigma / r for r in resolution])
    found = found + rng.standard_normal(found.shape, np.float32) * np.float32(spread * rng.uniform(0, 2 * _NOISE))
    if rng.random() < _DAMAGE:
        _damage(rng, found, middle)
    return np.asfortranarray(np.clip(found, 0, 1), np.float32)


def _damage(rng: np.random.Generator, grey: Array, middle: float) -> None:
    """Spoil one section."""
    z, kind = int(rng.integers(grey.shape[2])), int(rng.integers(3))
    section = grey[:, :, z]
    if kind == 0:
        section[...] = middle
    elif kind == 1:
        section[...] = middle + (section - middle) * np.float32(rng.uniform(0.1, 0.5))
    else:
        section += rng.standard_normal(section.shape, np.float32) * np.float32(0.3 * rng.random())
