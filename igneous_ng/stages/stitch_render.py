"""The mosaic: any chunk of it from raw tiles, with one interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from igneous_ng.io import IO
from igneous_ng.montage import Montage
from igneous_ng.mosaics import Tiles
from igneous_ng.rendering import Rendered


@dataclass(frozen=True, kw_only=True)
class Render(Rendered, name="stitch render"):
    """Show sections as an image layer, each from its tiles, with coarser levels.

    Each voxel is interpolated once, from raw tiles, by cubic convolution. Where tiles overlap, fine detail comes from
    the tile in which a voxel lies deepest, and coarse differences are blended, so that no border is seen and nothing is
    seen twice. A voxel depends on the tiles that may touch it only, however tasks are cut.
    """

    example = "./montage ./sections --num-mips 4 -p 4"
    copies: ClassVar[int] = 3
    """A file, its pixels, and those in order."""

    def gallery(self, io: IO, montage: Montage, room: int) -> Tiles:
        """The tiles themselves."""
        return Tiles(io, montage.dtype, montage.channels, room)

    def picture_bytes(self, width: int, height: int, voxel: int) -> int:
        """All of it."""
        return width * height * voxel
