"""Figures of the quality of any layer, cell by cell, for layers whose units noted none."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from igneous_ng import figures
from igneous_ng.deriving import missing
from igneous_ng.errors import SpecError
from igneous_ng.figures import Figure
from igneous_ng.formats.info import IMAGE
from igneous_ng.geometry import Box, Grid, Vec3
from igneous_ng.io import IO
from igneous_ng.kernels import quality
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.volume import Volume

_COPIES = 4  # of a cell's voxels held at once: labels are sorted


@dataclass(frozen=True, kw_only=True)
class ImageMeasure(Stage, name="image measure"):
    """Note how good a layer is in each of its cells, for `trace` to compare: contrast and focus, or how labels lie.

    Of an image: the share of black voxels, contrast, focus, and by how much thin dark structures (membranes) stand
    out. Of labels: the share of background, how many there are, the median size, and how many leave no cell. Nothing
    but records is written. What `synth volume`, `image create` and `contrast` make has such figures already, of cells
    of theirs.
    """

    example = "./em -p 4"

    makes_data = False
    quality = MappingProxyType(
        {**figures.IMAGE, **figures.LABELS, "missing": Figure("share of voxels in missing chunks")}
    )

    layer: LayerUrl = arg("Layer to measure.")
    mip: int = opt(0, "Level to read.")
    cell: Vec3 = opt((256, 256, 64), "Voxels of a cell; figures are of whole cells.")
    roi: Box | None = opt(None, "Only cells that touch this box.")

    def check(self) -> None:
        """Cells hold something."""
        if min(self.cell) < 1:
            raise SpecError(f"{self.name}.cell: {self.cell}; each side must be at least 1 voxel")

    def home(self) -> str:
        """Records lie with the layer."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """None: nothing but records is written."""
        return ()

    def units(self, io: IO) -> Grid:
        """The cells."""
        return Grid(self._volume(io).bounds, self.cell, self.roi)

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The voxels, and what is looked at of them."""
        volume = self._volume(io)
        return _COPIES * unit.voxels * volume.voxel_bytes + quality.figures_bytes((*unit.shape, volume.channels))

    def execute(self, unit: Box, io: IO) -> None:
        """Measure one cell."""
        volume = self._volume(io)
        array = io.read(volume, unit)
        if volume.info.kind == IMAGE:
            io.note(**quality.figures(array))
        else:
            io.note(**quality.label_figures(array[..., 0]))
        io.note(missing=missing(io, volume, unit, array))
        io.note_place(unit, volume.resolution)

    def _volume(self, io: IO) -> Volume:
        return io.volume(self.layer, self.mip, fill_missing=True)
