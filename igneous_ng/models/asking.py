"""A model made ready for the voxels of one layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.kernels import augmenting
from igneous_ng.kernels.augmenting import Turn
from igneous_ng.models.base import Model, grey
from igneous_ng.models.greys import Greys

Array = npt.NDArray[Any]
_ROUNDED = 1e-5  # how far beyond 0 and 1 sigmoids of libraries give, being rounded


@dataclass(frozen=True)
class Asked:
    """``model``, asked in several ``ways``; grey values of the levels ``own`` are shown to it as those of ``like``.

    Its three channels are affinities, unless they are ``classes``.
    """

    model: Model
    ways: Sequence[Turn]
    own: Greys | None
    like: Greys | None
    classes: bool = False

    def of(self, voxels: Array) -> Array:
        """What it says of a patch of a layer's voxels [x, y, z]: ``[x, y, z, channel]``; DataError for nonsense."""
        shades = grey(voxels)
        if self.own is not None and self.like is not None:
            shades = self.own.moved(shades, self.like)
        joining = self.model.shape.channels == 3 and not self.classes
        said = augmenting.predicted(self.model.predict, shades, self.ways, joining)
        if not (said.min() >= -_ROUNDED and said.max() <= 1 + _ROUNDED):
            raise DataError(
                f"the model says {said.min():g} to {said.max():g}, and its answers are to be from 0 to 1; "
                "let the network end in a sigmoid"
            )
        return np.clip(said, 0, 1)
