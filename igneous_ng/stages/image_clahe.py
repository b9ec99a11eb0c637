"""Local contrast: CLAHE whose tiles are those of the whole section, so that no seam shows between cells."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.deriving import Deriving, missing, need_grey
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import quality
from igneous_ng.kernels.clahe import Tiles, equalise
from igneous_ng.stage import opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Clahe(Deriving, name="contrast clahe"):
    """Equalise the contrast of sections locally (CLAHE), without seams.

    The bounds of the layer are divided into tiles, nearly equal, that do not depend on the cells: a task reads the
    whole tiles around its own voxels. So any cell gives the bytes of the whole section at once.
    """

    example = "./em ./even --clip 2"

    tile: tuple[int, int] = opt((256, 256), "Sides of a tile in voxels, x,y; rounded so that tiles divide a section.")
    clip: float = opt(3.0, "How many times the mean a value may count: the steepest slope. 1 changes little.")
    zeros: bool = opt(False, "Count and change zeros, too; by default they are taken for what is missing.")

    def check(self) -> None:
        """Tiles hold something."""
        super().check()
        if min(self.tile) < 1:
            raise SpecError(f"{self.name}.tile: {self.tile}; each side must be at least 1 voxel")
        if not 1 <= self.clip <= 1e6:
            raise SpecError(f"{self.name}.clip: {self.clip:g}; give 1 or more, up to a million")

    def made(self, io: IO) -> Info:
        """The new layer, like the level read."""
        volume = self.volume(io)
        need_grey(self.name, volume)
        return self.made_as(volume, volume.dtype, volume.channels, volume.bounds)

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The tiles around a cell, the cell made of them, and the tables and sums of a section."""
        volume = self.volume(io)
        box = self._needed(volume, unit)
        tiles = self._tiles(volume)
        spans = [t.around((a, b)) for t, a, b in zip(tiles, unit.lo[:2], unit.hi[:2], strict=True)]
        count = (spans[0][1] - spans[0][0]) * (spans[1][1] - spans[1][0])
        tables = (count + 4) * 8 << 8 * volume.dtype.itemsize
        largest = tiles[0].largest * tiles[1].largest
        copies = box.voxels * (2 * volume.voxel_bytes + 1) + 3 * unit.voxels * volume.voxel_bytes
        sections = 4 * unit.shape[0] * unit.shape[1] * volume.channels * 24
        return copies + tables + sections + 80 * largest + self.mask_bytes(io, box, volume.resolution)

    def execute(self, unit: Box, io: IO) -> None:
        """Equalise one cell."""
        volume, target = self.volume(io), self.target(io)
        out = np.zeros((*unit.shape, target.channels), target.dtype, order="F")
        box = self._needed(volume, unit)
        left_out = self.excluded(io, box, volume.resolution)
        if left_out is not None and left_out[unit.slices(box.lo)].all():
            io.note(left_out=1.0)
        else:
            array = io.read(volume, box)
            self._equalise(volume, unit, array, left_out, out)
            own = array[unit.slices(box.lo)]
            if not self.zeros:
                out[own == 0] = 0
            if left_out is not None:
                out[left_out[unit.slices(box.lo)]] = 0
                io.note(left_out=float(f"{left_out[unit.slices(box.lo)].mean():.6g}"))
            io.note(**quality.figures(out), missing=missing(io, volume, unit, own))
        io.write(target, unit, out, self.compress)

    def _equalise(self, volume: Volume, unit: Box, array: Array, left_out: Array | None, out: Array) -> None:
        window = (unit.lo[0], unit.hi[0]), (unit.lo[1], unit.hi[1])
        for z, channel in np.ndindex(array.shape[2], array.shape[3]):
            section = array[:, :, z, channel]
            counted = np.ones(section.shape, bool) if self.zeros else section != 0
            if left_out is not None:
                counted &= ~left_out[:, :, z]
            out[:, :, z, channel] = equalise(section, window, self._tiles(volume), self.clip, counted)

    def _tiles(self, volume: Volume) -> tuple[Tiles, Tiles]:
        lo, hi = volume.bounds.lo, volume.bounds.hi
        return Tiles.over(lo[0], hi[0], self.tile[0]), Tiles.over(lo[1], hi[1], self.tile[1])

    def _needed(self, volume: Volume, unit: Box) -> Box:
        """The whole tiles around ``unit``."""
        spans = [
            tiles.voxels(tiles.around((lo, hi)))
            for tiles, lo, hi in zip(self._tiles(volume), unit.lo[:2], unit.hi[:2], strict=True)
        ]
        (x0, x1), (y0, y1) = spans
        return Box((x0, y0, unit.lo[2]), (x1, y1, unit.hi[2]))
