"""One column as a file of NumPy (``.npy``, version 1.0), of which any range is read alone."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
HEAD = 128
"""Bytes of the header of any file of one column, as NumPy writes it."""


def pack(column: Array) -> bytes:
    """The file that holds ``column`` [n]."""
    sink = io.BytesIO()
    np.lib.format.write_array(sink, np.ascontiguousarray(column), (1, 0), allow_pickle=False)
    return sink.getvalue()


@dataclass(frozen=True)
class Column:
    """A file of ``size`` values, of which ``read`` gives the bytes ``[start, stop)``."""

    read: Callable[[int, int], bytes]
    dtype: np.dtype[Any]
    size: int

    def __getitem__(self, rows: slice) -> Array:
        """The values of a range."""
        start, stop, _ = rows.indices(self.size)
        wide = self.dtype.itemsize
        return np.frombuffer(self.read(HEAD + start * wide, HEAD + max(start, stop) * wide), self.dtype)

    def __len__(self) -> int:
        return self.size


def column(read: Callable[[int, int], bytes], where: str) -> Column:
    """The file of which ``read`` gives bytes; DataError, naming ``where``, if it is none."""
    return Column(read, *_header(read(0, HEAD), where))


def mapped(path: str) -> Array:
    """The column in a local file, mapped into memory; DataError if it is none."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - opening is most of what a query takes
            dtype, size = _header(file.read(HEAD), path)
            found: Array = np.memmap(file, dtype, "r", HEAD, (size,)) if size else np.empty(0, dtype)
            return np.asarray(found)  # slices of the subclass cost more than reading them
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a column ({error}); make it again") from error


def _header(head: bytes, where: str) -> tuple[np.dtype[Any], int]:
    file = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if version == (1, 0) and len(shape) == 1 and file.tell() == HEAD:
            return dtype, int(shape[0])
    except ValueError:
        pass
    raise DataError(f"{where}: not a column; make it again")
