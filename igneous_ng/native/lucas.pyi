"""Shifts of small blocks of one picture in another, to a fraction of a pixel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def refined(
    a: NDArray[np.float32],
    in_a: NDArray[np.bool_],
    b: NDArray[np.float32],
    in_b: NDArray[np.bool_],
    blocks: NDArray[np.int32],
    start: NDArray[np.float64],
    slopes: NDArray[np.float64],
    how: tuple[int, int],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Shifts float64 [n, 2], correlations [n] and variances [n] in px^2 of a shift along an axis.

    ``a``: a picture [y, x]; ``b``: the cubic B-spline coefficients of another one; ``in_a``, ``in_b``: what counts of
    each. ``blocks`` [n, 4]: first column and row, width and height in ``a``. ``start`` [n, 2], ``slopes`` [n, 2, 2]:
    pixel p of ``a`` lies at ``p - shift - slopes (p - centre)`` of ``b``. ``how``: rounds, and the step of pixels.
    A block with too little to hold on to has correlation 0 and infinite variance.
    """
