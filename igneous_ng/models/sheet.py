"""The model that needs no training: membranes are dark sheets about as wide as its scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3, Vec3f, vec
from igneous_ng.kernels.dark_sheets import Sheets
from igneous_ng.models.base import Shape
from igneous_ng.models.folder import Card
from igneous_ng.models.greys import Greys

Array = npt.NDArray[Any]
# Chosen on FIB-25 (10 nm), sections 0 to 99, by variation of information after watershed and mean linkage with a guard.
_SCALES = (16.0,)  # nm
_DARKNESS = 0.15
_LOW, _HIGH = -0.066, 0.007  # the responses that are surely inside and surely boundary
_LEVELS = Greys(0.5, 0.25)
_TRUSTED = 128
_BYTES = 24  # a voxel of a patch: the patch in both orders, its response, and what becomes of that


def card(resolution: Vec3f, extent: Vec3) -> Card:
    """What it takes of a level whose voxels have ``resolution`` and which is ``extent`` voxels large."""
    margin = _sheets(resolution).radius
    side = max(extent[:2])
    patch = vec(min(n, _TRUSTED) + 2 * m for n, m in zip((side, side, extent[2]), margin, strict=True))
    shape = Shape(patch, margin, 1)
    return Card("sheet", shape, resolution, _LEVELS, overlap=0.0, bytes_per_voxel=_BYTES)


class Sheet:
    """The filter for the voxels of a card."""

    backend = "native"

    def __init__(self, card: Card) -> None:
        self.shape, self._sheets = card.shape, _sheets(card.resolution)

    def predict(self, patch: Array) -> Array:
        """How surely voxels are boundary; see :class:`igneous_ng.models.base.Model`."""
        response = self._sheets.respond(patch)
        response -= np.float32(_LOW)
        response *= np.float32(1 / (_HIGH - _LOW))
        return np.clip(response, np.float32(0), np.float32(1), out=response)[..., np.newaxis]


def _sheets(resolution: Vec3f) -> Sheets:
    return Sheets(resolution, _SCALES, _DARKNESS)
