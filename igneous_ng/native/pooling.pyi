"""Pooling of blocks: modes of labels, sums of numbers and their means. Arrays are [x, y, z], in any memory order."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

def mode(image: NDArray[Any], factor: tuple[int, int, int], sparse: bool, out: NDArray[Any]) -> None:
    """Write to out the most frequent label of each block of factor voxels; integers of one type."""

def add(image: NDArray[Any], origin: tuple[int, int, int], factor: tuple[int, int, int], out: NDArray[Any]) -> None:
    """Add to out the voxels of each block, x fastest; origin is where in its block the first voxel lies."""

def mean(sums: NDArray[Any], counts: Sequence[Sequence[int]], out: NDArray[Any]) -> None:
    """Write to out each sum over the product of the counts at its x, y and z: to the nearest integer, ties to even."""
