"""Pictures that lie one after the other in the plain bytes of a file, whatever the format around them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.formats.picture_heads import Size

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Planes:
    """Where the pixels are, and what the header says of them."""

    start: int
    """Byte of the first pixel."""
    shape: tuple[int, int, int, int]
    """Planes, rows, columns, values of a pixel: as they are stored, the last runs fastest."""
    dtype: np.dtype[Any]
    """In the file's byte order."""
    pixel: float | None = None
    """Size of a pixel in nm, where it is known."""
    time: str = ""
    """When it was taken, ISO 8601, where it is known."""

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"its header says {self.shape} planes, rows, columns and channels")

    @property
    def size(self) -> Size:
        """Of each plane."""
        _, rows, columns, samples = self.shape
        return Size(columns, rows, samples, self.dtype.newbyteorder("="))

    @property
    def stop(self) -> int:
        """Byte behind the last pixel."""
        return self.start + prod(self.shape) * self.dtype.itemsize

    def span(self, plane: int) -> tuple[int, int]:
        """The bytes of a plane."""
        length = prod(self.shape[1:]) * self.dtype.itemsize
        return self.start + plane * length, self.start + (plane + 1) * length

    def decode(self, data: bytes) -> Array:
        """The pixels ``[y, x, channel]`` in the bytes of one span; ValueError where there are too few."""
        start, stop = self.span(0)
        if len(data) != stop - start:
            raise ValueError(f"the picture has {len(data)} of its {stop - start} bytes; the file is cut short")
        return np.frombuffer(data, self.dtype).reshape(self.shape[1:])
