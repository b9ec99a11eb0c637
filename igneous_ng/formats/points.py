"""Tables of points: text with commas, in nm."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
POINT = np.dtype([("at", "<f8", 3), ("label", "<u8"), ("type", "<u1")])
"""A point: where it is, x, y, z; the object that is meant, 0 for whatever is there; and the type that it gets."""


def parse(data: bytes, where: str) -> Array:
    """The :data:`POINT` rows of a table; DataError, naming ``where`` and the line, for another file.

    The first line names the columns: x, y and z, and if there are such, label and type (0 to 255).
    """
    try:
        rows = csv.DictReader(data.decode().splitlines(), skipinitialspace=True)
        names = set(rows.fieldnames or ())
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not a table of text ({error})") from error
    if not {"x", "y", "z"} <= names <= {"x", "y", "z", "label", "type"}:
        raise DataError(f"{where}: the first line names the columns x, y, z and perhaps label, type; it has {names}")
    found = []
    for row in rows:
        try:
            at = (float(row["x"]), float(row["y"]), float(row["z"]))
            found.append((at, int(row.get("label") or 0), int(row.get("type") or 0)))
            np.array(found[-1:], POINT)  # refuses what is out of range
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{where}, line {rows.line_num}: {row} is no point in nm ({error})") from error
    points = np.array(found, POINT)
    if not np.isfinite(points["at"]).all():
        raise DataError(f"{where}: a point at no place (nan or infinite); remove it")
    return points


def encode(points: Array) -> bytes:
    """The table of :data:`POINT` rows; places to 1/1000 nm."""
    lines = ["x,y,z,label,type"]
    for (x, y, z), label, kind in points.tolist():
        lines.append(f"{x:.3f},{y:.3f},{z:.3f},{label},{kind}")
    return ("\n".join(lines) + "\n").encode()
