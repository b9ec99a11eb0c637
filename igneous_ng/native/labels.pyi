"""Voxels of each label."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def count(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint64]]:
    """The labels of [x, y, z], ascending, as unsigned integers of their size, and the number of voxels of each."""
