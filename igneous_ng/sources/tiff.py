"""TIFF files of one page or many: rows y, columns x, samples c; pages along z."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import DataError
from igneous_ng.geometry import ceil_div
from igneous_ng.sources.base import Index, native, reading
from igneous_ng.sources.mapped import Mapped

if TYPE_CHECKING:
    import tifffile


@dataclass(frozen=True)
class Pages:
    """A stack whose pages lie apart or compressed: of each page, only the strips or tiles in the window."""

    name: str
    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    resident_bytes: int

    def window(self, index: Index) -> NDArray[Any]:
        """[z, y, x] or [z, y, x, c]."""
        z, rows, columns = index[:3]
        samples = self.shape[3] if len(self.shape) == 4 else 1
        sides = [s.stop - s.start for s in (z, rows, columns)]
        found = np.empty((*sides, samples), native(self.dtype))
        with _opened(self.path) as tif:
            for k in range(z.start, z.stop):
                self._read_page(self._page(tif, k), found[k - z.start], (rows, columns))
        return found if len(self.shape) == 4 else found[..., 0]

    def check(self) -> None:
        """DataError where a page differs from the first in size or dtype."""
        with _opened(self.path) as tif:
            for k in range(self.shape[0]):
                self._page(tif, k)

    def _page(self, tif: tifffile.TiffFile, k: int) -> tifffile.TiffPage:
        page = tif.pages[k]
        if page.shape != self.shape[1:] or page.dtype != self.dtype:
            raise DataError(
                f"{self.name}: page {k} is {page.shape} of {page.dtype} and the first is {self.shape[1:]} of "
                f"{self.dtype}; a stack needs pages that are alike"
            )
        return page  # type: ignore[return-value]  # frames appear only where they are asked for

    def _read_page(self, page: tifffile.TiffPage, found: NDArray[Any], at: tuple[slice, slice]) -> None:
        """Fill ``found`` [y, x, c] from the segments that ``at`` touches."""
        height, width = page.chunks[:2]
        across = ceil_div(page.imagewidth, width)
        rows, columns = at
        wanted = product(
            range(rows.start // height, ceil_div(rows.stop, height)),
            range(columns.start // width, ceil_div(columns.stop, width)),
        )
        for r, c in wanted:
            segment = self._segment(page, r * across + c)
            y, x = r * height, c * width
            y0, y1 = max(y, rows.start), min(y + height, rows.stop)
            x0, x1 = max(x, columns.start), min(x + width, columns.stop)
            part = segment[y0 - y : y1 - y, x0 - x : x1 - x] if segment is not None else page.nodata
            found[y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start] = part

    def _segment(self, page: tifffile.TiffPage, i: int) -> NDArray[Any] | None:
        """One strip or tile [y, x, c]; None where the file leaves it out."""
        size = page.databytecounts[i]
        if size == 0:
            return None
        file = page.parent.filehandle
        file.seek(page.dataoffsets[i])
        data = file.read(size)
        if len(data) < size:
            raise DataError(f"{self.name}: page {page.index} is cut short; bring the whole file")
        decoded = page.decode(data, i, jpegtables=page.jpegtables)[0]
        return None if decoded is None else decoded[0]


def open_tiff(path: Path) -> Mapped | Pages:
    """A stack [z, y, x], or [z, y, x, c] where pixels have several samples. Mapped where it can be."""
    with _opened(path) as tif:
        if not tif.series:
            raise DataError(f"{path}: it begins like a TIFF and has no page; bring the whole file")
        if len(tif.series) != 1:
            shapes = ", ".join(str(series.shape) for series in tif.series[:5])
            raise DataError(f"{path}: its pages form {len(tif.series)} stacks ({shapes}); split the file")
        series, first = tif.series[0], tif.pages.first
        shape = _stack_shape(path, series, first)
        if series.dataoffset is not None:
            dtype = series.dtype.newbyteorder(tif.byteorder)
            mapped = Mapped(str(path), path, shape, dtype, series.dataoffset)
            mapped.check()
            return mapped
        if len(tif.pages) != shape[0]:
            raise DataError(f"{path}: {len(tif.pages)} pages for {shape[0]} sections; save one page a section")
        segment = prod(first.chunks) * series.dtype.itemsize
        return Pages(str(path), path, shape, series.dtype, segment)


def _stack_shape(path: Path, series: tifffile.TiffPageSeries, first: tifffile.TiffPage) -> tuple[int, ...]:
    """[z, y, x] or [z, y, x, c]; DataError where pages mean something else."""
    axes, sizes = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    if first.photometric == 3:  # the TIFF 6.0 number of "palette colour"
        raise DataError(f"{path}: its pixels are numbers of palette colours; convert it to gray or RGB")
    if first.shaped[:2] != (1, 1):
        raise DataError(f"{path}: its samples lie in separate planes ({axes}); save them pixel by pixel")
    samples = sizes[-1] if axes.endswith("S") else 1
    *leading, rows, columns = sizes[:-1] if axes.endswith("S") else sizes
    if sum(n > 1 for n in leading) > 1:
        raise DataError(f"{path}: its pages run along several axes ({axes}: {sizes}); save one stack a file")
    stack = prod(leading), rows, columns
    return stack if samples == 1 else (*stack, samples)


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    import tifffile

    wrong = (
        RuntimeError,
        LookupError,
        TypeError,
        struct.error,
        zlib.error,
    )  # what damaged files raise in there
    with reading(str(path), *wrong), tifffile.TiffFile(path, is_ome=False) as tif:
        yield tif
