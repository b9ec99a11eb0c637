"""Tables in Parquet and in Feather (version 2, which is the file of Arrow's IPC), read part by part.

Parts are row groups and record batches. Integers stay integers whatever is missing among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats.arrow import arrow

Array = npt.NDArray[Any]
_ROW = 100  # bytes of a row, however well it is packed
MAGIC = (b"PAR1", b"ARROW1")
"""How files of either kind begin."""


class Parts:
    """The parts of the file ``file`` of ``size`` bytes, of either kind; DataError, naming ``where``, if it is none."""

    def __init__(self, file: BinaryIO, size: int, where: str) -> None:
        self._where, self._size, self._arrow = where, size, arrow()
        start = file.read(len(MAGIC[1]))
        file.seek(0)
        self._groups = start.startswith(MAGIC[0])
        try:
            ipc, parquet = self._arrow.ipc, self._arrow.parquet
            opened = self._arrow.PythonFile(file, "r")
            self._file = parquet.ParquetFile(opened, pre_buffer=False) if self._groups else ipc.open_file(opened)
        except (self._arrow.ArrowInvalid, OSError) as error:
            raise DataError(f"{where}: no table in Parquet or Feather ({error}); write it again") from error

    @cached_property
    def names(self) -> list[str]:
        """The columns."""
        return list(self._file.schema_arrow.names if self._groups else self._file.schema.names)

    def __len__(self) -> int:
        return int(self._file.num_row_groups if self._groups else self._file.num_record_batches)

    def bytes(self, part: int) -> int:
        """What a part takes once it is read, about; of Feather the whole file, which may be one part, and packed."""
        if self._groups:
            group = self._file.metadata.row_group(part)
            return int(group.total_byte_size) + _ROW * int(group.num_rows)
        return 4 * self._size

    def read(self, part: int, names: Sequence[str]) -> dict[str, Array]:
        """Some columns of a part: [n], or [n, 3] of lists of three; masked where values are missing."""
        try:
            if self._groups:
                table = self._file.read_row_group(part, columns=list(names), use_threads=False)
            else:
                table = self._arrow.Table.from_batches([self._file.get_batch(part)]).select(list(names))
        except (self._arrow.ArrowInvalid, OSError) as error:
            raise DataError(f"{self._where}: part {part} is damaged ({error}); write the file again") from error
        return {name: self._plain(table.column(name).combine_chunks(), name) for name in names}

    def _plain(self, column: Any, name: str) -> Array:
        types = self._arrow.types
        if types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type):
            return self._points(column, name)
        if not types.is_integer(column.type) and not types.is_floating(column.type):
            return np.array([None if value is None else str(value) for value in column.to_pylist()], object)
        missing = np.asarray(column.is_null())
        if types.is_integer(column.type) and missing.any():
            return np.ma.MaskedArray(column.fill_null(0).to_numpy(zero_copy_only=False), missing)
        found: Array = column.to_numpy(zero_copy_only=False)
        return found

    def _points(self, column: Any, name: str) -> Array:
        lengths = np.asarray(self._arrow.compute.list_value_length(column).fill_null(0))
        if (lengths != 3).any():
            row = int(np.flatnonzero(lengths != 3)[0]) + 1
            raise DataError(f"{self._where}: the column {name} is no place in row {row}, of {lengths[row - 1]} numbers")
        return self._plain(column.flatten(), name).reshape(-1, 3)
