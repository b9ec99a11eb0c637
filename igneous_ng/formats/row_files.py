"""Rows of a table as files: text with commas whose first line names the columns, JSON, a list of objects, or Parquet.

What is read is columns by name: lists, or arrays. Whole numbers are read as such, of any size; in JSON those of 64 bits
are written as text, for most programs round them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats import row_tables

Array = npt.NDArray[Any]
SUFFIXES = (".csv", ".json", ".parquet")
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}
_TEXT = 60  # bytes held per byte of text: Python's own strings and numbers


def decode(data: bytes, name: str, types: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The columns of a file; ``name`` tells by its end what it is.

    Text becomes what ``types`` says of its column, an empty cell of numbers not a number, 0 or false. Without ``types``
    it becomes whole numbers, or numbers, where all cells of a column are. DataError, naming column and row, where it
    cannot.
    """
    if name.endswith(".parquet"):
        return dict(row_tables.unpack(data, name))
    if not name.endswith(SUFFIXES):
        raise DataError(f"{name}: rows are in a file that ends in {', '.join(SUFFIXES)}")
    try:
        cells = _csv(data) if name.endswith(".csv") else _json(data)
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise DataError(f"{name}: not a table of rows ({error}); mend it") from error
    typed = _guessed(cells) if types is None else types
    return {key: _values(values, typed.get(key, "string"), f"{name}: column {key}") for key, values in cells.items()}


def held_bytes(data: bytes, name: str) -> int:
    """The most bytes that :func:`decode` holds, about, ``data`` included."""
    if name.endswith(".parquet"):
        return len(data) + 3 * row_tables.held_bytes(data, name)  # as read, and arranged
    return len(data) * _TEXT


def encode(columns: Mapping[str, Array], suffix: str) -> bytes:
    """The file of ``columns`` whose name ends in ``suffix``."""
    if suffix == ".parquet":
        return row_tables.pack(columns)
    if suffix == ".json":
        listed = [_plain(column) for column in columns.values()]
        rows = [json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*listed, strict=True)]
        return ("[\n" + ",\n".join(rows) + "\n]\n").encode() if rows else b"[]\n"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*map(_cells, columns.values()), strict=True))
    return text.getvalue().encode()


def _csv(data: bytes) -> dict[str, list[Any]]:
    head, *rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")) if row] or [[]]
    head = [name.strip() for name in head]
    if not head or len(set(head)) != len(head):
        raise ValueError(f"its first line must name the columns, each once, and is {head}")
    for number, row in enumerate(rows):
        if len(row) != len(head):
            raise ValueError(f"row {number} has {len(row)} cells, and there are {len(head)} columns")
    return {name: [row[at] for row in rows] for at, name in enumerate(head)}


def _json(data: bytes) -> dict[str, list[Any]]:
    rows = json.loads(data)
    if not isinstance(rows, list):
        raise TypeError("it is a list of objects, one a row")
    names = list(rows[0]) if rows else []
    for number, row in enumerate(rows):
        if row.keys() != set(names):
            raise ValueError(f"row {number} has {list(row)}, and the first has {names}")
    return {name: [row[name] for row in rows] for name in names}


def _guessed(cells: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    return {name: next(kind for kind in ("int64", "float64", "string") if _all(values, kind))
            for name, values in cells.items()}  # fmt: skip


def _all(values: Sequence[Any], kind: str) -> bool:
    """Whether all values are of a kind that text may be of; a column of nothing is text."""
    try:
        said = [_value(value, kind) for value in values if value not in ("", None)]
    except ValueError:
        return False
    return kind == "string" or bool(said)


def _values(values: Sequence[Any], kind: str, where: str) -> list[Any]:
    found = []
    for row, value in enumerate(values):
        try:
            found.append(_value(value, kind))
        except ValueError:
            raise DataError(f"{where}, row {row}: {value!r} is not {kind}") from None
    return found


def _value(value: Any, kind: str) -> Any:
    """What a cell holds; whole numbers of 64 bits may be text in JSON, too."""
    if not isinstance(value, str):
        return _nothing(kind) if value is None else value
    if kind == "string":
        return value
    text = value.strip()
    if not text:
        return _nothing(kind)
    if kind == "bool":
        if text.lower() not in _TRUTHS:
            raise ValueError(text)
        return _TRUTHS[text.lower()]
    return float(text) if kind.startswith("float") else int(text)


def _nothing(kind: str) -> Any:
    return {"string": "", "bool": False, "float32": float("nan"), "float64": float("nan")}.get(kind, 0)


def _plain(column: Array) -> list[Any]:
    """Values for JSON: text for numbers of 64 bits, null for what is not a number."""
    if column.dtype.kind in "ui" and column.dtype.itemsize == 8:
        return [str(value) for value in column.tolist()]
    if column.dtype.kind == "f":
        return [None if value != value else value for value in _cells(column, float)]
    return list(column.tolist())


def _cells(column: Array, kind: type = str) -> list[Any]:
    """Values for text: of the fewest digits that tell them."""
    if column.dtype.kind == "f":
        return [kind(text) if text != "nan" or kind is float else "" for text in column.astype("U32").tolist()]
    if column.dtype.kind == "b":
        return ["true" if value else "false" for value in column.tolist()]
    return list(column.tolist())
