"""Image pyramids: several coarser levels in one pass, each exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from igneous_ng import imaging, passes
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import settings
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.masks import Masked
from igneous_ng.passes import Pass
from igneous_ng.stage import LayerUrl, Stage, arg, opt, sampled
from igneous_ng.store import Compression


@dataclass(frozen=True, kw_only=True)
class Downsample(Masked, name="image downsample", version=2):
    """Add coarser mip levels to an image or a segmentation.

    A coarse voxel covers the fine voxels under it, counted from voxel 0 of the data set, so levels lie
    exactly over each other for any offset; at the border it takes those that exist. Averages of all levels are the
    exact means of the voxels read, rounded once; modes are taken from the level below. Where a task for all levels
    would take very long, or more than memory, the command makes as many as it can in a first pass, and the others in
    passes that go on from its exact sums. The levels of a pass are shown to readers when all of them are written. What
    a mask leaves out of the level read is pooled as zeros; --sparse pools as if it were not there.
    """

    example = "./em --num-mips 3 -p 4"

    layer: LayerUrl = arg("Layer to extend.")
    mip: int = opt(0, "Level to read.")
    num_mips: int = opt(1, "How many levels to make above it: in one pass, or in several where memory is short.")
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
    keep_sums: bool = opt(False, "Leave the exact sums of the coarsest level beside the layer, for a later pass.")
    from_sums: bool = opt(
        False, "Begin from the sums that an earlier pass left of the level read, not from its voxels."
    )

    def check(self) -> None:
        """Something must shrink, and nothing grow."""
        super().check()
        imaging.check_pooling(self.name, self.factor, self.method, self.sparse)
        if self.num_mips < 1 or self.mip < 0:
            raise SpecError(f"image downsample: {self.num_mips} mips from mip {self.mip}; ask for 1 or more, from 0 up")
        settings.parse(self.settings)
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

    def places(self, io: IO) -> tuple[str, ...]:
        """The new levels, and the sums."""
        made = self._pass(io.info(self.layer))
        sums = (f"{passes.sums_folder(self.layer)}/{self.mip + self.num_mips}",) if self.keep_sums else ()
        return (*(f"{self.layer}/{scale.key}" for scale in made.scales[1:]), *sums)

    def prepare(self, io: IO) -> None:
        """Refuse what cannot be made; the new levels are published only at the end."""
        made = self._pass(io.info(self.layer))
        if self.from_sums and not io.exists(self._done_url(self.mip)):
            raise DataError(
                f"{passes.sums_folder(self.layer)}: no sums of mip {self.mip} are here; run `image downsample` with "
                "--keep-sums up to that level first, or leave --from-sums out"
            )
        if self.keep_sums:
            sums = made.sums(io, self.num_mips)
            io.create_layer(sums.path, sums.info)

    def units(self, io: IO) -> Grid:
        """Cells of the coarsest new level."""
        return self._pass(io.info(self.layer)).units(self.roi)

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """A few copies of what one cell reads."""
        return self._peak(self._pass(io.info(self.layer)), unit, io)

    def execute(self, unit: Box, io: IO) -> None:
        """Read the fine voxels under one cell; pool and write each coarser level."""
        made = self._pass(io.info(self.layer))
        if self.from_sums:
            made.make(io, unit, imaging.reader(io, made.sums(io, 0)), self.compress)
            return
        volume = io.volume(self.layer, self.mip, self.fill_missing, made.info)
        read = imaging.reader(io, volume)
        made.make(io, unit, lambda box: self.seen(io, made.info, self.mip, box, read)[0], self.compress)

    def finish(self, io: IO) -> None:
        """Show the new levels."""
        io.edit_info(self.layer, *self._pass(io.info(self.layer)).scales[1:])
        if self.keep_sums:
            io.put_json(self._done_url(self.mip + self.num_mips), {})

    def spent(self, io: IO) -> tuple[str, ...]:
        """The sums, once nothing goes on from them."""
        return (passes.sums_folder(self.layer),) if self.from_sums and not self.keep_sums else ()

    def steps(self, io: IO) -> Iterator[Stage]:
        """As many levels at once as a task can make, then the others likewise."""
        asked, info = [self], io.info(self.layer)
        while (count := asked[-1]._fitting(info, io)) < asked[-1].num_mips:
            rest = asked.pop()
            asked += rest._first(count, info), rest._later(count, info)
            info = asked[-2]._pass(info).info
        yield from self._over_roi(asked, info)

    def _fitting(self, info: Info, io: IO) -> int:
        """How many levels a task can make that is neither long nor large; 1 where it cannot make even that."""
        for count in range(self.num_mips, 1, -1):
            first = self._first(count, info)
            made = first._pass(info)
            units = sampled(made.units())
            short = all(made.source(unit).voxels <= passes.LARGEST_TASK for unit in units)
            if short and max(self._peak(made, unit, io) for unit in units) <= self.memory:
                return count
        return 1

    def _first(self, count: int, info: Info) -> Downsample:
        """This request up to ``count`` levels."""
        if count == self.num_mips:
            return self
        return replace(self, num_mips=count, encoding=self.encoding[:count], keep_sums=self._summed(info))

    def _later(self, count: int, info: Info) -> Downsample:
        """This request from ``count`` levels on."""
        return replace(
            self,
            mip=self.mip + count,
            num_mips=self.num_mips - count,
            encoding=self.encoding[count:] or self.encoding[-1:],
            from_sums=self._summed(info),
            **Masked.NONE,
        )

    def _over_roi(self, asked: list[Downsample], info: Info) -> list[Downsample]:
        """Each pass where it touches the region, or where the pass after it reads."""
        if self.roi is None:
            return asked
        found, read = list[Downsample](), None
        for one in reversed(asked):
            made = one._pass(info)
            roi = self.roi // vec(f ** (one.mip - self.mip) for f in self.factor)
            roi = roi | read * vec(f**one.num_mips for f in self.factor) if read else roi
            units = made.units(roi)
            read = made.source(units[0]) | made.source(units[-1]) if len(units) else None
            found.append(replace(one, roi=roi))
        return found[::-1]

    def _peak(self, made: Pass, unit: Box, io: IO) -> int:
        return made.peak_bytes(unit) + self.mask_bytes(io, made.first(unit), made.scales[0].resolution)

    def _summed(self, info: Info) -> bool:
        """Whether sums say more than the voxels."""
        return imaging.method_of(info, self.method) == "average"

    def _done_url(self, mip: int) -> str:
        return f"{passes.sums_folder(self.layer)}/{mip}/done.json"

    def _pass(self, info: Info) -> Pass:
        """The layer's info with the new levels; levels of the same place that are there stand."""
        have = len(info.scales)
        if self.mip >= have:
            raise SpecError(
                f"{self.layer} has no mip {self.mip}; there are mips 0 to {have - 1}, of which --mip is to be read"
            )
        if (self.keep_sums or self.from_sums) and not self._summed(info):
            raise SpecError("image downsample: sums are of averages; leave --keep-sums and --from-sums out")
        encodings = tuple(imaging.encoding_of(self.encoding, level) for level in range(self.num_mips))
        info = imaging.raised(info, self.mip, self.factor, encodings, settings.parse(self.settings), self.layer)
        method = imaging.method_of(info, self.method)
        made = Pass(
            layer=self.layer,
            info=info,
            mip=self.mip,
            count=self.num_mips,
            factor=self.factor,
            method=method,
            sparse=self.sparse,
            base=False,
            memory=self.room,
            from_sums=self.from_sums,
            keep_sums=self.keep_sums,
        )
        return made.in_shards(have, imaging.packing_of(self.name, self.compress)) if self.sharded else made
