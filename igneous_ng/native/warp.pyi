"""Pictures of tiles as they lie in a section."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP: int
"""Pixels between points of the lattice."""

def warp(
    planes: NDArray[Any], fields: NDArray[np.float64], offset: tuple[int, int], shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The pixels of a window, float32 [channel, y, x], and how deep each lies in the tile, float32 [y, x].

    ``planes``: [channel, y, x] of uint8, uint16, int16 or float32. ``fields``: at each point of the lattice,
    [y, x, 2 + 2 channels], the place in the tile, x and y, and a gain and what is added for each channel.
    ``offset``: first pixel of the window, x and y from the first point, not negative; ``shape``: its width and height.
    A depth is the distance to the nearer border of the tile along x, in its pixels, times that along y; 0, and values
    of 0, where the tile is not.
    """

def show(
    planes: NDArray[Any], fields: NDArray[np.float64], offset: tuple[int, int], background: float, out: NDArray[Any]
) -> None:
    """Fill ``out``, [channel, y, x] of any of these types, with :func:`warp` of a window of its shape.

    Rounded half up and clipped; ``background`` where the tile is not.
    """
