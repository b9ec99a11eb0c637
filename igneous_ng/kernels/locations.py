"""Numbers that say where something is: ids of what lies in a volume, that depend on nothing else.

A *code* is the compressed Morton code (`morton`) of a voxel, counted from the first voxel of the volume. A *location*
is the code plus 1, above 8 bits that tell apart what is at one voxel: never 0, ascending with the code, and unchanged
by all that happens elsewhere. So volumes may have 2**55 voxels once their sides are rounded up to powers of two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import morton
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Vec3

Array = npt.NDArray[Any]
RANKS = 256
"""How many things can be at one voxel."""
_RANK_BITS, _BITS = 8, 55


def axes(shape: Vec3) -> tuple[int, ...]:
    """The axis that each bit of a code comes from, lowest first; SpecError for a volume that is too large."""
    found = morton.axes(shape)
    if len(found) > _BITS:
        raise SpecError(f"a volume of {shape} voxels has {len(found)} bits of places; ids hold {_BITS}")
    return found


def codes(points: Array, shape: Vec3) -> Array:
    """The codes, uint64 [n], of voxels, integers [n, 3], x, y, z, from 0 to ``shape``."""
    return morton.codes(points, axes(shape))


def points(codes: Array, shape: Vec3) -> Array:
    """The voxels, int64 [n, 3], of codes."""
    return morton.points(codes, axes(shape))


def locations(codes: Array) -> Array:
    """The locations, uint64, of the first thing at each voxel; those of others are up to 255 more."""
    found: Array = codes + np.uint64(1) << np.uint64(_RANK_BITS)
    return found


def first(ids: Array) -> Array:
    """The location of the first thing at the voxel of each of ``ids``."""
    found: Array = ids >> np.uint64(_RANK_BITS) << np.uint64(_RANK_BITS)
    return found


def codes_of(ids: Array) -> Array:
    """The codes of locations, uint64."""
    found: Array = (ids >> np.uint64(_RANK_BITS)) - np.uint64(1)
    return found
