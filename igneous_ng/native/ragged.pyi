"""Pieces of different lengths."""

import numpy as np
from numpy.typing import NDArray

def copy(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    out: NDArray[np.uint8],
    places: NDArray[np.int64],
) -> None:
    """Copy ``sizes`` bytes each from ``starts`` in ``data`` to ``places`` in ``out``; all [n], one after the other.

    ValueError where a piece lies outside of either array.
    """
