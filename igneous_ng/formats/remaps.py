"""Tables that say which object a label belongs to, as supervoxels to objects, from the files that labs keep.

``.json`` is an object of label to label, ``.csv`` two columns, with a heading or without, ``.npz`` the arrays ``old``
and ``new``, ``.npy`` one array [n, 2]. Labels are whole numbers from 0 to 2**64 - 1; to become 0 is to be left out.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
SUFFIXES = (".json", ".csv", ".npz", ".npy")
_PAIRS = 6  # copies of the labels of an array: as read, as pairs, sorted
_TEXT = 40  # bytes held per byte of text: Python's own strings and numbers


def parse(data: bytes, name: str) -> tuple[Array, Array]:
    """Old labels, ascending, and the new one of each, uint64; ``name`` says by its end what ``data`` is.

    DataError where it is no such table, or names a label twice.
    """
    readers = dict(zip(SUFFIXES, (_json, _csv, _npz, _npy), strict=True))
    reader = next((read for suffix, read in readers.items() if name.endswith(suffix)), None)
    if reader is None:
        raise DataError(f"{name}: a table of labels is a file that ends in {', '.join(readers)}")
    try:
        pairs = reader(data)
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError, EOFError) as error:
        raise DataError(f"{name}: not a table of labels ({type(error).__name__}: {error})") from error
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    again = np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])
    if len(again):
        raise DataError(f"{name}: label {pairs[again[0], 0]} is there more than once; name each label once")
    return pairs[:, 0], pairs[:, 1]


def held_bytes(data: bytes, name: str) -> int:
    """The most bytes that :func:`parse` holds, ``data`` included; DataError where it is no such table."""
    if not name.endswith(".npz"):
        return len(data) * (_PAIRS if name.endswith(".npy") else _TEXT)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            return len(data) + _PAIRS * sum(one.file_size for one in file.infolist())
    except zipfile.BadZipFile as error:
        raise DataError(f"{name}: not a table of labels ({error})") from error


def _whole(rows: Any) -> Array:
    """Pairs of Python's integers as uint64, none of them cut."""
    return np.array([[int(old), int(new)] for old, new in rows], np.uint64).reshape(-1, 2)


def _json(data: bytes) -> Array:
    return _whole(json.loads(data).items())


def _csv(data: bytes) -> Array:
    rows = [row for row in csv.reader(io.StringIO(data.decode())) if row]
    heading = bool(rows) and not rows[0][0].strip().isdigit()
    return _whole(rows[heading:])


def _npz(data: bytes) -> Array:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return _unsigned(np.column_stack([_unsigned(file["old"]), _unsigned(file["new"])]))


def _npy(data: bytes) -> Array:
    return _unsigned(np.load(io.BytesIO(data), allow_pickle=False).reshape(-1, 2))


def _unsigned(values: Array) -> Array:
    if values.dtype.kind not in "ui" or (values.size and values.min() < 0):
        raise ValueError(f"labels are whole numbers from 0 on, and these are {values.dtype}")
    return values.astype(np.uint64)
