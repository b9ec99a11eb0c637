"""What voxels look like: smoothed values, differences between neighbours, eigenvalues. Arrays in Fortran order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def smooth(volume: NDArray[Any], x: Sequence[float], y: Sequence[float], z: Sequence[float]) -> NDArray[np.float32]:
    """``volume`` [x, y, z] weighted along each axis, [x, y, z, 1]; kernels are symmetric, given from their centres.

    Smaller by the reach of the kernels at each side.
    """

def shapes(volume: NDArray[Any], x: float, y: float, z: float) -> NDArray[np.float32]:
    """Size of the gradient, Laplacian and the Hessian's eigenvalues, falling, [x - 2, y - 2, z - 2, 5].

    Differences along an axis are in units of 1 over ``x``, ``y`` and ``z`` voxels.
    """

def products(volume: NDArray[Any], x: float, y: float, z: float) -> NDArray[np.float32]:
    """Products xx, yy, zz, xy, xz, yz of the gradient, [x - 2, y - 2, z - 2, 6]; units as those of :func:`shapes`."""

def eigenvalues(six: NDArray[Any]) -> NDArray[np.float32]:
    """Of symmetric matrices [x, y, z, 6], their parts as those of :func:`products`: eigenvalues, falling."""
