"""What sections really show: the truth that `synth sections` wrote, at any point."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.io import IO
from igneous_ng.kernels.synth_warps import STEP, TISSUE, Section
from igneous_ng.warps import Field

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Truth:
    """The truth in the folder ``home``. Points are ``[..., 2]``, pixels of a section."""

    io: IO
    home: str

    @cached_property
    def sections(self) -> list[Section]:
        """What was planted; DataError where no truth is."""
        raw = self.io.get_json(f"{self.home}/truth.json")
        if raw is None:
            raise DataError(f"{self.home}/truth.json: is not there; give the folder that `synth sections` wrote")
        return [Section.from_json(one) for one in raw["sections"]]

    def places(self, z: int, points: Array) -> Array:
        """Where in the stack lies what section ``z`` shows at ``points``; pixels from the first of the stack."""
        straight = self.sections[z].straight(points)
        return self.sections[z].shown(straight, self._field.at(z, straight))

    def tissue(self, z: int, points: Array, places: Array, margin: float = 0) -> Array:
        """Whether there is tissue at ``points``, which show ``places``, and no border within ``margin`` pixels."""
        return np.asarray(self.sections[z].codes(points, places, margin) == TISSUE)

    @cached_property
    def _field(self) -> Field:
        return Field(self.io, f"{self.home}/truth/field", STEP)
