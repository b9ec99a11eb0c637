"""The graph of regions that touch."""

import numpy as np
from numpy.typing import NDArray

class Graph:
    """The edges of a block, to which slices of regions are given one after the other."""

    def __init__(
        self,
        aff: NDArray[np.uint8],
        own: tuple[int, int],
        before: tuple[int, int, int],
        limits: tuple[int, int],
        number: int,
        steps: tuple[int, int, int],
        histogram: bool,
    ) -> None:
        """The graph of a block.

        aff: [nx + 4, ny + 4, nz + 4, 3] in Fortran order, of the block and 2 voxels around. own: the first of its
        regions, and how many there are. before: whether there are regions before it along each axis. number: of the
        first face of the block's first voxel; it rises by 3 * steps from voxel to voxel along each axis.
        """

    def add(self, ids: NDArray[np.uint64]) -> None:
        """Look at the next slices: ids are [x, y, z] in any order, with 1 voxel before them where there is one."""

    def edges(
        self,
    ) -> tuple[
        NDArray[np.uint64],
        NDArray[np.uint64],
        NDArray[np.int64],
        NDArray[np.int64],
        NDArray[np.int64],
        NDArray[np.uint8],
        NDArray[np.uint8],
        NDArray[np.int32] | None,
    ]:
        """The edges u < v between regions other than 0, ascending: u, v, sum, num, key, must, max, bins.

        must: whether a face to a voxel before the block is from limits[1] on, or the best of either voxel and above
        limits[0]. bins: [n, 32], None unless histogram.
        """
