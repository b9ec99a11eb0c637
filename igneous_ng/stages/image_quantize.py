"""Probabilities, such as affinities, as grey values."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.deriving import Deriving
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.stage import opt

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Quantize(Deriving, name="image quantize"):
    """Write float values of 0 to 1 as uint8: times 255, rounded to the nearest, halves up.

    Values below 0 become 0 and those above 1 become 255; how many these are is noted. A NaN is refused.
    """

    example = "./probability ./evidence --channel 1"

    channel: int | None = opt(None, "The channel to write; by default all.")

    def made(self, io: IO) -> Info:
        """The new layer; SpecError unless the source holds floats and the channel."""
        read = self.volume(io)
        if read.dtype.kind != "f":
            raise SpecError(f"{self.name}: {self.source} holds {read.dtype.name}, which needs no quantizing")
        if self.channel is not None and not 0 <= self.channel < read.channels:
            raise SpecError(f"{self.name}.channel: {self.channel}; there are 0 to {read.channels - 1}")
        channels = read.channels if self.channel is None else 1
        return self.made_as(read, np.dtype(np.uint8), channels, read.bounds)

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """A cell as read and as written, and one section in between."""
        volume = self.volume(io)
        section = unit.shape[0] * unit.shape[1] * volume.channels
        masked = self.mask_bytes(io, unit, volume.resolution)
        return unit.voxels * (3 * volume.voxel_bytes + 3 * volume.channels) + 32 * section + masked

    def execute(self, unit: Box, io: IO) -> None:
        """Round the values of one cell."""
        array = self.read(io, unit)
        if self.channel is not None:
            array = array[..., [self.channel]]
        out = np.empty(array.shape, np.uint8, order="F")
        beyond = 0
        for z in range(unit.shape[2]):
            section = array[:, :, z]
            if np.isnan(section).any():
                raise DataError(f"{self.source} mip {self.mip}: section {unit.lo[2] + z} of {unit} has a NaN; mend it")
            beyond += int(np.count_nonzero((section < 0) | (section > 1)))
            out[:, :, z] = _rounded(section)
        io.note(beyond=beyond)
        io.write(self.target(io), unit, out, self.compress)


def _rounded(values: Array) -> Array:
    """In float64, where the product of a float32 and 255 is exact."""
    rounded: Array = np.floor(np.clip(values, 0, 1).astype(np.float64) * 255 + 0.5).astype(np.uint8)
    return rounded
