"""Tables of landmarks: text with commas, places in nm that are the same in two volumes."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
NAMES = ("x", "y", "z", "moving_x", "moving_y", "moving_z")


def parse(data: bytes, where: str) -> tuple[Array, Array]:
    """Places in the fixed and in the moving volume, ``[n, 3]`` each; DataError, naming ``where``, for another file.

    The first line names the columns: x, y, z in the fixed volume and moving_x, moving_y, moving_z in the moving one.
    """
    try:
        rows = csv.DictReader(data.decode().splitlines(), skipinitialspace=True)
        if set(NAMES) - set(rows.fieldnames or ()):
            raise ValueError(f"the first line has {rows.fieldnames}")
        found = np.array([[float(row[name]) for name in NAMES] for row in rows], np.float64).reshape(-1, 6)
        if not len(found) or not np.isfinite(found).all():
            raise ValueError(f"{len(found)} lines, each must be six numbers")
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{where}: no table of landmarks in nm with the columns {', '.join(NAMES)} ({error})"
        ) from error
    return found[:, :3], found[:, 3:]
