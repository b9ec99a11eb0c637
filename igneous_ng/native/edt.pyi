"""Distances to the boundary of labels."""

from typing import Any

from numpy.typing import NDArray

def distances(labels: NDArray[Any], spacing: tuple[float, float, float], border: bool) -> NDArray[Any]:
    """The distance of each voxel to the nearest one of another label, float32 [x, y, z]; 0 for label 0.

    ``labels`` are uint32 [x, y, z] in Fortran order. With ``border`` the block is surrounded by another label; without,
    the distance is infinite where a label has no boundary.
    """
