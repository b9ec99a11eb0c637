"""Which segments lie near each object of a box."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng.geometry import Vec3

def find(
    objects: NDArray[np.uint64],
    segments: NDArray[Any],
    starts: tuple[Vec3, Vec3],
    cell: tuple[Vec3, Vec3],
    whole: tuple[Vec3, Vec3],
    weights: list[NDArray[np.uint8]],
    shifts: list[NDArray[np.int16]],
    pitch: Vec3,
    limit: int,
) -> dict[str, NDArray[Any]]:
    """For each object other than 0 and each segment that has voxels of ``cell`` within the limit of it, what these say.

    objects [x, y, z], uint64, and segments [x, y, z], uint32 or uint64, begin at the voxels ``starts``; segments cover
    ``cell`` (its first voxel and its end), which weights, any number of uint8 [x, y, z], and shifts, three of int16 or
    none, fill. A voxel is ``pitch`` pm wide; ``limit`` is a squared distance in pm^2 between centres of voxels.

    Columns, ascending by object, then segment: object, segment; voxels; sums [n, weights] over these; left, those of
    them whose shift leads to another voxel inside ``segments``; met, the shifts from voxels near the object that lead
    into this segment; distance, the least squared one, and of that the least place: the index of a voxel, x fastest,
    in the volume ``whole`` (its first voxel and its shape). A segment that is only met has the distance 2**63 - 1, and
    the place of the first voxel where it is.
    """
