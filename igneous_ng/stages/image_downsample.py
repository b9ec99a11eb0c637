"""Image pyramids: several coarser levels in one pass, each exact."""

from dataclasses import dataclass
from typing import Literal

from igneous_ng import imaging
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Grid, Vec3
from igneous_ng.imaging import Pass
from igneous_ng.io import IO
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.store import Compression


@dataclass(frozen=True, kw_only=True)
class Downsample(Stage, name="image downsample", version=2):
    """Add coarser mip levels to an image or a segmentation.

    A coarse voxel covers the fine voxels under it, counted from voxel 0 of the data set, so levels lie
    exactly over each other for any offset; at the border it takes those that exist. Averages of all levels of
    one pass are the exact means of the voxels read, rounded once; modes are taken from the level below. New
    levels are shown to readers when all of them are written.
    """

    layer: LayerUrl = arg("Layer to extend.")
    mip: int = opt(0, "Level to read.")
    num_mips: int = opt(1, "How many levels to make above it, in one pass.")
    factor: Vec3 = opt((2, 2, 1), "Shrink each axis by this much from level to level.")
    method: Literal["auto", "average", "mode", "min", "max", "stride"] = opt(
        "auto", "How to pool; auto averages images and takes the most common label of segmentations."
    )
    sparse: bool = opt(False, "Ignore zeros where a block holds anything else.")
    encoding: tuple[str, ...] = opt(
        (), "Encodings of the new levels in order, the last one of all above; by default that of the level read."
    )
    settings: tuple[str, ...] = opt(
        (), "Settings of encodings, such as jpeg_quality=85; for each level whose encoding has it."
    )
    compress: Compression = opt("gzip", "How chunks are stored; none for readers that cannot undo it.")
    sharded: bool = opt(False, "Put the chunks of the new levels together in shards, as large as memory allows.")
    fill_missing: bool = opt(False, "Read missing chunks as zeros instead of failing; the record counts them.")
    roi: Box | None = opt(None, "Only make what touches this box, in voxels of the level read.")

    def check(self) -> None:
        """Something must shrink, and nothing grow."""
        imaging.check_pooling(self.name, self.factor, self.method, self.sparse)
        if self.num_mips < 1 or self.mip < 0:
            raise SpecError(f"image downsample: {self.num_mips} mips from mip {self.mip}; ask for 1 or more, from 0 up")
        imaging.settings_of(self.settings)
        if self.sharded:
            imaging.packing_of(self.name, self.compress)
        if len(self.encoding) > self.num_mips:
            raise SpecError(
                f"image downsample: {len(self.encoding)} encodings for {self.num_mips} new levels; "
                "name at most one for each"
            )

    def home(self) -> str:
        """Records lie with the layer."""
        return self.layer

    def prepare(self, io: IO) -> None:
        """Refuse what cannot be made; the new levels are published only at the end."""
        self._pass(io)

    def units(self, io: IO) -> Grid:
        """Cells of the coarsest new level."""
        return self._pass(io).units(self.roi)

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """A few copies of what one cell reads."""
        return self._pass(io).peak_bytes(unit)

    def execute(self, unit: Box, io: IO) -> None:
        """Read the fine voxels under one cell; pool and write each coarser level."""
        made = self._pass(io)
        volume = io.volume(self.layer, self.mip, self.fill_missing, made.info)
        made.make(io, unit, imaging.reader(io, volume), self.compress)

    def finish(self, io: IO) -> None:
        """Show the new levels."""
        io.edit_info(self.layer, *self._pass(io).scales[1:])

    def _pass(self, io: IO) -> Pass:
        """The layer's info with the new levels; levels of the same place that are there stand."""
        info = io.info(self.layer)
        have = len(info.scales)
        io.volume(self.layer, self.mip, info=info)  # names the levels where this one is missing
        encodings = tuple(imaging.encoding_of(self.encoding, level) for level in range(self.num_mips))
        info = imaging.raised(info, self.mip, self.factor, encodings, imaging.settings_of(self.settings), self.layer)
        method = imaging.method_of(info, self.method)
        made = Pass(
            self.layer, info, self.mip, self.num_mips, self.factor, method, self.sparse, base=False, memory=self.memory
        )
        return made.in_shards(have, imaging.packing_of(self.name, self.compress)) if self.sharded else made
