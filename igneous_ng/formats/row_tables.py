"""Rows of numbers and text as Parquet files, ids of 64 bits unharmed. Same columns, same bytes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats.arrow import arrow

Array = npt.NDArray[Any]
_ROWS = 1 << 16  # of a row group
_VALUE = 80  # bytes of an object of Python's, and of the pointer to it


def pack(columns: Mapping[str, Array]) -> bytes:
    """The file that holds ``columns``, arrays of one length; those of objects hold text."""
    lib = arrow()
    fields = [lib.array(column, lib.string()) if column.dtype == object else lib.array(column)
              for column in columns.values()]  # fmt: skip
    sink = lib.BufferOutputStream()
    table = lib.table(dict(zip(columns, fields, strict=True)))
    lib.parquet.write_table(table, sink, row_group_size=_ROWS, compression="zstd", use_dictionary=False)
    return bytes(sink.getvalue())


def unpack(data: bytes, where: str, names: Collection[str] | None = None) -> dict[str, Array]:
    """The columns of a file, or those of ``names`` that it has; text as objects.

    What is null becomes 0, no text, or not a number. DataError, naming ``where``, for what is no such table.
    """
    lib = arrow()
    try:
        file = lib.parquet.ParquetFile(lib.BufferReader(data))
        wanted = [name for name in file.schema_arrow.names if names is None or name in names]
        table = file.read(columns=wanted, use_threads=False)
        return {name: _column(lib, table.column(name), f"{where}: the column {name}") for name in wanted}
    except (lib.lib.ArrowException, OSError) as error:
        raise DataError(f"{where}: not a table in Parquet ({error}); write it again") from error


def held_bytes(data: bytes, where: str) -> int:
    """The most bytes of all columns once unpacked, text as Python's, about; DataError as above."""
    lib = arrow()
    try:
        metadata = lib.parquet.read_metadata(lib.BufferReader(data))
    except (lib.lib.ArrowException, OSError) as error:
        raise DataError(f"{where}: not a table in Parquet ({error}); write it again") from error
    packed = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    return int(packed + metadata.num_rows * metadata.num_columns * _VALUE)


def _column(lib: Any, column: Any, where: str) -> Array:
    if lib.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if lib.types.is_string(column.type) or lib.types.is_large_string(column.type):
        found = np.empty(len(column), object)
        found[:] = column.fill_null("").to_pylist()
        return found
    if lib.types.is_boolean(column.type):
        return np.asarray(column.fill_null(False).to_numpy(), bool)
    if lib.types.is_integer(column.type) or lib.types.is_floating(column.type):
        nothing = float("nan") if lib.types.is_floating(column.type) else 0
        plain: Array = column.fill_null(lib.scalar(nothing, column.type)).to_numpy()
        return plain
    raise DataError(f"{where} holds {column.type}; columns hold numbers, text, or true and false")
