"""Pictures of tiles as they lie in a section: one interpolation, from a map that is known at a lattice of points.

The lattice is the section's own: its points are the pixels at multiples of :data:`STEP`, so that a pixel is the same in
whatever window it is asked for. Windows are ``x0, y0, x1, y1`` of pixels, half open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels.blending import Patch
from igneous_ng.kernels.tile_maps import STEPS, TileMap
from igneous_ng.native import warp as native

Array = npt.NDArray[Any]
Window = tuple[int, int, int, int]
STEP = native.STEP
"""Pixels between points of the lattice."""
DTYPES = ("uint8", "uint16", "int16", "float32")
"""Types of the pixels that can be warped."""
_MISSED = 0.01  # pixels
_NEAR = 1e-4  # pixels, before the last two steps
_PROBES = 9  # points along a side of a tile


def points(window: Window) -> Array:
    """The points of the lattice around ``window``, float64 ``[nx, ny, 2]``."""
    x0, y0, x1, y1 = window
    xs, ys = (np.arange(a // STEP, (b - 1) // STEP + 2) * float(STEP) for a, b in ((x0, x1), (y0, y1)))
    down, across = np.meshgrid(ys, xs, indexing="ij")
    return np.stack([across, down], axis=-1).swapaxes(0, 1)


def places(at: TileMap, points: Array) -> Array:
    """Which points of the tile lie at ``points`` of the section; NaN where none does that the map's inverse finds.

    Far from a tile the polynomial of its lens means nothing, and steps towards it may end anywhere.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = at.inverse(points, _steps(at))
        missed = ~(np.abs(at(found) - points).max(axis=-1) < _MISSED)
    found[missed] = np.nan
    return found


def _steps(at: TileMap) -> int:
    """How many steps the inverse of a map needs: two more than bring points all over the tile near enough to it."""
    sides = [np.linspace(-0.5, n - 0.5, _PROBES) for n in at.size]
    points = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1)
    aim = at.bent(points)
    found = aim
    for step in range(STEPS - 2):
        if np.abs(found - points).max() < _NEAR:
            return step + 2
        found = found + (aim - at.bent(found))
    return STEPS


@dataclass(frozen=True)
class Lying:
    """A picture ``[x, y, channel]`` where it lies, times a gain and with something added.

    At each of the :func:`points` of a window: ``places`` ``[nx, ny, 2]`` in the picture, ``gain`` and ``add``
    ``[nx, ny, channel]``; all bilinear between them. Values are those of Keys' cubic convolution.
    """

    picture: Array
    places: Array
    gain: Array
    add: Array

    def warped(self, window: Window) -> Patch:
        """As it is seen in the window."""
        x0, y0, x1, y1 = window
        values, depth = native.warp(self.picture.T, self._fields(), (x0 % STEP, y0 % STEP), (x1 - x0, y1 - y0))
        return Patch((x0, y0), values.T, depth.T)

    def show(self, at: tuple[int, int], background: float, out: Array) -> None:
        """Fill ``out`` ``[x, y, channel]``, x fastest, of a window from ``at`` on, as if there were no other picture.

        Rounded half up and clipped; ``background`` where it is not.
        """
        native.show(self.picture.T, self._fields(), (at[0] % STEP, at[1] % STEP), background, out.T)

    def _fields(self) -> Array:
        shape = self.places.shape[:2]
        tones = [np.broadcast_to(one, (*shape, self.picture.shape[2])) for one in (self.gain, self.add)]
        both = np.stack(tones, axis=-1).reshape(*shape, -1)
        return np.concatenate([self.places, both], axis=-1).swapaxes(0, 1)


def warped(picture: Array, window: Window, places: Array, gain: Array, add: Array) -> Patch:
    """A picture as it is seen in ``window``: :class:`Lying`."""
    return Lying(picture, places, gain, add).warped(window)
