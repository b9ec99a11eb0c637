"""Centre lines of the connected components of a block, by TEASAR."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

def measure(components: NDArray[Any], distances: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Voxels [n], greatest distance [n] and box [n, 6] (low, high) of each component, background first.

    ``components`` are uint32 and ``distances`` float32, [x, y, z] in Fortran order.
    """

def trace(
    components: NDArray[Any],
    distances: NDArray[Any],
    spacing: tuple[float, float, float],
    rules: Mapping[str, float],
    ids: NDArray[Any],
    targets: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    threads: int,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Trees of the components ``ids``, each connected by 26 neighbours: vertices [n, 3], edges [m, 2], starts.

    Component i has the vertices ``starts[i, 0]`` to ``starts[i + 1, 0]`` and the edges ``starts[i, 1]`` to
    ``starts[i + 1, 1]``, which count its vertices from 0. ``targets`` are voxels [k, 3] that lines must reach: on
    borders, one of which becomes the root, others before all else, and others at last. The result is the same for
    any number of ``threads``. ValueError for arguments that do not fit together.
    """
