"""What stages share that make a new layer of one level, voxel by voxel, from a level of another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import figures
from igneous_ng.errors import SpecError
from igneous_ng.formats import settings
from igneous_ng.formats.info import IMAGE, Info, Scale, chunk_box, chunk_name, chunk_range, new_info, round_to_chunks
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.masks import Masked
from igneous_ng.stage import LayerUrl, arg, opt
from igneous_ng.store import Compression
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Deriving(Masked):
    """A new layer over the bounds of the level read, in cells of whole chunks; what a mask leaves out is zero."""

    quality = figures.IMAGE

    source: LayerUrl = arg("Layer to read.")
    layer: LayerUrl = arg("Layer to create.")
    mip: int = opt(0, "Level to read; it becomes level 0 of the new layer.")
    encoding: str = opt("", "Encoding of the new layer; by default the source's where it can hold the values, or raw.")
    settings: tuple[str, ...] = opt((), "Settings of the encoding, such as jpeg_quality=85; if it has them.")
    compress: Compression = opt("gzip", "How chunks are stored; none for readers that cannot undo it.")
    fill_missing: bool = opt(False, "Read missing chunks as zeros instead of failing.")
    cell: Vec3 = opt((1024, 1024, 64), "Voxels per task, rounded up to whole chunks.")

    def check(self) -> None:
        """Cells and settings are real, and the source is not written over."""
        super().check()
        settings.parse(self.settings)
        if min(self.cell) < 1:
            raise SpecError(f"{self.name}: a cell of {self.cell} holds nothing; each side must be at least 1")
        if self.source == self.layer:
            raise SpecError(f"{self.name}: {self.layer} cannot be read and created at once; name a new layer")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def prepare(self, io: IO) -> None:
        """Write the layer's info; another layer in its place is refused."""
        io.create_layer(self.layer, self.made(io))

    def units(self, io: IO) -> Grid:
        """Cells of whole chunks."""
        scale = self.made(io).scales[0]
        return Grid(scale.bounds, round_to_chunks(scale, self.cell))

    def volume(self, io: IO) -> Volume:
        """The level that is read."""
        return io.volume(self.source, self.mip, self.fill_missing)

    def read(self, io: IO, box: Box) -> Array:
        """The voxels of ``box`` of the level that is read, zeros where a mask leaves them out."""
        volume = self.volume(io)
        return self.seen(io, volume.info, volume.mip, box, partial(io.read, volume))[0]

    def target(self, io: IO) -> Volume:
        """The level that is written."""
        return io.volume(self.layer, 0, info=self.made(io))

    def made(self, io: IO) -> Info:
        """The new layer."""
        read = self.volume(io)
        return self.made_as(read, read.dtype, read.channels, read.bounds)

    def made_as(self, read: Volume, dtype: np.dtype[Any], channels: int, bounds: Box, kind: str | None = None) -> Info:
        """The new layer, of voxels and bounds that may not be the source's, of ``kind`` where given."""
        fields: dict[str, Any] = {
            "kind": kind or (read.info.kind if dtype == read.dtype else IMAGE),
            "dtype": dtype.name,
            "channels": channels,
            "bounds": bounds,
            "resolution": read.resolution,
            "chunk": read.chunk,
        }
        encoding = self.encoding or _kept(read.scale, fields)
        old = read.scale.parameters if encoding == read.scale.encoding else {}
        parameters = {**old, **settings.fitting(settings.parse(self.settings), encoding)}
        return new_info(encoding=encoding, parameters=parameters, **fields)


def _kept(scale: Scale, fields: dict[str, Any]) -> str:
    """The encoding of ``scale``, or raw where that cannot hold a layer of ``fields``, or is one that is only read."""
    try:
        new_info(encoding=scale.encoding, parameters=scale.parameters, **fields)
    except SpecError:
        return "raw"
    return scale.encoding


def need_grey(stage: str, volume: Volume) -> None:
    """SpecError unless the voxels are grey values of 8 or 16 bits."""
    if volume.dtype not in (np.uint8, np.uint16):
        raise SpecError(
            f"{stage}: {volume.path} holds {volume.dtype.name} and contrast is of uint8 or uint16; "
            "give another layer, or convert it first"
        )


def missing(io: IO, volume: Volume, box: Box, array: Array) -> float:
    """The fraction of ``box``, read as ``array``, whose chunks are not there; of shards nothing is known: 0."""
    if not volume.fill_missing:
        return 0.0
    absent = 0
    for chunk in chunks(volume, box):
        part = chunk & box
        if not array[part.slices(box.lo)].any() and not present(io, volume, chunk):
            absent += part.voxels
    return float(f"{absent / box.voxels:.6g}")


def present(io: IO, volume: Volume, chunk: Box) -> bool:
    """Whether a chunk is stored; of those in shards it is taken for granted."""
    return volume.scale.sharded or io.exists(f"{volume.path}/{chunk_name(volume.scale, chunk)}")


def chunks(volume: Volume, box: Box) -> list[Box]:
    """The chunks that ``box`` touches, whole."""
    cells = chunk_range(volume.scale, box)
    ranges = [range(a, b) for a, b in zip(cells.lo, cells.hi, strict=True)]
    return [chunk_box(volume.scale, vec((x, y, z))) for z, y, x in product(*reversed(ranges))]
