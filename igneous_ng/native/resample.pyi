"""A volume as it is seen through a map."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Three = tuple[int, int, int]
STEP: int
"""Voxels between points of the lattice."""

def resample(
    volume: NDArray[Any],
    frame: tuple[Three, Three, Three],
    points: NDArray[np.float64],
    offset: Three,
    shape: Three,
    method: str,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The voxels of a window, [z, y, x], and whether each lies in the volume, bool [z, y, x]; 0 where it does not.

    ``volume``: [z, y, x] of integers or float32. ``frame``, x, y, z each: the first voxel that is held, and the lower
    and the upper bounds of all there are; what is needed and inside these must be held. ``points``: where the points of
    the lattice lie in the whole volume, x, y, z, [z, y, x, 3]. ``offset``: first voxel of the window from the first
    point, not negative; ``shape``: its sides. ``method``: nearest (values of the volume's type), linear or cubic
    (float32).
    """
