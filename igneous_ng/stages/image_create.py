"""Ingest: a new Precomputed layer from array files and picture stacks."""

from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from igneous_ng import figures, imaging
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import settings
from igneous_ng.formats.info import ENCODINGS, IMAGE, SEGMENTATION, Info, new_info, round_to_chunks
from igneous_ng.formats.sharding import spec_for
from igneous_ng.geometry import Box, Grid, Vec3, Vec3f, vec
from igneous_ng.io import IO
from igneous_ng.kernels import quality
from igneous_ng.kernels.casting import exactly
from igneous_ng.sources import Source, open_source
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.store import Compression

_COPIES = 4  # of a cell's voxels held at once: the window, its copy in the layer's type, coded chunks, slack


@dataclass(frozen=True, kw_only=True)
class Create(Stage, name="image create"):
    """Create a layer from npy, npz, HDF5, TIFF, MRC, DM3, DM4, FIB-SEM dat, or a folder or glob of pictures.

    Workers read only their own window of the source, so all of them must see it under the same path.
    """

    example = "em.npy ./em --axes zyx --resolution 8,8,40 -p 2"
    quality = figures.IMAGE

    source: LayerUrl = arg("File, folder or glob to read.")
    layer: LayerUrl = arg("Layer to create.")
    resolution: Vec3f = opt((1.0, 1.0, 1.0), "Size of a voxel in nm, x,y,z; may be fractional.")
    offset: Vec3 = opt((0, 0, 0), "Position of the first voxel, in voxels; may be negative.")
    kind: Literal["image", "segmentation"] = opt("image", "What the values are: intensities or labels.")
    axes: str = opt("", "Order of the stored axes, such as zyx or xyzc; pictures are zyx or zyxc by default.")
    dataset: str = opt("", "Which array, in a file of several (npz, HDF5).")
    dtype: str = opt("", "Data type of the layer, by default the source's; values must fit exactly.")
    encoding: str = opt("", "raw, jpeg, png, compressed_segmentation or compresso; by default what suits the kind.")
    settings: tuple[str, ...] = opt((), "Settings of the encoding, such as jpeg_quality=85; the encoding must have it.")
    compress: Compression = opt("gzip", "How chunks are stored; none for readers that cannot undo it.")
    sharded: bool = opt(False, "Put chunks together in shards, as large as memory allows; each is a task.")
    chunk: Vec3 = opt((64, 64, 64), "Shape of a chunk in voxels.")
    cell: Vec3 = opt((256, 256, 256), "Voxels per task, rounded up to whole chunks; a shard is a task of its own.")

    def check(self) -> None:
        """The source lies on a file system; cells are real."""
        if not self.source.startswith("file://"):
            raise SpecError(f"image create reads files, and {self.source} is none; copy it to a disk first")
        if min(self.cell) < 1:
            raise SpecError(f"image create: a cell of {self.cell} holds nothing; each side must be at least 1")
        if self.sharded:
            imaging.packing_of(self.name, self.compress)
        self._new_info(Box((0, 0, 0), (1, 1, 1)), self.dtype or "uint8", 1, check_only=True)

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def prepare(self, io: IO) -> None:
        """Write the layer's info; another layer in its place is refused."""
        self._open().check()
        io.create_layer(self.layer, self._info())

    def units(self, io: IO) -> Grid:
        """Cells of whole chunks, or shards."""
        scale = self._info().scales[0]
        return Grid(scale.bounds, scale.granularity if self.sharded else round_to_chunks(scale, self.cell))

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """A few copies of the cell, and what the source keeps in memory."""
        source = self._open()
        copies = unit.voxels * _voxel_bytes(source, self._info()) * _COPIES
        return copies + source.resident_bytes + self._looked_at(unit.shape, source)

    def execute(self, unit: Box, io: IO) -> None:
        """Copy one window of the source into its chunks."""
        info = self._info()
        found = io.info(self.layer).scales[0].bounds
        if found != info.scales[0].bounds:
            raise DataError(
                f"{self.source} now covers {info.scales[0].bounds} and {self.layer} was planned over {found}: "
                "the source was changed meanwhile; restore it, or create the layer anew"
            )
        box = unit.shift(vec(-o for o in self.offset))
        window = self._open().read(box)
        io.saw(self.source, box, window)
        try:
            voxels = exactly(window, info.dtype)
        except DataError as error:
            raise DataError(f"{self.source}: {error} (in {unit}); give another --dtype") from None
        io.write(io.volume(self.layer, 0, info=info), unit, voxels, self.compress)
        if self.kind == IMAGE:
            io.note(**quality.figures(voxels))

    def _open(self) -> Source:
        return open_source(self.source.removeprefix("file://"), axes=self.axes, dataset=self.dataset)

    def _info(self) -> Info:
        source = self._open()
        bounds = Box.sized(self.offset, source.shape)
        info = self._new_info(bounds, self.dtype or source.dtype.name, source.channels)
        return self._in_shards(info, source) if self.sharded else info

    def _in_shards(self, info: Info, source: Source) -> Info:
        """``info`` with as few shards as memory allows, at least of a chunk each."""
        scale, voxel = info.scales[0], _voxel_bytes(source, info)
        taken = voxel * _COPIES + self._looked_at((1, 1, 1), source)  # of deep shards less, of which few sections tell
        room = (self.memory - source.resident_bytes) * voxel // taken
        limit = max(room, voxel * prod(self.chunk))
        packing = imaging.packing_of(self.name, self.compress)
        spec = spec_for(scale.bounds.shape, self.chunk, voxel, limit, packing)
        return replace(info, scales=(scale.with_sharding(spec),))

    def _looked_at(self, shape: Vec3, source: Source) -> int:
        """Bytes that figures of quality take, which only images have."""
        return quality.figures_bytes((*shape, source.channels)) if self.kind == IMAGE else 0

    def _new_info(self, bounds: Box, dtype: str, channels: int, check_only: bool = False) -> Info:
        labels = self.kind == SEGMENTATION
        default = "compressed_segmentation" if labels and dtype in ("uint32", "uint64") else "raw"
        encoding = self.encoding or default
        if check_only and not self.dtype:  # the source's own type is known only when it is opened
            encoding, dtype = _possible(encoding)
        return new_info(
            kind=SEGMENTATION if labels else IMAGE,
            dtype=dtype,
            channels=channels,
            bounds=bounds,
            resolution=self.resolution,
            chunk=self.chunk,
            encoding=encoding,
            parameters=settings.parse(self.settings),
        )


def _voxel_bytes(source: Source, info: Info) -> int:
    """Bytes of one voxel in the wider of both data types."""
    return source.channels * max(source.dtype.itemsize, info.dtype.itemsize)


def _possible(encoding: str) -> tuple[str, str]:
    """``encoding`` with a data type that it can hold, so that an unknown encoding is refused by itself."""
    return encoding, ENCODINGS.get(encoding, ("uint8",))[0]
