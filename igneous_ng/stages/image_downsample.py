"""Image pyramids: each level is the one below it, pooled, several levels in one pass."""

from dataclasses import dataclass, replace
from math import lcm, prod
from typing import Literal

from igneous_ng.errors import SpecError
from igneous_ng.formats.info import SEGMENTATION, Info, Scale, check_encoding, coarser
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels.pooling import pool
from igneous_ng.stage import LayerUrl, Stage, arg, opt

_TASK_VOXELS = 2**26  # of the level read; larger tasks save little and are harder to balance
_COPIES = 4  # of the voxels read held at once: chunks as stored, the array, pooling's own, coarser levels


@dataclass(frozen=True, kw_only=True)
class Downsample(Stage, name="image downsample"):
    """Add coarser mip levels to an image or a segmentation.

    A coarse voxel covers the fine voxels under it, counted from voxel 0 of the data set, so levels lie
    exactly over each other for any offset; at the border it takes those that exist. Each level is pooled
    from the one below it. New levels are shown to readers when all of them are written.
    """

    layer: LayerUrl = arg("Layer to extend.")
    mip: int = opt(0, "Level to read.")
    num_mips: int = opt(1, "How many levels to make above it, in one pass.")
    factor: Vec3 = opt((2, 2, 1), "Shrink each axis by this much from level to level.")
    method: Literal["auto", "average", "mode", "min", "max", "stride"] = opt(
        "auto", "How to pool; auto averages images and takes the most common label of segmentations."
    )
    sparse: bool = opt(False, "Ignore zeros where a block holds anything else.")
    encoding: str = opt("", "Encoding of the new levels; by default that of the level read.")
    compress: Literal["gzip", "none"] = opt("gzip", "How chunks are stored; none for readers that cannot undo gzip.")
    fill_missing: bool = opt(False, "Read missing chunks as zeros instead of failing.")
    roi: Box | None = opt(None, "Only make what touches this box, in voxels of the level read.")

    def check(self) -> None:
        """Something must shrink, and nothing grow."""
        if min(self.factor) < 1 or max(self.factor) == 1:
            raise SpecError(f"image downsample: factor {self.factor} must shrink an axis and grow none")
        if self.num_mips < 1 or self.mip < 0:
            raise SpecError(f"image downsample: {self.num_mips} mips from mip {self.mip}; ask for 1 or more, from 0 up")

    def home(self) -> str:
        """Records lie with the layer."""
        return self.layer

    def prepare(self, io: IO) -> None:
        """Refuse what cannot be made; the new levels are published only at the end."""
        self._planned(io)

    def units(self, io: IO) -> Grid:
        """Cells of the coarsest new level."""
        info = self._planned(io)
        top = info.scales[self.mip + self.num_mips]
        total = self._total()
        return Grid(top.bounds, self._cell(info), self.roi // total if self.roi else None)

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """A few copies of what one cell reads."""
        info = self._planned(io)
        return unit.voxels * self._per_voxel(info) * _COPIES

    def execute(self, unit: Box, io: IO) -> None:
        """Read the fine voxels under one cell; pool and write each coarser level."""
        info = self._planned(io)
        owned = [self._owned(info, unit, level) for level in range(self.num_mips + 1)]
        needed = self._needed(info, owned)
        array = io.read(io.volume(self.layer, self.mip, self.fill_missing, info), needed[0])
        method = self._method(info)
        for level in range(1, self.num_mips + 1):
            window = (needed[level] * self.factor) & info.scales[self.mip + level - 1].bounds
            fine = array[window.slices(needed[level - 1].lo)]
            array, _ = pool(fine, window.lo, self.factor, method, self.sparse)
            if owned[level].voxels:
                part = array[owned[level].slices(needed[level].lo)]
                io.write(io.volume(self.layer, self.mip + level, info=info), owned[level], part, self.compress)

    def finish(self, io: IO) -> None:
        """Show the new levels."""
        io.edit_info(self.layer, *self._planned(io).scales[self.mip + 1 :])

    def _method(self, info: Info) -> Literal["average", "mode", "min", "max", "stride"]:
        if self.method == "auto":
            return "mode" if info.kind == SEGMENTATION else "average"
        return self.method

    def _planned(self, io: IO) -> Info:
        """The layer's info with the new levels; levels of the same place that are there stand."""
        info = io.info(self.layer)
        io.volume(self.layer, self.mip, info=info)  # names the levels where this one is missing
        for level in range(self.mip + 1, self.mip + self.num_mips + 1):
            new = coarser(info.scales[level - 1], self.factor, encoding=self.encoding or None)
            check_encoding(new.encoding, info.dtype.name, info.channels, new.chunk)
            if level >= len(info.scales):
                info = replace(info, scales=(*info.scales, _plain(new)))
            else:
                self._check_same(info.scales[level], new, level)
        return info

    def _check_same(self, old: Scale, new: Scale, level: int) -> None:
        if (old.bounds, old.resolution) != (new.bounds, new.resolution) or old.sharded:
            raise SpecError(
                f"{self.layer}: mip {level} is there already, {old.resolution} nm over {old.bounds}"
                f"{', sharded' if old.sharded else ''}; by {self.factor} it would be {new.resolution} nm over "
                f"{new.bounds}. Use that factor, or another --mip"
            )

    def _total(self, levels: int | None = None) -> Vec3:
        """The factor between the level read and the one ``levels`` above it."""
        count = self.num_mips if levels is None else levels
        return vec(f**count for f in self.factor)

    def _per_voxel(self, info: Info) -> int:
        """Bytes read for one voxel of the coarsest level."""
        fx, fy, fz = self._total()
        return fx * fy * fz * info.dtype.itemsize * info.channels

    def _cell(self, info: Info) -> Vec3:
        """Chunks of the coarsest level, doubled along the shorter sides while memory allows."""
        top = info.scales[self.mip + self.num_mips]
        made = info.scales[self.mip + 1 : self.mip + self.num_mips + 1]
        cell = [lcm(*(scale.chunk[axis] for scale in made)) for axis in range(3)]
        limit = min(_TASK_VOXELS * info.dtype.itemsize * info.channels, self.memory // _COPIES)
        budget = limit // self._per_voxel(info)
        while True:
            wider = [axis for axis in range(3) if cell[axis] < top.bounds.shape[axis]]
            if not wider or 2 * prod(cell) > budget:
                return vec(cell)
            shortest = min(wider, key=lambda axis: cell[axis] * self._total()[axis])
            cell[shortest] *= 2

    def _owned(self, info: Info, unit: Box, level: int) -> Box:
        """The whole chunks of a level that the task of ``unit`` writes; they tile the level."""
        top, scale = info.scales[self.mip + self.num_mips], info.scales[self.mip + level]
        ratio = self._total(self.num_mips - level)
        index = unit.shift(vec(-o for o in top.bounds.lo)) * ratio
        cell = vec(c * r for c, r in zip(self._cell(info), ratio, strict=True))
        lo = vec(a + o for a, o in zip(index.lo, scale.bounds.lo, strict=True))
        return Box.sized(lo, cell) & scale.bounds

    def _needed(self, info: Info, owned: list[Box]) -> list[Box]:
        """What must be known of each level: its own part, and what the level above is pooled from."""
        needed = [owned[-1]]
        for level in range(self.num_mips - 1, -1, -1):
            below = (needed[0] * self.factor) & info.scales[self.mip + level].bounds
            own = owned[level] if level else below
            needed.insert(0, below | own if own.voxels else below)
        return needed


def _plain(scale: Scale) -> Scale:
    """A new level of chunks in single objects."""
    return replace(scale, extra={k: v for k, v in scale.extra.items() if k != "sharding"})
