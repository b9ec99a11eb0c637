"""How a skeleton branches."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

class Shape(TypedDict):
    """What :func:`measure` finds."""

    parts: int
    longest: float
    first: int
    last: int
    strahler: int

def measure(vertices: int, edges: NDArray[np.int64], lengths: NDArray[np.float64]) -> Shape:
    """The shape of a graph whose edges [m, 2] are all different, with no loop at a vertex, and of these lengths.

    parts: how many are connected. longest: the greatest length of a path in a tree, first and last its ends, -1 where
    there are no edges. strahler: the greatest Strahler number of a tree from either end of its longest path, 0 without
    edges. Loops are cut where they close, breadth first from the vertex of the lowest number.
    """
