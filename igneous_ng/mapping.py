"""Points of a stack both ways: from the sections, as they lie one upon the other, to the volume, and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.alignment import Alignment
from igneous_ng.io import IO
from igneous_ng.warps import Warp

Array = npt.NDArray[Any]
Way = Literal["volume", "sections"]


def last_round(io: IO, alignment: Alignment) -> int:
    """The last round of which the inverse is there; 0 where none is."""
    rounds = f"{alignment.home}/rounds"
    numbers = sorted(int(name) for name in io.store.list(rounds) if name.isdigit())
    return max((n for n in numbers if io.store.exists(f"{rounds}/{n}/inverse/info")), default=0)


@dataclass(frozen=True)
class Stack:
    """The maps of all sections after round ``number``, for one task: what is read is kept."""

    io: IO
    alignment: Alignment
    number: int
    _sources: dict[int, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _warps: dict[int, Warp] = field(default_factory=dict, init=False, repr=False, compare=False)

    def source(self, z: int) -> int:
        """The section of the layer that is shown at ``z``; -1: none."""
        if z not in self.alignment.zs:
            return -1
        if z not in self._sources:
            self._sources[z] = self.alignment.rough(self.io, z).source
        return self._sources[z]

    def warp(self, z: int) -> Warp:
        """The map of what is shown at ``z``."""
        if z not in self._warps:
            self._warps[z] = Warp(self.io, self.alignment, z, self.number)
        return self._warps[z]

    def nearest(self, z: int) -> int | None:
        """The place nearest to ``z`` where a section is shown, of two the lower; None: nowhere."""
        zs = self.alignment.zs
        z = min(max(z, zs[0]), zs[-1])
        for apart in range(len(zs)):
            for at in (z - apart, z + apart):
                if self.source(at) >= 0:
                    return at
        return None

    def moved(self, points: Array, way: Way, nearest: bool = False) -> Array:
        """Where ``points`` ``[n, 3]`` (x, y in pixels of mip 0, z in sections; float64) are to be found the other way.

        Between two sections a point moves as both say, each by how near it is; where one of them is not shown, as the
        other says. Where none is the result is NaN, or with ``nearest`` what the nearest that is shown says.
        """
        points = np.asarray(points, np.float64)
        below = np.floor(points[:, 2])
        share = points[:, 2] - below
        total, weight = np.zeros(points.shape), np.zeros(len(points))
        sure = np.isfinite(points).all(axis=1)
        for shift, part in ((0, 1 - share), (1, share)):
            for z in np.unique(below[sure & (part > 0)]).astype(np.int64).tolist():
                which = np.flatnonzero(sure & (part > 0) & (below == z))
                there = self._there(z + shift, way, points[which, :2], nearest)
                if there is not None:
                    total[which] += there * part[which, np.newaxis]
                    weight[which] += part[which]
        total[weight == 0] = np.nan
        return total / np.where(weight > 0, weight, 1)[:, np.newaxis]

    def moved_nm(self, points: Array, way: Way, nearest: bool = False) -> Array:
        """The same of points in nm, in which the centre of a voxel lies half a voxel behind its corner."""
        voxel = np.array(self.alignment.resolution)
        found: Array = (self.moved(points / voxel - 0.5, way, nearest) + 0.5) * voxel
        return found

    def _there(self, z: int, way: Way, points: Array, nearest: bool) -> Array | None:
        """Of points of one section, or one place of the volume, where they are the other way, ``[n, 3]``."""
        found = self._to_volume(z, nearest) if way == "volume" else self._to_sections(z, nearest)
        if found is None:
            return None
        at, z = found
        warp = self.warp(at)
        moved = warp.volume(points) if way == "volume" else warp.section(points)
        return np.concatenate([moved, np.full((len(points), 1), float(z))], axis=1)

    def _to_sections(self, z: int, nearest: bool) -> tuple[int, int] | None:
        """By whose map a place of the volume is left, and the section it leads to."""
        at = z if self.source(z) >= 0 else self.nearest(z) if nearest else None
        return None if at is None else (at, self.source(at) + z - at)

    def _to_volume(self, z: int, nearest: bool) -> tuple[int, int] | None:
        """By whose map a section is left, and the place of the volume it leads to."""
        near = z
        if z not in self._places:
            if not nearest or not self._places:
                return None
            near = min(self._places, key=lambda one: (abs(one - z), one))
        at = self._places[near]
        return at, at + z - near

    @cached_property
    def _places(self) -> dict[int, int]:
        """Where each section that is shown is: of several places the nearest to its own, of two the lower."""
        found: dict[int, int] = {}
        for z in self.alignment.zs:
            source = self.source(z)
            if source >= 0 and (source not in found or abs(z - source) < abs(found[source] - source)):
                found[source] = z
        return found
