"""Tables of points with whatever else they say: text with commas whose first line names columns, or arrays of numpy.

Points are float64 ``[n, 3]``, x, y, z.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
_AXES = ("x", "y", "z")
_DIGITS = 6  # after the point: a millionth of a voxel, or of a nm


@dataclass(frozen=True)
class Table:
    """``points``, and the ``rows`` of text that they came from, the names of the columns first; an array has none."""

    points: Array
    rows: tuple[tuple[str, ...], ...] = ()


def decode(data: bytes, where: str) -> Table:
    """The table of a file; DataError, naming ``where``, and the line, if it is none."""
    return _from_array(data, where) if data.startswith(b"\x93NUMPY") else _from_text(data, where)


def encode(table: Table) -> bytes:
    """The file of a table: with the text of its rows, but for its points."""
    file = io.BytesIO()
    if not table.rows:
        np.save(file, table.points)
        return file.getvalue()
    head, *rows = table.rows
    at = [head.index(axis) for axis in _AXES]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for row, point in zip(rows, table.points.tolist(), strict=True):
        cells = list(row)
        for column, value in zip(at, point, strict=True):
            cells[column] = repr(round(value, _DIGITS))
        writer.writerow(cells)
    return text.getvalue().encode()


def _from_array(data: bytes, where: str) -> Table:
    try:
        points = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{where}: not an array of numpy ({error}); write it again") from error
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "iuf":
        raise DataError(f"{where}: an array {points.shape} of {points.dtype}; points are numbers [n, 3]")
    return Table(points.astype(np.float64))


def _from_text(data: bytes, where: str) -> Table:
    try:
        rows = [tuple(cell.strip() for cell in row) for row in csv.reader(data.decode().splitlines()) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: not a table of text ({error})") from error
    head = rows[0] if rows else ()
    if any(head.count(axis) != 1 for axis in _AXES):
        raise DataError(f"{where}: the first line names the columns x, y and z, once each; it has {list(head)}")
    at, points = [head.index(axis) for axis in _AXES], np.zeros((len(rows) - 1, 3))
    for number, row in enumerate(rows[1:]):
        try:
            if len(row) != len(head):
                raise ValueError(f"{len(row)} columns and not {len(head)}")
            points[number] = [float(row[column]) for column in at]
        except ValueError as error:
            raise DataError(f"{where}: row {number + 1}, {list(row)}, is no point ({error})") from error
    return Table(points, tuple(rows))
