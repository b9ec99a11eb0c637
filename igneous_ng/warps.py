"""How a section lies in the volume, by its rough map and by the fields of a round: points both ways.

What is read is the box of nodes around the points that are asked for, so that a result depends on these alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.alignment import Alignment, Rough
from igneous_ng.errors import DataError
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import fields

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Field:
    """A layer of values at the nodes of a lattice."""

    io: IO
    url: str
    step: int

    def at(self, z: int, points: Array) -> Array:
        """The values at ``points`` ``[..., 2]`` of the frame, ``[..., channel]``, float64; beyond nodes as at them."""
        (x0, y0, _), (x1, y1, _) = self._info.scales[0].bounds.lo, self._info.scales[0].bounds.hi
        at = fields.places(points, self.step)
        a, b, c, d = fields.around(at, (x0, y0, x1, y1))
        return fields.bilinear(self.nodes(Box((a, b, z), (c, d, z + 1)))[:, :, 0], (a, b), at)

    def nodes(self, box: Box) -> Array:
        """The values of the nodes of ``box``, float64 ``[x, y, z, channel]``."""
        return self.io.read(self.io.volume(self.url, 0, info=self._info), box).astype(np.float64)

    def most(self, z: int, low: Array, high: Array) -> Array:
        """The largest sizes, ``[channel]``, of values that :meth:`at` may give for points from ``low`` to ``high``."""
        (x0, y0, _), (x1, y1, _) = self._info.scales[0].bounds.lo, self._info.scales[0].bounds.hi
        a, b, c, d = fields.around(fields.places(np.stack([low, high]), self.step), (x0, y0, x1, y1))
        found: Array = np.abs(self.nodes(Box((a, b, z), (c, d, z + 1)))).max(axis=(0, 1, 2))
        return found

    @cached_property
    def _info(self) -> Info:
        return self.io.info(self.url)


@dataclass(frozen=True)
class Warp:
    """The map of section ``z`` after round ``number``; round 0: its rough map alone."""

    io: IO
    alignment: Alignment
    z: int
    number: int

    @property
    def rough(self) -> Rough:
        """Its rough map; DataError where no section of the layer is shown here."""
        if self.source < 0:
            raise DataError(f"{self.alignment.home}: no section of {self.alignment.layer} is shown at {self.z}")
        return self._record

    @property
    def source(self) -> int:
        """The section of the layer that is shown here; -1: none."""
        return self._record.source

    @cached_property
    def _record(self) -> Rough:
        return self.alignment.rough(self.io, self.z)

    def section(self, points: Array) -> Array:
        """Which points of the section lie at ``points`` of the volume, ``[..., 2]``, pixels of mip 0."""
        return self.rough.section(self.straight(points))

    def straight(self, points: Array) -> Array:
        """The same in the frame of the rough map: ``r + V(r)``."""
        return points + self._field("inverse").at(self.z, points) if self.number else np.asarray(points, np.float64)

    def most(self, low: Array, high: Array) -> Array:
        """How far ``straight`` may move points from ``low`` to ``high`` at most, along x and y."""
        return self._field("inverse").most(self.z, low, high) if self.number else np.zeros(2)

    def volume(self, points: Array) -> Array:
        """Where ``points`` of the section lie in the volume."""
        straight = self.rough.aligned(points)
        return straight + self._field("forward").at(self.z, straight) if self.number else straight

    def _field(self, kind: str) -> Field:
        lattice = self.alignment.round(self.io, self.number)
        return Field(self.io, f"{self.alignment.home}/rounds/{self.number}/{kind}", lattice.step)
