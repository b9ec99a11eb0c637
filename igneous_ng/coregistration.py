"""The folder of all that is known of how a volume lies in another: which layers they are, and the map of each round.

``docs/design/024`` shows the folder and the frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import IMAGE, Info, new_info
from igneous_ng.geometry import Box, Vec3, Vec3f, vec
from igneous_ng.io import IO
from igneous_ng.kernels import node_fields
from igneous_ng.kernels.space_maps import Affine

Array = npt.NDArray[Any]
GRAIN = 64
"""Displacements are rounded to 1/64 of a voxel."""
_STEPS = 30  # of the search for the way back: a field that bends by half leaves 1e-9 of what it moves
_MISSED = 0.01  # voxels: the way back was not found
_EVEN = 1e-6  # of a factor between levels


@dataclass(frozen=True)
class Round:
    """The lattice of a round: its ``step`` in voxels of mip 0 of the fixed volume, and its nodes."""

    number: int
    mip: int
    """Level of the fixed volume at which it is matched."""
    step: Vec3
    box: Box

    def to_json(self) -> dict[str, Any]:
        """As ``round.json`` holds it."""
        return {"mip": self.mip, "step": list(self.step), "box": str(self.box)}


@dataclass(frozen=True)
class Coregistration:
    """The folder ``home`` of the volume ``moving`` that is brought to ``fixed``."""

    home: str
    moving: str
    fixed: str
    channel: int = 0
    """Of the moving volume; the one that is compared."""
    to_channel: int = 0
    fill_missing: bool = False
    """Whether chunks that are missing are void."""

    @classmethod
    def open(cls, io: IO, home: str) -> Coregistration:
        """What lies at ``home``; DataError where nothing was begun. It enters no ledger: it never changes."""
        raw = io.store.get_json(f"{home}/coregistration.json")
        if raw is None:
            raise DataError(f"{home}/coregistration.json: nothing was begun here; run `coregister rough` first")
        return cls(home, raw["moving"], raw["fixed"], raw["channel"], raw["to_channel"], raw["fill_missing"])

    def to_json(self) -> dict[str, Any]:
        """As ``coregistration.json`` holds it."""
        return {name: value for name, value in vars(self).items() if name != "home"}

    def folder(self, number: int) -> str:
        """Where what is known after round ``number`` lies; round 0 is the first guess."""
        return f"{self.home}/rounds/{number}"

    def affine(self, io: IO, number: int) -> Affine:
        """Where a point of the fixed volume lies in the moving one, nm; DataError where that is not known yet."""
        url = f"{self.folder(number)}/affine.json"
        raw = io.get_json(url)
        if raw is None:
            before = "coregister rough" if not number else f"coregister fit --round {number}"
            raise DataError(f"{url}: this map is not made yet; run `{before}` first")
        return Affine.parse(raw["matrix"])

    def round(self, io: IO, number: int) -> Round:
        """The lattice of a round that was begun; DataError where it was not. It enters no ledger."""
        url = f"{self.folder(number)}/round.json"
        raw = io.store.get_json(url)
        if raw is None:
            raise DataError(f"{url}: this round was not begun; run `coregister match --round {number}` first")
        return Round(number, raw["mip"], vec(raw["step"]), Box.parse(raw["box"]))

    def last(self, io: IO) -> int:
        """The last round that has a map; 0: the first guess alone."""
        number = 0
        while io.exists(f"{self.folder(number + 1)}/affine.json"):
            number += 1
        return number

    def new_round(self, info: Info, number: int, mip: int, stride: Vec3) -> Round:
        """A round whose nodes lie ``stride`` voxels of level ``mip`` of the fixed volume apart, all over it."""
        factor = factors(info, mip, self.fixed)
        step = vec(a * b for a, b in zip(stride, factor, strict=True))
        return Round(number, mip, step, info.scales[mip].bounds // stride)

    def layer(self, info: Info, lattice: Round, channels: int, chunk: int) -> Info:
        """The info of a layer of float32 values at the nodes of ``lattice``, ``chunk`` a side in each object."""
        x, y, z = (r * s for r, s in zip(info.scales[0].resolution, lattice.step, strict=True))
        return new_info(
            kind=IMAGE,
            dtype="float32",
            channels=channels,
            bounds=lattice.box,
            resolution=(x, y, z),
            chunk=(chunk, chunk, chunk),
            encoding="raw",
        )


def factors(info: Info, mip: int, layer: str) -> Vec3:
    """Voxels of mip 0 in one of level ``mip``; SpecError where there is no such level, or no whole factor."""
    if not 0 <= mip < len(info.scales):
        raise SpecError(f"{layer} has no mip {mip}; there are mips 0 to {len(info.scales) - 1}")
    ratios = np.array(info.scales[mip].resolution) / info.scales[0].resolution
    if (np.abs(ratios - np.round(ratios)) > _EVEN).any():
        raise SpecError(f"{layer}: voxels of mip {mip} are {ratios.tolist()} of mip 0, no whole factors; use another")
    return vec(np.round(ratios))


@dataclass(frozen=True)
class Through:
    """The map of round ``number``: points in nm, both ways."""

    io: IO
    known: Coregistration
    number: int
    guess: Affine | None = None
    """Stands in for what round 0 will find."""

    @cached_property
    def affine(self) -> Affine:
        """Its affine part."""
        return self.guess or self.known.affine(self.io, self.number)

    def moving(self, points: Array) -> Array:
        """Where ``points`` ``[..., 3]`` of the fixed volume lie in the moving one."""
        return self.affine(self.straight(points))

    def fixed(self, points: Array) -> Array:
        """Where ``points`` of the moving volume lie in the fixed one; NaN where steps do not lead there."""
        aim = self.affine.inverse(np.asarray(points, np.float64))
        if not self.number:
            return aim
        found = aim
        for _ in range(_STEPS):
            found = found + (aim - self.straight(found))
        off = np.abs(self.straight(found) - aim).max(axis=-1)
        return np.where((off <= _MISSED * min(self._voxel))[..., np.newaxis], found, np.nan)

    def straight(self, points: Array) -> Array:
        """Points of the fixed volume before the affine part is applied: ``p + V(p)``."""
        points = np.asarray(points, np.float64)
        if not self.number:
            return points
        at = node_fields.places(points / self._voxel - 0.5, self._lattice.step)
        box = node_fields.around(at, self._lattice.box)
        nodes = self.io.read(self.io.volume(self._url, 0, info=self._info), box).astype(np.float64)
        return points + node_fields.trilinear(nodes, box.lo, at) * self._voxel

    @property
    def _url(self) -> str:
        return f"{self.known.folder(self.number)}/field"

    @cached_property
    def _info(self) -> Info:
        return self.io.info(self._url)

    @cached_property
    def _lattice(self) -> Round:
        return self.known.round(self.io, self.number)

    @cached_property
    def _voxel(self) -> Vec3f:
        """Of mip 0 of the fixed volume, nm."""
        return self.io.info(self.known.fixed).scales[0].resolution
