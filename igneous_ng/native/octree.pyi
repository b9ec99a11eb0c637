"""A mesh cut along the planes of a grid."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def split(
    vertices: NDArray[Any], faces: NDArray[Any], side: int, half: int
) -> list[tuple[list[int], NDArray[np.uint32], NDArray[np.uint32]]]:
    """The boxes of ``side`` that ``faces`` [m, 3] meet, in the order of a Z curve: place, vertices in the box, faces.

    ``vertices`` [n, 3] are integers from 0 to 2**30. No face crosses a multiple of ``side``, nor, where ``half`` is
    above 0, a plane that lies ``half`` above one. Faces without area because two corners are one point are left out.
    """
