"""Basins of a block of affinities."""

import numpy as np
from numpy.typing import NDArray

class Basins:
    """The basins of a block: base + 1, base + 2, ... in the order of first voxels.

    Of each the voxels, the faces of the block that it touches (bits 0 to 5: x-, x+, y-, y+, z-, z+), and the linear
    index of its first voxel in the block, x fastest.
    """

    @property
    def size(self) -> NDArray[np.int64]: ...
    @property
    def faces(self) -> NDArray[np.uint8]: ...
    @property
    def first(self) -> NDArray[np.int64]: ...
    def paint(self, start: int, out: NDArray[np.uint64]) -> None:
        """Write the ids of slices from start on, [x, y, z] in Fortran order; 0 is no basin."""

def basins(aff: NDArray[np.uint8], low: int, high: int, base: int) -> Basins:
    """The basins of a block.

    aff: [nx + 3, ny + 3, nz + 3, 3] in Fortran order, of the block, 1 voxel before it and 2 behind it. Each voxel joins
    over its best face if that is above low, and over faces from high on; faces that lead out of the block join nothing.
    """
