"""The graph of regions that touch."""

import numpy as np
from numpy.typing import NDArray

def edges(
    aff: NDArray[np.uint8],
    ids: NDArray[np.uint64],
    limits: tuple[int, int],
    number: int,
    steps: tuple[int, int, int],
    histogram: bool,
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

    aff: [nx + 4, ny + 4, nz + 4, 3] in Fortran order, of a block and 2 voxels around. ids: [x, y, z] in any order, of
    the block and, along each axis, of 1 voxel before it or none; those of the block are counted from any number on.
    number: of the first face of the block's first voxel; it rises by 3 * steps from voxel to voxel along each axis.
    must: whether a face to a voxel before the block is from limits[1] on, or the best of either voxel and above
    limits[0]. bins: [n, 32], None unless histogram.
    """
