"""Arrays that lie in the plain bytes of a file, whatever the format around them."""

from __future__ import annotations

from dataclasses import dataclass
from io import FileIO
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import DataError
from igneous_ng.sources.base import Index, native, own, reading

_SURPLUS = 4  # as many columns may be read for one that is wanted
_BUFFER = 1 << 19  # bytes of lines that are read at once: they stay in the cache of the processor


@dataclass(frozen=True)
class Mapped:
    """An array in the plain bytes of a file, from ``offset`` on. Opened anew for each window."""

    name: str
    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    fortran: bool = False
    resident_bytes: int = 0

    def window(self, index: Index) -> NDArray[Any]:
        """Read only the part of the file that the window touches, or little more."""
        with reading(self.name):
            window = self._read(self.shape[::-1], index[::-1]).T if self.fortran else self._read(self.shape, index)
            return window.astype(native(self.dtype), order="K", copy=False)

    def _read(self, shape: tuple[int, ...], index: Index) -> NDArray[Any]:
        """The window of an array in C order. Reading lines whole spares the faults of mapped pages, which cost more."""
        columns, wanted = shape[-1], range(*index[-1].indices(shape[-1]))
        if len(shape) < 2 or not wanted or columns > _SURPLUS * len(wanted):
            return own(np.memmap(self.path, self.dtype, "r", self.offset, shape)[index])
        ranges = [range(*part.indices(size)) for part, size in zip(index, shape, strict=True)]
        out = np.empty([len(part) for part in ranges], self.dtype)
        lines = np.empty((max(1, _BUFFER // (columns * self.dtype.itemsize)), columns), self.dtype)
        with self.path.open("rb", buffering=0) as file:
            for outer in product(*(enumerate(part) for part in ranges[:-2])):
                target = out[tuple(place for place, _ in outer)]
                first = int(np.ravel_multi_index([n for _, n in outer], shape[:-2])) * shape[-2] if outer else 0
                for low in range(0, len(target), len(lines)):
                    part = target[low : low + len(lines)]
                    start = (first + ranges[-2].start + low) * columns + wanted.start
                    part[:] = self._filled(lines[: len(part)], file, start, len(wanted))
        return out

    def _filled(self, lines: NDArray[Any], file: FileIO, start: int, width: int) -> NDArray[Any]:
        """The first ``width`` elements of lines of the file, from element ``start`` on."""
        elements = (len(lines) - 1) * lines.shape[1] + width  # not the whole last line, for the file may end there
        file.seek(self.offset + start * self.dtype.itemsize)
        rest: Any = memoryview(lines.reshape(-1)[:elements].view(np.uint8).data)
        while rest:
            got = file.readinto(rest)
            if not got:
                raise EOFError("the file ends inside its array")
            rest = rest[got:]
        return lines[:, :width]

    def check(self) -> None:
        """DataError where the file is shorter than its array."""
        need, size = self.offset + prod(self.shape) * self.dtype.itemsize, self.path.stat().st_size
        if size < need:
            raise DataError(f"{self.name}: the file has {size} bytes and its array needs {need}; it is cut short")


@dataclass(frozen=True, kw_only=True)
class Labelled(Mapped):
    """A mapped array whose format names its axes."""

    axes: str
