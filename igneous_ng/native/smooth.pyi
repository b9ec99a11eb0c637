"""Smoothing of surfaces that does not shrink them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def smooth(vertices: NDArray[Any], faces: NDArray[Any], rounds: int) -> NDArray[np.float64]:
    """Vertices [n, 3] after so many rounds; those whose faces [m, 3] form no closed fan stay where they are."""
