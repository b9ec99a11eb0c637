"""Contrast: the grey values of each section are counted, then stretched to the full range, alike in all cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.deriving import Deriving, chunks, missing, need_grey, present
from igneous_ng.errors import DataError, SpecError
from igneous_ng.forging import check_dir
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.kernels import contrast, quality
from igneous_ng.kernels.contrast import Limits
from igneous_ng.masks import Masked
from igneous_ng.stage import LayerUrl, arg, opt
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_READ = 2**26  # voxels read at once; a run of chunks along x is read together up to this
_COPIES = 4  # of the voxels read held at once: chunks, the array, one section as 64-bit integers in parts, slack
_TYPE = "igneous_ng_section_counts"


@dataclass(frozen=True, kw_only=True)
class Measure(Masked, name="contrast measure"):
    """Count the grey values of each section, for `contrast apply`.

    The counts lie beside the layer, one object a section: for each channel the number of voxels of each value, as
    64-bit integers. With a coverage below 1 they are of whole chunks, chosen by a hash of their coordinates: the
    same seed gives the same counts, and some chunk of each section is read.
    """

    example = "./em --coverage 0.1"

    layer: LayerUrl = arg("Layer to measure.")
    mip: int = opt(0, "Level to read; the counts of coarser levels are cheap, but of averages.")
    coverage: float = opt(1.0, "The fraction of the chunks of each slab of sections that is read.")
    seed: int = opt(0, "Which chunks these are.")
    dir: str = opt("contrast", "Folder of the counts, inside the layer.")
    fill_missing: bool = opt(False, "Leave missing chunks out instead of failing.")

    def check(self) -> None:
        """Something is read, and the folder is one of the layer."""
        super().check()
        check_dir(self.dir, f"{self.name}.dir")
        if not 0 < self.coverage <= 1:
            raise SpecError(f"{self.name}.coverage: {self.coverage:g}; give a fraction above 0, at most 1")

    def home(self) -> str:
        """Records lie with the layer."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the counts."""
        return (self._folder(),)

    def prepare(self, io: IO) -> None:
        """Refuse to mix with counts that were made otherwise."""
        self._refuse_others(io)

    def units(self, io: IO) -> Grid:
        """Slabs: all chunks of the same sections."""
        volume = self._volume(io)
        self._refuse_others(io)
        width, height, _ = volume.bounds.shape
        return Grid(volume.bounds, (width, height, volume.chunk[2]))

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """A few copies of the largest run of chunks, and the counts of all sections."""
        volume = self._volume(io)
        read = max((box for box in _runs(volume, chunks(volume, unit))), key=lambda box: box.voxels)
        tables = unit.shape[2] * volume.channels * 8 << 8 * volume.dtype.itemsize
        masked = self.mask_bytes(io, read, volume.resolution)
        return read.voxels * (volume.voxel_bytes + 2) * _COPIES + 10 * read.voxels // read.shape[2] + tables + masked

    def execute(self, unit: Box, io: IO) -> None:
        """Count the values of the sections of one slab."""
        volume = self._volume(io)
        found = np.zeros((unit.shape[2], volume.channels, 1 << 8 * volume.dtype.itemsize), np.int64)
        wanted = contrast.sampled(chunks(volume, unit), self.coverage, self.seed)
        there = [chunk for chunk in wanted if not self.fill_missing or present(io, volume, chunk)]
        skipped = 0
        for box in _runs(volume, there) if self.mask is None else there:  # a mask leaves out whole chunks unread
            left_out = self.excluded(io, box, volume.resolution)
            if left_out is not None and left_out.all():
                skipped += box.voxels
                continue
            _count(found, io.read(volume, box), left_out)
        for z, section in enumerate(found, unit.lo[2]):
            io.put(f"{self._folder()}/{z}", section.astype("<u8").tobytes(), "gzip")
        total = int(found.sum())
        black = int(found[..., 0].sum())
        io.note(voxels=total, black=float(f"{black / max(total, 1):.6g}"), left_out=skipped)

    def finish(self, io: IO) -> None:
        """Allow `contrast apply`."""
        io.put_json(f"{self._folder()}/info", self._description(io))

    def _volume(self, io: IO) -> Volume:
        volume = io.volume(self.layer, self.mip, self.fill_missing)
        need_grey(self.name, volume)
        return volume

    def _folder(self) -> str:
        return f"{self.layer}/{self.dir}/{self.mip}"

    def _description(self, io: IO) -> dict[str, Any]:
        volume = self._volume(io)
        return {
            "@type": _TYPE,
            "data_type": volume.dtype.name,
            "num_channels": volume.channels,
            "sections": [volume.bounds.lo[2], volume.bounds.hi[2]],
            "thickness": volume.resolution[2],
            "coverage": self.coverage,
            "seed": self.seed,
            "mask": self.mask_parameters(),
        }

    def _refuse_others(self, io: IO) -> None:
        found = io.get_json(f"{self._folder()}/info")
        if found is not None and found != self._description(io):
            raise SpecError(
                f"{self._folder()}: other counts are already here, of another coverage, seed, mask or layer; "
                "give another --dir, or remove that folder"
            )


