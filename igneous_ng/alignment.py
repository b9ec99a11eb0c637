"""The folder of all that is known of a stack of sections: which layer it is, and how each section lies in the volume.

``docs/design/021`` shows the folder and the frames.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import IMAGE, Info, new_info
from igneous_ng.formats.sections import name
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels.affine import linear

Array = npt.NDArray[Any]
CHUNK = 64
"""Nodes of a field along x and y that lie in one object; a task of `align flow` measures so many."""
_MAGIC = b"igngaff1"
_HEAD = struct.Struct("<8s2i")  # first section, how many
_RECORD = struct.Struct("<6d3iI")  # a b c d, shift x y; component, source, 0, flags
_INVERTED = 1


@dataclass(frozen=True)
class Rough:
    """How a section lies in the volume: ``aligned = matrix @ p + shift``, p in its own frame, pixels of mip 0."""

    matrix: Array
    shift: Array
    component: int = 0
    """Sections of different components are connected by nothing."""
    source: int = -1
    """The section of the layer that is shown here; -1: none."""
    inverted: bool = False
    """Whether its contrast is opposite to that of most."""

    def aligned(self, points: Array) -> Array:
        """Where points of the section lie, ``[..., 2]``."""
        return linear(self.matrix, np.asarray(points, np.float64)) + self.shift

    def section(self, points: Array) -> Array:
        """Which points of the section lie at ``points``."""
        return linear(np.linalg.inv(self.matrix), np.asarray(points, np.float64) - self.shift)


@dataclass(frozen=True)
class Round:
    """The lattice of a round: ``step`` pixels of mip 0 between nodes; ``box`` its nodes and sections."""

    number: int
    mip: int
    """Level of the layer at which it is matched."""
    step: int
    box: Box

    def to_json(self) -> dict[str, Any]:
        """As ``round.json`` holds it."""
        return {"mip": self.mip, "step": self.step, "box": str(self.box)}


@dataclass(frozen=True)
class Alignment:
    """The folder ``home`` of the stack ``layer``."""

    home: str
    layer: str
    resolution: tuple[float, float, float]
    """Of mip 0, in nm."""
    bounds: Box
    """Of mip 0; z are the sections."""
    mask: str = ""
    """The layer of codes that say what is no tissue; empty: there is none."""
    fill_missing: bool = False
    """Whether chunks that are missing are void."""

    @classmethod
    def open(cls, io: IO, home: str) -> Alignment:
        """The alignment at ``home``; DataError where none was begun. It enters no ledger: it never changes."""
        raw = io.store.get_json(f"{home}/alignment.json")
        if raw is None:
            raise DataError(f"{home}/alignment.json: no alignment was begun here; run `align coarse` first")
        keys = {**raw, "resolution": tuple(raw["resolution"]), "bounds": Box.parse(raw["bounds"])}
        return cls(home=home, **keys)

    def to_json(self) -> dict[str, Any]:
        """To be stored as ``alignment.json``."""
        return {
            "layer": self.layer,
            "resolution": list(self.resolution),
            "bounds": str(self.bounds),
            "mask": self.mask,
            "fill_missing": self.fill_missing,
        }

    @property
    def zs(self) -> range:
        """Places of the volume along z."""
        return range(self.bounds.lo[2], self.bounds.hi[2])

    def url(self, folder: str, z: int, suffix: str) -> str:
        """The file of a section in a folder, such as ``checks/z000012.json``."""
        return f"{self.home}/{folder}/{name(z)}{suffix}"

    def rough(self, io: IO, z: int) -> Rough:
        """The rough map of section ``z``; DataError where there is none yet. Depends on its own record alone."""
        url = f"{self.home}/rough.affines"
        at = _HEAD.size + (z - self.bounds.lo[2]) * _RECORD.size
        data = io.get(url, (at, at + _RECORD.size))
        if data is None:
            raise DataError(f"{url}: sections are not aligned roughly; run `align coarse` first")
        if len(data) != _RECORD.size or z not in self.zs:
            raise DataError(f"{url}: says nothing of section {z}; run `align rough` again")
        a, b, c, d, x, y, component, source, _, flags = _RECORD.unpack(data)
        return Rough(np.array([[a, b], [c, d]]), np.array([x, y]), component, source, bool(flags & _INVERTED))

    def extent(self, io: IO) -> Box:
        """The bounds of the aligned volume in voxels of mip 0, as `align rough` found them."""
        raw = io.get_json(f"{self.home}/rough.json")
        if raw is None:
            raise DataError(f"{self.home}/rough.json: sections are not aligned roughly; run `align coarse` first")
        return Box.parse(raw["bounds"])

    def round(self, io: IO, number: int) -> Round:
        """The lattice of a round that was begun; DataError where it was not. It enters no ledger."""
        url = f"{self.home}/rounds/{number}/round.json"
        raw = io.store.get_json(url)
        if raw is None:
            raise DataError(f"{url}: this round was not begun; run `align flow --round {number}` first")
        return Round(number, raw["mip"], raw["step"], Box.parse(raw["box"]))

    def new_round(self, io: IO, number: int, mip: int, stride: int) -> Round:
        """A round whose nodes lie ``stride`` pixels of level ``mip`` apart, all over the aligned volume."""
        step = stride * self.factor(io.info(self.layer), mip)
        return Round(number, mip, step, self.extent(io) // (step, step, 1))

    def factor(self, info: Info, mip: int) -> int:
        """Pixels of mip 0 along x and y in one of level ``mip``; SpecError where sections are pooled, or unevenly."""
        if not 0 <= mip < len(info.scales):
            raise SpecError(f"{self.layer} has no mip {mip}; there are mips 0 to {len(info.scales) - 1}")
        fine, coarse = info.scales[0].resolution, info.scales[mip].resolution
        factor = round(coarse[0] / fine[0])
        if coarse != (fine[0] * factor, fine[1] * factor, fine[2]):
            raise SpecError(
                f"{self.layer}: mip {mip} has voxels of {coarse} nm, and mip 0 {fine}; alignment wants levels that are "
                "coarser by a whole factor along x and y alone. Make them with image downsample --factor 2,2,1"
            )
        return factor

    def field(self, lattice: Round, channels: int) -> Info:
        """The info of a layer of float32 values at the nodes of ``lattice``."""
        x, y, z = self.resolution
        return new_info(
            kind=IMAGE,
            dtype="float32",
            channels=channels,
            bounds=lattice.box,
            resolution=(x * lattice.step, y * lattice.step, z),
            chunk=(CHUNK, CHUNK, 1),
            encoding="raw",
        )


def encode_rough(first: int, maps: list[Rough]) -> bytes:
    """The file of the rough maps of sections ``first`` and following."""
    parts = [_HEAD.pack(_MAGIC, first, len(maps))]
    for one in maps:
        flags = _INVERTED if one.inverted else 0
        parts.append(_RECORD.pack(*one.matrix.ravel(), *one.shift, one.component, one.source, 0, flags))
    return b"".join(parts)


def decode_rough(data: bytes, where: str) -> tuple[int, list[Rough]]:
    """The first section of a file of rough maps, and all maps; DataError where it is none."""
    if len(data) < _HEAD.size or data[:8] != _MAGIC:
        raise DataError(f"{where}: is no file of rough maps; run `align rough` again")
    _, first, count = _HEAD.unpack_from(data)
    if len(data) != _HEAD.size + count * _RECORD.size:
        raise DataError(f"{where}: has {len(data)} bytes, not those of {count} sections; run `align rough` again")
    found = []
    for a, b, c, d, x, y, component, source, _, flags in _RECORD.iter_unpack(data[_HEAD.size :]):
        map_ = Rough(np.array([[a, b], [c, d]]), np.array([x, y]), component, source, bool(flags & _INVERTED))
        found.append(map_)
    return first, found
