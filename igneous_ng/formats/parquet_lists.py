"""Parquet files of others, a group of rows at a time, with lists and text."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats.arrow import arrow
from igneous_ng.formats.pieces import Lists

Array = npt.NDArray[Any]


def groups(source: str | BinaryIO, where: str) -> list[tuple[int, int]]:
    """The rows of each row group of a file, and its bytes once unpacked; DataError if it is none."""
    library = arrow()
    try:
        metadata = library.parquet.read_metadata(source)
    except (library.ArrowException, OSError) as error:
        raise DataError(f"{where}: not a Parquet file ({error}); write it again") from error
    found = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return [(int(group.num_rows), int(group.total_byte_size)) for group in found]


def names(source: str | BinaryIO, where: str) -> tuple[str, ...]:
    """The columns of a file; DataError if it is none."""
    library = arrow()
    try:
        return tuple(library.parquet.read_schema(source).names)
    except (library.ArrowException, OSError) as error:
        raise DataError(f"{where}: not a Parquet file ({error}); write it again") from error


def group(source: str | BinaryIO, number: int, names: Collection[str] | None, where: str) -> dict[str, Array | Lists]:
    """Columns of a row group, those of ``names`` that are there, or all; lists, however deep, are flat."""
    library = arrow()
    try:
        with library.parquet.ParquetFile(source, pre_buffer=False) as file:
            there = [name for name in file.schema_arrow.names if names is None or name in names]
            table = file.read_row_group(number, columns=there, use_threads=False)
    except (library.ArrowException, OSError) as error:
        raise DataError(f"{where}: not a Parquet file ({error}); write it again") from error
    return {name: _column(library, table.column(name).combine_chunks(), f"{where}, column {name}") for name in there}


def _column(library: Any, column: Any, where: str) -> Array | Lists:
    if column.null_count:
        raise DataError(f"{where}: {column.null_count} of its rows are empty; fill them, or leave them out")
    kind, depth = library.types, 0
    ends = np.arange(len(column) + 1, dtype=np.int64)
    while kind.is_list(column.type) or kind.is_large_list(column.type) or kind.is_fixed_size_list(column.type):
        if kind.is_fixed_size_list(column.type):
            ends = ends * column.type.list_size
        else:
            offsets = column.offsets.to_numpy().astype(np.int64)
            ends = (offsets - offsets[0])[ends]
        column, depth = column.flatten(), depth + 1
    values = column.to_numpy(zero_copy_only=False)
    values = values.astype(np.str_) if values.dtype == object else values
    return Lists(values, ends) if depth else values
