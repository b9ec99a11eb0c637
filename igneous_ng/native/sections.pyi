"""Areas of cuts across objects."""

from typing import Any

from numpy.typing import NDArray

def areas(
    labels: NDArray[Any], spacing: tuple[float, float, float], voxels: NDArray[Any], normals: NDArray[Any]
) -> NDArray[Any]:
    """The area, float32, in which the plane through the middle of each voxel [n, 3] cuts the object there.

    ``labels`` are uint32 [x, y, z] in Fortran order; an object is what is connected in the plane, by 26 neighbours, to
    the voxel. ``normals`` [n, 3] stand on the planes. Areas are negative where the cut reaches the edge of the block.
    """
