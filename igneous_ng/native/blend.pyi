"""One picture of several that overlap."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Patch = tuple[Plane, Plane]

def lay(
    values: Plane, depth: Plane, index: int, mosaic: Plane, best: Plane, total: Plane, owner: NDArray[np.int32]
) -> None:
    """Put a picture, [channel, y, x], over those laid before where it is deeper, [y, x]; sum up depths."""

def mend(
    one: Patch,
    other: Patch,
    indices: tuple[int, int],
    taps: Plane,
    place: tuple[int, int],
    owner: NDArray[np.int32],
    added: Plane,
) -> None:
    """Add to each pixel of either owner what the other says otherwise at a large scale, times its depth in that.

    The two are values [channel, y, x] and depth [y, x] of one window, whose first pixel lies at ``place`` (x, y) of
    the output, perhaps before it. ``taps`` are the middle and one side of the filter that smooths.
    """

def shown(mosaic: Plane, added: Plane, total: Plane, background: float, out: NDArray[Any]) -> None:
    """The pixels: what was laid, and what was added by the sum of depths; rounded half up and clipped."""
