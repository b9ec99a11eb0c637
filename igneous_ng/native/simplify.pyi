"""Simplification of triangle meshes, their topology kept."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def simplify(
    vertices: NDArray[Any], faces: NDArray[Any], error: float, target: int
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Collapse edges of ``faces`` [m, 3] until ``target`` faces are left or ``error`` allows no more.

    ``vertices`` [n, 3] are taken as float32: give them near 0. A closed manifold stays closed and of the same genus;
    vertices whose triangles form no closed fan stay, and so do the edges at them. The same input gives the same output.
    """
