"""Filling a box, or what a mask leaves out, with one value."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import levels
from igneous_ng.deriving import chunks
from igneous_ng.errors import SpecError
from igneous_ng.formats import codecs
from igneous_ng.formats.info import Info, is_aligned, round_to_chunks
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.levels import Levels, Unit
from igneous_ng.masks import Masked
from igneous_ng.stage import LayerUrl, arg, opt
from igneous_ng.store import Compression
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_COPIES = 4  # of a chunk held at once


@dataclass(frozen=True, kw_only=True)
class Blackout(Masked, name="image blackout"):
    """Fill a box with a value, or with a mask what it leaves out, in place.

    Every voxel that the box touches is filled, at each level named. A chunk that is filled in part is read and
    written back by the one task that owns it; other chunks of the layer are not touched.
    """

    example = "./em --box 0:256,0:256,10:12 --mips 0,1"

    layer: LayerUrl = arg("Layer to change.")
    box: Box | None = opt(None, "What to fill, in voxels of level 0; with a mask, by default all.")
    mips: tuple[int, ...] = opt((0,), "Levels to change; the others keep what they show.")
    value: int = opt(0, "The value to fill with.")
    compress: Compression = opt("gzip", "How chunks are stored; none for readers that cannot undo it.")
    fill_missing: bool = opt(False, "Take missing chunks for zeros where a part of one is filled.")

    def check(self) -> None:
        """There is something to fill."""
        super().check()
        levels.checked(self.name, self.mips)
        if self.box is None and self.mask is None:
            raise SpecError(f"{self.name}: neither --box nor --mask; say what to fill")

    def home(self) -> str:
        """Records lie with the layer."""
        return self.layer

    def units(self, io: IO) -> Levels:
        """Cells of whole chunks that the box touches, at each level."""
        info = io.info(self.layer)
        mips = levels.checked(self.name, self.mips, len(info.scales))
        levels.refuse_shards(self.name, self.layer, info, mips)
        self._check_exact(info, mips)
        grids = {}
        for mip in mips:
            scale, box = info.scales[mip], self._box(info, mip)
            if box.voxels:
                grids[mip] = Grid(scale.bounds, round_to_chunks(scale, (256, 256, 256)), box)
        return Levels(grids)

    def peak_bytes(self, unit: Unit, io: IO) -> int:
        """A chunk, and the mask of a cell."""
        volume = io.volume(self.layer, unit[0])
        chunk = chunks(volume, unit[1])[0]
        return chunk.voxels * (volume.voxel_bytes * _COPIES + 2) + self.mask_bytes(io, unit[1], volume.resolution)

    def execute(self, unit: Unit, io: IO) -> None:
        """Fill what is to be filled of the chunks of one cell."""
        mip, cell = unit
        volume = io.volume(self.layer, mip, self.fill_missing)
        box = self._box(volume.info, mip) & cell
        left_out = self.excluded(io, box, volume.resolution)
        where = np.broadcast_to(np.True_, box.shape) if left_out is None else left_out
        filled = 0
        for chunk in chunks(volume, box):
            part = chunk & box
            filled += self._fill(io, volume, chunk, part, where[part.slices(box.lo)])
        io.note(mip=mip, filled=filled)

    def _fill(self, io: IO, volume: Volume, chunk: Box, part: Box, where: Array) -> int:
        """Fill ``part`` of ``chunk`` where it is asked for; how many voxels that were."""
        count = int(np.count_nonzero(where))
        if not count:
            return 0
        if count == chunk.voxels:
            voxels = np.full((*chunk.shape, volume.channels), self.value, volume.dtype, order="F")
        else:
            voxels = io.read(volume, chunk)
            voxels[part.slices(chunk.lo)][where] = self.value
        io.write(volume, chunk, voxels, self.compress)
        return count

    def _box(self, info: Info, mip: int) -> Box:
        finest, scale = info.scales[0], info.scales[mip]
        if self.box is None:
            return scale.bounds
        asked = self.box & finest.bounds
        return levels.touched(asked, finest, scale) & scale.bounds if asked.voxels else asked

    def _check_exact(self, info: Info, mips: tuple[int, ...]) -> None:
        """What is not filled must not change."""
        if info.dtype.kind != "f" and not np.iinfo(info.dtype).min <= self.value <= np.iinfo(info.dtype).max:
            raise SpecError(f"{self.name}.value: {info.dtype.name} cannot be {self.value}")
        for mip in mips:
            scale = info.scales[mip]
            whole = self.mask is None and is_aligned(scale, self._box(info, mip))
            if not whole and not codecs.exact(scale.encoding, scale.parameters):
                raise SpecError(
                    f"{self.name}: chunks of {scale.encoding}, filled in part, would change beyond it; "
                    f"give a box of whole chunks of {scale.chunk} at mip {mip}"
                )
