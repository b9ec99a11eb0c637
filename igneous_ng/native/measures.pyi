"""Sizes, borders and neighbours of labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def measure(labels: NDArray[Any], x: int, y: int, z: int, border: int) -> NDArray[np.uint64]:
    """What can be said of each of ``labels`` [x, y, z] in the box from x, y, z on; voxels before that are beside it.

    Rows, ascending: label; voxels in the box; which of its faces x-, x+, y-, y+, z-, z+ it touches, bits 0 to 5, of
    those in ``border``; the least and the greatest other label that shares a face with it, 2**64 - 1 and 0 where there
    is none. A face belongs to its voxel that is further on. A label that is only beside the box has 0 voxels.
    """
