"""Arrays that lie in the plain bytes of a file, whatever the format around them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import DataError
from igneous_ng.sources.base import Index, own, reading


@dataclass(frozen=True)
class Mapped:
    """An array in the plain bytes of a file, from ``offset`` on. Mapped anew for each window."""

    name: str
    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    fortran: bool = False
    resident_bytes: int = 0

    def window(self, index: Index) -> NDArray[Any]:
        """Read only the pages of the file that the window touches."""
        with reading(self.name):
            order: Literal["F", "C"] = "F" if self.fortran else "C"
            return own(np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)[index])

    def check(self) -> None:
        """DataError where the file is shorter than its array."""
        need, size = self.offset + prod(self.shape) * self.dtype.itemsize, self.path.stat().st_size
        if size < need:
            raise DataError(f"{self.name}: the file has {size} bytes and its array needs {need}; it is cut short")
