"""A median filter of sections."""

from dataclasses import dataclass

import numpy as np

from igneous_ng.deriving import Deriving
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.stage import opt


@dataclass(frozen=True, kw_only=True)
class Median(Deriving, name="image median"):
    """Replace each voxel by the median of those around it in its section.

    Takes out single bright and dark voxels and keeps edges. At the borders of the layer the outermost voxels are
    counted again.
    """

    radius: int = opt(1, "Voxels to each side: 1 looks at 3 x 3.")

    def check(self) -> None:
        """The window is one."""
        super().check()
        if not 1 <= self.radius <= 50:
            raise SpecError(f"{self.name}.radius: {self.radius}; give 1 to 50")

    def made(self, io: IO) -> Info:
        """The new layer; SpecError where the source holds labels, which have no order."""
        if io.info(self.source).kind != "image":
            raise SpecError(f"{self.name}: {self.source} is a segmentation; give an image")
        return super().made(io)

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The cell and its margin as read and as filtered, and what is written."""
        volume, around = self.volume(io), self.around(unit, io)
        return volume.voxel_bytes * (3 * around.voxels + 2 * unit.voxels) + self.mask_bytes(
            io, around, volume.resolution
        )

    def around(self, unit: Box, io: IO) -> Box:
        """What must be read for a cell: so that no cell's border shows."""
        margin = (self.radius, self.radius, 0)
        return unit.grow(margin, margin) & self.volume(io).bounds

    def execute(self, unit: Box, io: IO) -> None:
        """Filter one cell."""
        from scipy.ndimage import median_filter

        around, side = self.around(unit, io), 2 * self.radius + 1
        inside = unit.slices(around.lo)
        voxels = self.read(io, around)
        filtered = median_filter(voxels, size=(side, side, 1, 1), mode="nearest")[inside]
        io.note(changed=int(np.count_nonzero(filtered != voxels[inside])))
        io.write(self.target(io), unit, filtered, self.compress)
