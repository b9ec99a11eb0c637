"""Marching cubes of all labels of a box in one pass."""

from typing import Any

from numpy.typing import NDArray

def march(
    labels: NDArray[Any],
    own: tuple[int, int, int],
    low: tuple[bool, bool, bool],
    high: tuple[bool, bool, bool],
) -> list[tuple[int, int, int, list[int], list[int], bytes]]:
    """Each label but 0 in ``labels`` [x, y, z], ascending: its voxels, its triangles, its surface.

    Of that the first cube and the one after the last along each axis, and its code, empty where there is no surface.

    Voxels are counted in the first ``own`` of each axis. A surface covers the space between the voxels' centres, and a
    layer of background more at each end for which ``low`` or ``high`` says so.
    """
