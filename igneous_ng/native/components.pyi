"""Connected components of a block, as runs; sets of elements that are tied."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def label(
    labels: NDArray[Any], connectivity: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """The components of labels [x, y, z], in any memory order, numbered from 1 by their first voxels, x fastest.

    Lengths and components of the runs, x fastest, 0 where the label is; and of each component the linear index of the
    first voxel and the number of voxels.
    """

def window(
    lengths: NDArray[Any],
    ids: NDArray[Any],
    block: tuple[int, int, int],
    lo: tuple[int, int, int],
    shape: tuple[int, int, int],
) -> NDArray[np.uint32]:
    """The components of the voxels from lo on, of shape, in a block of runs; [x, y, z] in Fortran order."""

def paint(lengths: NDArray[Any], ids: NDArray[Any], values: NDArray[Any], out: NDArray[Any]) -> None:
    """Write values[id] for each run to out, [x, y, z] in Fortran order; both uint32 or both uint64."""

def sets(count: int, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.int64]:
    """For each of count elements the first one of its set, where one[i] and other[i] are tied."""
