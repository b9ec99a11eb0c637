"""Cut-outs of layers as files of other programs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from igneous_ng import imaging
from igneous_ng.errors import SpecError
from igneous_ng.formats import arrays
from igneous_ng.formats.ome_zarr import Image
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.masks import Masked
from igneous_ng.stage import LayerUrl, arg, opt
from igneous_ng.volume import Volume

_SMALL = 100_000  # bytes of metadata, and of what packs
_COPIES = 6  # of the voxels read held at once: chunks as stored, decoded, the array, turned, as bytes, packed


@dataclass(frozen=True, kw_only=True)
class Export(Masked, name="image export"):
    """Write a part of a level as a TIFF stack, an HDF5 file, an npy file or an OME-Zarr.

    Axes are z, y, x; c is first in an OME-Zarr, and last elsewhere if there are several channels. TIFF sections and
    OME-Zarr chunks are written by many tasks, HDF5 and npy files by one. Whatever is at DEST stays. What a mask leaves
    out is written as zeros.
    """

    example = "./em em.tif --roi 0:512,0:512,0:64"

    layer: LayerUrl = arg("Layer to read.")
    dest: LayerUrl = arg("File (hdf5, npy) or folder (tiff, ome-zarr) to write.")
    format: Literal["tiff", "hdf5", "npy", "ome-zarr-0.4", "ome-zarr-0.5"] = opt("tiff", "What to write.")
    mip: int = opt(0, "Level to read.")
    roi: Box | None = opt(None, "Only this box, in voxels of the level; by default all.")
    fill_missing: bool = opt(False, "Read missing chunks as zeros instead of failing; the record counts them.")

    def check(self) -> None:
        """A result needs a place of its own."""
        super().check()
        if self.dest == self.layer or self.dest.startswith(f"{self.layer}/"):
            raise SpecError(f"image export: {self.dest} lies in the layer {self.layer}; name another place")
        if self.mip < 0:
            raise SpecError(f"image export: mip {self.mip}; levels count from 0 up")

    def home(self) -> str:
        """Records lie with the layer, for a file has no room for them."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """What is written."""
        return (self.dest,)

    def prepare(self, io: IO) -> None:
        """Refuse to write over what is there."""
        self._bounds(self._volume(io))
        if io.exists(self.dest) or io.list(self.dest):
            raise SpecError(f"image export: {self.dest} is there already; remove it, or name another place")

    def units(self, io: IO) -> Grid:
        """Slabs of sections, cells of chunks, or all at once."""
        volume = self._volume(io)
        bounds = self._bounds(volume)
        if self.format in ("hdf5", "npy"):
            return Grid(bounds, bounds.shape)
        if self.format != "tiff":
            return Grid(bounds, volume.chunk)
        depth = volume.chunk[2]
        while (
            depth > 1 and bounds.shape[0] * bounds.shape[1] * depth * volume.voxel_bytes * _COPIES + _SMALL > self.room
        ):
            depth = (depth + 1) // 2
        return Grid(bounds, (bounds.shape[0], bounds.shape[1], depth))

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """A few copies of what one task reads."""
        volume = self._volume(io)
        return _SMALL + unit.voxels * volume.voxel_bytes * _COPIES + self.mask_bytes(io, unit, volume.resolution)

    def execute(self, unit: Box, io: IO) -> None:
        """Read a box and write it."""
        volume = self._volume(io)
        voxels, _ = self.seen(io, volume.info, volume.mip, unit, imaging.reader(io, volume))
        for name, data in self._objects(volume, unit, voxels):
            io.put(f"{self.dest}{name}", data)

    def finish(self, io: IO) -> None:
        """Write what says what the array is."""
        volume = self._volume(io)
        if self.format.startswith("ome-zarr"):
            for name, value in self._image(volume).objects().items():
                io.put_json(f"{self.dest}/{name}", value)
        elif self.format != "hdf5":
            about = arrays.described(volume.channels, volume.resolution, self._bounds(volume).lo)
            io.put_json(f"{self.dest}.json", about)

    def _objects(self, volume: Volume, unit: Box, voxels: npt.NDArray[Any]) -> Iterator[tuple[str, bytes]]:
        """The names, below or after DEST, and the bytes that one task writes."""
        if self.format == "npy":
            yield "", arrays.npy(voxels)
        elif self.format == "hdf5":
            yield "", arrays.hdf5(voxels, volume.resolution, unit.lo)
        elif self.format == "tiff":
            for z in range(unit.shape[2]):
                section = voxels[:, :, z : z + 1]
                yield f"/{self._section(volume, unit.lo[2] + z)}.tif", arrays.tiff(section, volume.resolution)
        else:
            image = self._image(volume)
            yield f"/{image.chunk_name(unit.lo)}", image.encode(voxels)

    def _section(self, volume: Volume, z: int) -> str:
        """Sections are numbered from 0, with as many digits as the last one needs."""
        bounds = self._bounds(volume)
        return str(z - bounds.lo[2]).zfill(len(str(bounds.shape[2] - 1)))

    def _image(self, volume: Volume) -> Image:
        return Image(
            version="0.4" if self.format == "ome-zarr-0.4" else "0.5",
            bounds=self._bounds(volume),
            channels=volume.channels,
            dtype=volume.dtype,
            resolution=volume.resolution,
            chunk=volume.chunk,
        )

    def _volume(self, io: IO) -> Volume:
        return io.volume(self.layer, self.mip, self.fill_missing)

    def _bounds(self, volume: Volume) -> Box:
        part = self.roi & volume.bounds if self.roi else volume.bounds
        if not part.voxels:
            raise SpecError(f"image export: {self.roi} has no part of {self.layer} mip {self.mip}, {volume.bounds}")
        return part
