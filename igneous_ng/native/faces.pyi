"""Where labels touch."""

from typing import Any

from numpy.typing import NDArray

from igneous_ng.geometry import Vec3

def find(labels: NDArray[Any], own: Vec3, start: Vec3, most: int) -> dict[str, NDArray[Any]] | None:
    """Each two labels with neighbouring voxels, of 26, whose lower corner lies in the cell; None above ``most``.

    labels: unsigned, [x, y, z] in Fortran order, of a cell whose shape is ``own`` and, on each high side that has one,
    a voxel more. start: the place of its first voxel.

    Columns, ascending by low, then high: low < high, uint64; counts int64 [n, 13], of neighbours along x, y, z, then
    (1, 1, 0), (-1, 1, 0), (1, 0, 1), (-1, 0, 1), (0, 1, 1), (0, -1, 1), (1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1);
    sums int64 [n, axis, 3], of the places of the lower voxels of faces across each axis; first and end, int32 [n, 3],
    the box of the voxels beside faces, end excluded, which is (2**31 - 1, 0) where there is none.
    """
