"""Where a layer holds anything: the bounding boxes of its non-empty regions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from igneous_ng.errors import SpecError
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels.components import extents
from igneous_ng.masks import Masked
from igneous_ng.stage import LayerUrl, arg, opt


@dataclass(frozen=True, kw_only=True)
class Roi(Masked, name="image roi"):
    """Find the bounding boxes of what is not empty, at a coarse mip, and write them to rois.json beside the layer.

    Voxels above --faint that touch by a face, an edge or a corner are one region. Boxes are in voxels of mip 0. What a
    mask leaves out is empty.
    """

    example = "./em --mip 3"

    layer: LayerUrl = arg("Layer to look at.")
    mip: int | None = opt(None, "Mip level to look at; the coarsest by default.")
    faint: float = opt(0.0, "Values up to this are empty.")
    dust: int = opt(10, "Leave out regions of at most so many voxels of that mip.")
    max_length: int = opt(0, "Cut boxes so that no side has more voxels of mip 0; 0 leaves them whole.")

    def check(self) -> None:
        """Numbers of voxels are not negative."""
        super().check()
        if min(self.dust, self.max_length) < 0:
            raise SpecError(f"image roi: dust {self.dust}, max_length {self.max_length}; give 0 or positive numbers")

    def home(self) -> str:
        """The layer keeps the boxes."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """The file of the boxes."""
        return (self._url,)

    def units(self, io: IO) -> Sequence[int]:
        """One: a coarse mip is small."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The whole mip, what is not empty, and its components."""
        volume = io.volume(self.layer, self._mip(io.info(self.layer)))
        masked = self.mask_bytes(io, volume.bounds, volume.resolution)
        return volume.bounds.voxels * (volume.voxel_bytes + volume.channels + 9) + masked

    def execute(self, unit: int, io: IO) -> None:
        """Find the regions."""
        info = io.info(self.layer)
        volume = io.volume(self.layer, self._mip(info))
        found, left_out = self.seen(io, info, volume.mip, volume.bounds, partial(io.read, volume))
        filled = np.any(found > self.faint, axis=3)
        if left_out is not None:
            filled &= ~left_out
        factor = vec(round(r / f) for r, f in zip(volume.resolution, info.scales[0].resolution, strict=True))
        boxes: list[str] = []
        for box, voxels in extents(filled, volume.bounds.lo):
            if voxels > self.dust:
                boxes += [str(part) for part in self._cut(box * factor & info.scales[0].bounds)]
        io.put_json(self._url, {"mip": volume.mip, "rois": boxes})
        io.note(regions=len(boxes))

    def said(self, io: IO) -> str:
        """The boxes, one a line."""
        return "\n".join((io.get_json(self._url) or {"rois": []})["rois"])

    def _cut(self, box: Box) -> Iterator[Box]:
        side: Vec3 = vec(self.max_length or n for n in box.shape)
        yield from Grid(box, side)

    def _mip(self, info: Info) -> int:
        return len(info.scales) - 1 if self.mip is None else self.mip

    @property
    def _url(self) -> str:
        return f"{self.layer}/rois.json"
