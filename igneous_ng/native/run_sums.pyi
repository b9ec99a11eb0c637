"""Sums, least and greatest values over components given as runs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def sums(lengths: NDArray[Any], ids: NDArray[Any], evidence: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """For each of count components, numbered from 1, a row of twelve numbers, [count, 12].

    Voxels; the sum and the greatest of evidence, [x, y, z] in Fortran order; the sums of x, y, z; the box, lo and hi,
    hi excluded; places counted from the first voxel of the block. Lengths and ids are those of the runs, x fastest.
    """
