"""Distances of points to a triangle mesh."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def distances(points: NDArray[Any], vertices: NDArray[Any], faces: NDArray[Any], reach: float) -> NDArray[np.float64]:
    """The distance of each of ``points`` [k, 3] to the surface of ``faces`` [m, 3]; infinite beyond ``reach``."""
