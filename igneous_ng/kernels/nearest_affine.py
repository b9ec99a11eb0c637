"""The affine map that is nearest to a bent one, by least squares over an even net of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels.affine import linear
from igneous_ng.kernels.tile_maps import TileMap

Array = npt.NDArray[Any]
_SIDE = 17  # points of the net along each side, from the first pixel to the last


@dataclass(frozen=True)
class Nearest:
    """``x' = matrix x + shift``, and how far it is from the map: the largest and the root mean square, in pixels."""

    matrix: Array
    shift: Array
    worst: float
    rms: float


def nearest_affine(bent: TileMap) -> Nearest:
    """The affine map nearest to ``bent``; exactly its own where neither lens nor nodes bend it.

    The net is even and the same about its middle, so that slopes along x and y and the shift are found apart.
    """
    if bent.lens is None and not bent.nodes.size:
        return Nearest(bent.matrix, bent.shift, 0.0, 0.0)
    middle = (np.array(bent.size) - 1) / 2
    even = np.linspace(-1.0, 1.0, _SIDE)
    about = np.stack(np.meshgrid(even * middle[0], even * middle[1], indexing="ij"), axis=-1)
    found = bent(about + middle)
    mean = found.mean(axis=(0, 1))
    slopes = [(found * about[..., axis, None]).sum(axis=(0, 1)) / _square(about[..., axis]) for axis in (0, 1)]
    matrix = np.stack(slopes, axis=-1)
    shift = mean - linear(matrix, middle)
    apart = np.sqrt(((linear(matrix, about + middle) + shift - found) ** 2).sum(axis=-1))
    return Nearest(matrix, shift, float(apart.max()), float(np.sqrt((apart**2).mean())))


def _square(values: Array) -> float:
    return max(float((values**2).sum()), np.finfo(float).tiny)  # of a tile of one row or column