@dataclass(frozen=True, kw_only=True)
class Apply(Deriving, name="contrast apply"):
    """Stretch the grey values of each section to the full range of the new layer.

    The limits of a section, one pair a channel, are order statistics of what `contrast measure` counted. They may be
    smoothed by medians over neighbouring sections. A section has one table for its values, the same in all cells.
    Sections of nothing, or of a single value, take the limits of their neighbours in the window, or stay as they are.
    """

    example = "./em ./even --lower 0.01 --upper 0.01"

    lower: float = opt(0.01, "The fraction of the voxels of a section that may become black.")
    upper: float = opt(0.01, "The fraction of the voxels of a section that may become white.")
    zeros: bool = opt(False, "Count zeros, too; by default they are taken for what is missing.")
    window: int = opt(1, "Over how many sections, an odd number, the median of the limits is taken.")
    low: int | None = opt(None, "This value becomes black in all sections, whatever was counted.")
    high: int | None = opt(None, "This value becomes white in all sections, whatever was counted.")
    dtype: Literal["", "uint8", "uint16"] = opt("", "Data type of the new layer, by default the source's.")
    dir: str = opt("contrast", "Folder of the counts, inside the source.")
    measured: int | None = opt(None, "The level that was measured; by default the one read.")

    def check(self) -> None:
        """Something must remain between the limits."""
        super().check()
        check_dir(self.dir, f"{self.name}.dir")
        if min(self.lower, self.upper) < 0 or self.lower + self.upper >= 1:
            raise SpecError(f"{self.name}: {self.lower:g} of black and {self.upper:g} of white leave no grey")
        if self.window < 1 or self.window % 2 == 0:
            raise SpecError(f"{self.name}.window: {self.window}; give an odd number, 1 for no smoothing")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise SpecError(f"{self.name}: low {self.low} must be less than high {self.high}")
        if any(value is not None and value < 0 for value in (self.low, self.high)):
            raise SpecError(f"{self.name}: low and high are grey values, from 0 up")

    def made(self, io: IO) -> Info:
        """The new layer; SpecError unless the source was measured."""
        volume = self.volume(io)
        need_grey(self.name, volume)
        if any(value is not None and value > np.iinfo(volume.dtype).max for value in (self.low, self.high)):
            raise SpecError(f"{self.name}: {self.source} is {volume.dtype.name}, which low or high is beyond")
        self._check_counted(io, volume)
        return self.made_as(volume, np.dtype(self.dtype or volume.dtype), volume.channels, volume.bounds)

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """A few copies of a cell before and after, and the counts around it."""
        volume, new = self.volume(io), self.made(io)
        tables = (unit.shape[2] + self.window) * volume.channels * 16 << 8 * volume.dtype.itemsize
        own = unit.voxels * 3 * (volume.voxel_bytes + new.dtype.itemsize * new.channels)
        sections = 4 * unit.shape[0] * unit.shape[1] * volume.channels * 24  # looked at for quality
        return own + sections + tables + self.mask_bytes(io, unit, volume.resolution)

    def execute(self, unit: Box, io: IO) -> None:
        """Map the values of one cell."""
        volume, target = self.volume(io), self.target(io)
        out = np.zeros((*unit.shape, target.channels), target.dtype, order="F")
        left_out = self.excluded(io, unit, volume.resolution)
        if left_out is not None and left_out.all():
            io.note(left_out=1.0)
        else:
            array = io.read(volume, unit)
            for z, tables in enumerate(self._tables(io, volume, target.dtype, unit)):
                for channel, table in enumerate(tables):
                    old, new = array[:, :, z, channel].T, out[:, :, z, channel].T  # contiguous so, and 5 times as fast
                    np.take(table, old, out=new, mode="clip")
            if left_out is not None:
                out[left_out] = 0
                io.note(left_out=float(f"{left_out.mean():.6g}"))
            io.note(**quality.figures(out), missing=missing(io, volume, unit, array))
        io.write(target, unit, out, self.compress)

    def _folder(self) -> str:
        return f"{self.source}/{self.dir}/{self.mip if self.measured is None else self.measured}"

    def _check_counted(self, io: IO, volume: Volume) -> None:
        if self.low is not None and self.high is not None:
            return
        found = io.get_json(f"{self._folder()}/info")
        if found is None:
            raise SpecError(
                f"{self._folder()}: nothing was measured here; run `contrast measure` first, or give --low and --high"
            )
        shape = volume.dtype.name, volume.channels, [volume.bounds.lo[2], volume.bounds.hi[2]], volume.resolution[2]
        if (found["data_type"], found["num_channels"], found["sections"], found["thickness"]) != shape:
            raise SpecError(
                f"{self._folder()}: the counts are of {found['num_channels']} channel(s) {found['data_type']} of the "
                f"sections {found['sections']}, and mip {self.mip} has {shape[1]} of {shape[0]}, {shape[2]}; measure "
                "a level with the same sections"
            )

    def _tables(self, io: IO, volume: Volume, new: np.dtype[Any], unit: Box) -> Iterator[list[Array]]:
        """For each section of ``unit`` the table of each channel."""
        reach, (begin, end) = self.window // 2, (unit.lo[2], unit.hi[2])
        first, last = max(volume.bounds.lo[2], begin - reach), min(volume.bounds.hi[2], end + reach)
        found = [self._limits(io, volume, z) for z in range(first, last)]
        for z in range(begin, end):
            smoothed = [
                contrast.smooth([section[c] for section in found], z - first, self.window)
                for c in range(volume.channels)
            ]
            yield [contrast.table(self._fixed(pair), volume.dtype, new) for pair in smoothed]

    def _limits(self, io: IO, volume: Volume, z: int) -> list[Limits | None]:
        if self.low is not None and self.high is not None:
            return [(self.low, self.high)] * volume.channels
        stored = io.get(f"{self._folder()}/{z}")
        size = volume.channels * 8 << 8 * volume.dtype.itemsize
        if stored is None or len(stored) != size:
            raise DataError(f"{self._folder()}/{z}: the counts of this section are damaged or gone; measure again")
        sections = np.frombuffer(stored, "<i8").reshape(volume.channels, -1)
        return [contrast.limits(section, self.lower, self.upper, self.zeros) for section in sections]

    def _fixed(self, pair: Limits | None) -> Limits | None:
        """The limits of a section with those that the user fixed; None where nothing lies between them."""
        if pair is None:
            return None
        low = pair[0] if self.low is None else self.low
        high = pair[1] if self.high is None else self.high
        return (low, high) if low < high else None


def _runs(volume: Volume, boxes: list[Box]) -> Iterator[Box]:
    """``boxes``, chunks of one slab, neighbours along x joined while they are not too large."""
    joined: Box | None = None
    for box in boxes:
        if joined and _follows(joined, box) and (joined | box).voxels * volume.channels <= _READ:
            joined |= box
        else:
            if joined:
                yield joined
            joined = box
    if joined:
        yield joined


def _follows(box: Box, other: Box) -> bool:
    return box.hi[0] == other.lo[0] and (box.lo[1:], box.hi[1:]) == (other.lo[1:], other.hi[1:])


def _count(found: Array, array: Array, left_out: Array | None) -> None:
    for z, channel in np.ndindex(array.shape[2], array.shape[3]):
        values = array[:, :, z, channel]
        found[z, channel] += contrast.counts(values if left_out is None else values[~left_out[:, :, z]])
