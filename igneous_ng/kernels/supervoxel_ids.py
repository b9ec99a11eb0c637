"""Numbers of supervoxels that tell where they lie, as in the PyChunkedGraph (Dorkenwald et al. 2022, CAVE).

From the highest bit on: 8 bits of layer, which is 1; ``bits`` each for the chunk's place along x, y and z; the rest
counts the supervoxels of the chunk from 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3

Array = npt.NDArray[Any]
_BELOW = 56  # bits below those of the layer
_LAYER = 1 << _BELOW
FEWEST = 10
"""Bits of a place along an axis, where fewer would do: what the PyChunkedGraph has by default."""


def bits_for(chunks: Vec3) -> int:
    """Bits that places in a grid of ``chunks`` take along each axis."""
    return max(FEWEST, *((n - 1).bit_length() for n in chunks))


def most(bits: int) -> int:
    """How many supervoxels a chunk can have."""
    return (1 << _BELOW - 3 * bits) - 1


def first(at: Vec3, bits: int) -> int:
    """What is added to the count of a supervoxel of the chunk at ``at``."""
    x, y, z = at
    return _LAYER | x << _BELOW - bits | y << _BELOW - 2 * bits | z << _BELOW - 3 * bits


def places(ids: Array, bits: int) -> Array:
    """The places of chunks ``[n, 3]``, int64, of supervoxels ``ids`` ``[n]``, uint64."""
    shifts = np.array([_BELOW - bits, _BELOW - 2 * bits, _BELOW - 3 * bits], np.uint64)
    return (ids[:, np.newaxis] >> shifts & np.uint64((1 << bits) - 1)).astype(np.int64)
