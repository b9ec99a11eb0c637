"""Membranes as dark sheets: a filter of finite support, in nm, that needs no training.

The response is the largest eigenvalue of the Hessian (Frangi et al. 1998; Sato et al. 1998), in units of the scale,
less a part of the smoothed image, at the best of some scales. Along an axis on which a scale is less than
:data:`_THICK` voxels, as across thick sections, nothing is derived or smoothed: each section speaks for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3, Vec3f, vec
from igneous_ng.native import sheets as native

Array = npt.NDArray[Any]
_THICK = 0.6
_REACH = 3.0  # scales that a Gaussian is followed


@dataclass(frozen=True)
class Sheets:
    """The filter at ``scales`` nm on voxels of ``resolution`` nm."""

    resolution: Vec3f
    scales: tuple[float, ...]
    darkness: float

    @property
    def radius(self) -> Vec3:
        """How many voxels away it looks, along x, y, z."""
        return vec(max(_radius(scale / r) for scale in self.scales) for r in self.resolution)

    def respond(self, patch: Array) -> Array:
        """The response to a float32 ``patch`` [x, y, z]; meaningless within :attr:`radius` of its ends."""
        x, y, z = self.resolution
        taps = [(_taps(scale / z), _taps(scale / y), _taps(scale / x)) for scale in self.scales]
        found: Array = native.respond(np.ascontiguousarray(patch.T, np.float32), taps, self.darkness).T
        return found


def _radius(sigma: float) -> int:
    return 0 if sigma < _THICK else int(np.ceil(_REACH * sigma))


def _taps(sigma: float) -> Array:
    """A Gaussian and its first two derivatives times ``sigma`` and its square, as float32 [3, taps].

    They give 1 of a constant, ``sigma`` of a ramp and ``2 sigma^2`` of a square exactly, however few the taps are.
    """
    radius = _radius(sigma)
    if not radius:
        return np.array([[1], [0], [0]], np.float32)
    at = np.arange(-radius, radius + 1)
    bell = np.exp(-0.5 * (at / sigma) ** 2)
    bell /= bell.sum()
    slope = at * bell
    slope *= sigma / (slope * at).sum()
    bend = ((at / sigma) ** 2 - 1) * bell
    bend -= bend.sum() * bell
    bend *= 2 * sigma**2 / (bend * at**2).sum()
    return np.stack([bell, slope, bend]).astype(np.float32)
