"""The mesh of an object from the codes of its boxes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vec3 = tuple[int, int, int]

def surface(pieces: Sequence[tuple[Vec3, Vec3, bytes]]) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
    """Vertices [n, 3] in half voxels and faces [m, 3], of one form whatever the pieces.

    A piece is the voxel of its first corner, its cubes along each axis and its code (native/march). ValueError where a
    code is damaged or the object too large.
    """
