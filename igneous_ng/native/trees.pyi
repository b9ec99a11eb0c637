"""Boosted trees of histograms. Nodes of all trees lie one after the other; tree t is ``roots[t]:roots[t + 1]``.

A sample goes to the node ``left`` of its tree where its feature is at most the threshold, else to that after it; a
node of feature -1 is a leaf.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def fit(
    bins: NDArray[Any], truth: NDArray[Any], rounds: int, leaves: int, depth: int, least: int, rate: float
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any], float]:
    """Trees for samples with uint8 ``bins`` [n, f] and ``truth`` [n] of 0 and 1, and the score that all begin with.

    Gives feature (int16), the last bin that goes left (int16), left (int32), value (float64) and roots (int32).
    ``least`` samples are in a leaf. ValueError where ``truth`` is of one class.
    """

def predict(
    values: NDArray[Any],
    feature: NDArray[Any],
    threshold: NDArray[Any],
    left: NDArray[Any],
    value: NDArray[Any],
    roots: NDArray[Any],
    base: float,
) -> NDArray[np.float32]:
    """The probability of class 1, float32 [n], for features [n, f] in Fortran order; ValueError for no trees."""
