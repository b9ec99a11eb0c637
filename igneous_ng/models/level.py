"""A rule that floods and learns nothing: objects are bright, and dark voxels are between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3f, vec
from igneous_ng.kernels import components
from igneous_ng.models.base import Shape
from igneous_ng.models.folder import Card

Array = npt.NDArray[Any]
NAME = "level"
_FIELD, _DELTA = 17, 4  # voxels
_BRIGHT = np.float32(0.5)
_SURE = np.float32(5)  # the logit of what is of the object


def card(resolution: Vec3f) -> Card:
    """What it says of itself, to a level of such voxels: any will do, as they are."""
    shape = Shape(vec((_FIELD,) * 3), (0, 0, 0), 1)
    return Card(NAME, shape, resolution, None, 0.0, 64, deltas=vec((_DELTA,) * 3))


class Level:
    """In a field of view, the voxels of half of the greatest value or more that faces join to the object."""

    backend = "numpy"

    def step(self, grey: Array, logits: Array) -> Array:
        """See :class:`igneous_ng.models.base.Flooding`."""
        parts = components.painted((grey >= _BRIGHT).view(np.uint8), 6)
        held = np.zeros(int(parts.max()) + 1, bool)
        held[parts[logits > 0]] = True
        held[0] = False
        return np.where(held[parts], _SURE, -_SURE)
