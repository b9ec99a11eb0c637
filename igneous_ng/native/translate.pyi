"""Labels through a table."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def translate(
    labels: NDArray[Any], old: NDArray[np.uint64], new: NDArray[np.uint64], out: NDArray[Any], keep: bool
) -> int:
    """Write to ``out`` the label in ``new`` for each of ``labels``, both [x, y, z] of unsigned integers.

    ``old``: ascending, without repeats. Labels that are not there stay if ``keep``, and else become 0; 0 is a label
    like others. The linear index, x fastest, of the first voxel of such a label other than 0, or -1. ValueError for a
    label that ``out`` cannot hold.
    """
