"""Tables as Parquet files that any program reads: the same arrays give the same bytes, by the same pyarrow.

Columns are one-dimensional arrays of numbers. Files have groups of rows, packed by zstd, with the least and the
greatest value of each column of each group, by which groups are left out that a query does not want; checksums of
pages, which are compared whenever they are read; and no dictionaries, which are of no use for ids.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats.arrow import arrow

Array = npt.NDArray[Any]
GROUP = 1 << 16
"""Rows of a group, as a rule."""
FINE = 1 << 14
"""Rows of a group where few are asked for of many columns, as of places: twice as fast, and 1 % larger."""
_LEVEL = 3  # of zstd
Ranges = Mapping[str, tuple[int, int]]
"""The least and the greatest value that is wanted, by column."""


def write(columns: Mapping[str, Array], group: int = GROUP) -> bytes:
    """The file that holds ``columns``, all of one length, in groups of so many rows."""
    library = arrow()
    table = library.table({name: library.array(np.ascontiguousarray(column)) for name, column in columns.items()})
    sink = BytesIO()
    library.parquet.write_table(
        table, sink, row_group_size=group, compression="zstd", compression_level=_LEVEL, use_dictionary=False,
        write_statistics=True, store_schema=False, write_page_checksum=True,
    )  # fmt: skip
    return sink.getvalue()


def read(
    source: str | BinaryIO, names: Collection[str] | None = None, ranges: Ranges | None = None, where: str = ""
) -> dict[str, Array]:
    """The columns called ``names``, or all, of the rows whose values lie in ``ranges``, in the order of the file.

    ``source`` is a path or an open file. Groups in which no row can lie in ``ranges`` are not read. DataError, naming
    ``where``, if it is no such file.
    """
    library = arrow()
    try:
        with library.parquet.ParquetFile(source, pre_buffer=False, page_checksum_verification=True) as file:
            return _rows(file, names, ranges or {})
    except (library.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{where or source}: not such a table ({error}); make it again") from error


def rows(source: str | BinaryIO, where: str = "") -> int:
    """How many rows a file has."""
    library = arrow()
    try:
        return int(library.parquet.read_metadata(source).num_rows)
    except (library.ArrowException, OSError) as error:
        raise DataError(f"{where or source}: not such a table ({error}); make it again") from error


def _rows(file: Any, names: Collection[str] | None, ranges: Ranges) -> dict[str, Array]:
    schema = file.schema_arrow
    wanted = list(schema.names if names is None else names)
    groups = [group for group in range(file.num_row_groups) if _meets(file.metadata.row_group(group), schema, ranges)]
    needed = list(dict.fromkeys([*wanted, *ranges]))
    table = file.read_row_groups(groups, columns=needed, use_threads=False)
    found = {name: table.column(name).to_numpy() for name in needed}
    if ranges and table.num_rows:
        inside = np.logical_and.reduce([(found[name] >= lo) & (found[name] <= hi) for name, (lo, hi) in ranges.items()])
        if not inside.all():
            return {name: found[name][inside] for name in wanted}
    return {name: found[name] for name in wanted}


def _meets(group: Any, schema: Any, ranges: Ranges) -> bool:
    """Whether a row of a group can lie in ``ranges``."""
    for name, (lo, hi) in ranges.items():
        found = group.column(schema.get_field_index(name)).statistics
        if found is not None and found.has_min_max and (found.max < lo or found.min > hi):
            return False
    return True
