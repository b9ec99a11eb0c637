"""Tables of annotations as other programs write them, text or arrays of numpy, and what their columns mean.

A point has the columns x, y, z; a line x1, y1, z1, x2, y2, z2; a box lo_x, lo_y, lo_z, hi_x, hi_y, hi_z; an ellipsoid
x, y, z, rx, ry, rz; a polyline points: a list of x y z x y z ... Lists stand in one cell of a text, parted by
blanks, semicolons or bars; in arrays NAME holds those of all rows, NAME_ends where those of each row end. Integers
above 2**53 pass unharmed.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.annotations import Kind
from igneous_ng.formats.pieces import Lists

Array = npt.NDArray[Any]
Columns = Mapping[str, Array | Lists]
PLACES: dict[Kind, tuple[str, ...]] = {
    "line": ("x1", "y1", "z1", "x2", "y2", "z2"),
    "box": ("lo_x", "lo_y", "lo_z", "hi_x", "hi_y", "hi_z"),
    "ellipsoid": ("x", "y", "z", "rx", "ry", "rz"),
    "polyline": ("points",),
    "point": ("x", "y", "z"),
}
"""The columns that say where an annotation is, those first that say more."""
_APART = re.compile(r"[\s;|]+")
_INTEGER = re.compile(r"[+-]?\d+")


def kind_of(names: Collection[str], where: str) -> Kind:
    """What the columns of a table describe; SpecError if nothing."""
    for kind, needed in PLACES.items():
        if set(needed) <= set(names):
            return kind
    asked = "; ".join(f"{kind}: {', '.join(needed)}" for kind, needed in PLACES.items())
    raise SpecError(f"{where}: its columns {sorted(names)} say no places; annotations have ({asked})")


def places(columns: Columns, kind: Kind, where: str) -> tuple[Array, Array]:
    """The points, float64 [m, 3], and where those of each annotation begin and the last end, int64 [n + 1]."""
    if missing := [name for name in PLACES[kind] if name not in columns]:
        raise SpecError(f"{where}: a {kind} has the column {missing[0]}; there are {', '.join(sorted(columns))}")
    if kind == "polyline":
        return _lines(columns["points"], where)
    found = [columns[name] for name in PLACES[kind]]
    if any(isinstance(column, Lists) or column.ndim != 1 or column.dtype.kind not in "iuf" for column in found):
        raise DataError(f"{where}: the columns {', '.join(PLACES[kind])} are to hold one number each")
    points = np.stack(found, axis=1).astype(np.float64).reshape(-1, 3)  # type: ignore[arg-type]
    return points, np.arange(len(found[0]) + 1, dtype=np.int64) * (len(found) // 3)


def _lines(column: Array | Lists, where: str) -> tuple[Array, Array]:
    if not isinstance(column, Lists) or (column.counts % 3).any() or (column.counts == 0).any():
        raise DataError(f"{where}: the column points is to hold a list of x y z x y z ... of each polyline")
    return column.values.astype(np.float64).reshape(-1, 3), column.ends // 3


def parse_text(data: bytes, where: str, lists: Collection[str]) -> dict[str, Array | Lists]:
    """The columns of a text with commas, whose first line names them; those in ``lists`` may hold several numbers."""
    try:
        head, *rows = [row for row in csv.reader(data.decode().splitlines(), skipinitialspace=True) if row] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: not a table of text ({error})") from error
    bad = next((i for i, row in enumerate(rows) if len(row) != len(head)), None)
    if bad is not None:
        raise DataError(f"{where}: row {bad + 1} has {len(rows[bad])} cells, and the first line {len(head)}")
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(head)
    found: dict[str, Array | Lists] = {}
    for name, column in zip(head, cells, strict=True):
        found[name.strip()] = _listed(column, f"{where}, column {name}") if name in lists else _plain(column)
    return found


def _listed(cells: Collection[str], where: str) -> Lists:
    parts = [[part for part in _APART.split(cell.strip(" []()")) if part] for cell in cells]
    values = _plain([part for row in parts for part in row])
    if values.dtype.kind not in "iuf":
        raise DataError(f"{where}: lists of numbers, parted by blanks, are expected")
    counts = np.array([len(row) for row in parts], np.int64)
    return Lists(values, np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]))


def _plain(cells: Collection[str]) -> Array:
    """Numbers where all cells are such, text else."""
    if all(_INTEGER.fullmatch(cell.strip()) for cell in cells):
        numbers = [int(cell) for cell in cells]
        return np.array(numbers, np.uint64 if max(numbers, default=0) >= 1 << 63 else np.int64)
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        return np.array(cells, np.str_)


def parse_arrays(data: bytes, where: str) -> dict[str, Array | Lists]:
    """The columns of an .npz file."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{where}: not a file of arrays of numpy ({error}); write it again") from error
    ends = {name: arrays.pop(f"{name}_ends") for name in list(arrays) if f"{name}_ends" in arrays}
    found: dict[str, Array | Lists] = dict(arrays)
    for name, last in ends.items():
        values = arrays[name].reshape(-1)
        factor = arrays[name].shape[1] if arrays[name].ndim == 2 else 1
        starts = np.concatenate([np.zeros(1, np.int64), last.astype(np.int64) * factor])
        if (np.diff(starts) < 0).any() or starts[-1] != len(values):
            raise DataError(f"{where}: {name}_ends do not say where the {len(values)} numbers of {name} end")
        found[name] = Lists(values, starts)
    if len({len(column) for column in found.values()}) > 1:
        raise DataError(f"{where}: columns of different lengths; give each row a value, or NAME_ends for lists")
    return found
