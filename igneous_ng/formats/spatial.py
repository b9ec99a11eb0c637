"""A spatial index of objects, as CloudVolume reads it: of each cell a JSON file of the boxes of its labels.

Source of the format: CloudVolume's ``SpatialIndex``. A file is called by its cell's box in nanometres; ``info``
says how large cells are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from igneous_ng.geometry import Box, Vec3, Vec3f


@dataclass(frozen=True)
class Index:
    """The index of a layer that covers ``bounds``, in cells of so many voxels."""

    bounds: Box
    cell: Vec3
    resolution: Vec3f

    def name(self, cell: Box) -> str:
        """The object name of the file of a cell."""
        digits = max(_digits(size) for size in self.resolution)
        ends = zip(cell.lo, cell.hi, self.resolution, strict=True)
        return "_".join(f"{a * size:.{digits}f}-{b * size:.{digits}f}" for a, b, size in ends) + ".spatial"

    def entries(self, boxes: Mapping[int, Box]) -> dict[str, list[float]]:
        """What stands in a file: lowest and highest x, y, z of each label, in nanometres, from boxes of voxels."""
        return {
            str(label): [*np.multiply(box.lo, self.resolution).tolist(), *np.multiply(box.hi, self.resolution).tolist()]
            for label, box in boxes.items()
        }

    def to_json(self) -> dict[str, Any]:
        """What ``info`` says of it."""
        size = np.multiply(self.cell, self.resolution)
        return {"resolution": [_plain(n) for n in self.resolution], "chunk_size": [_plain(n) for n in size.tolist()]}


def _plain(value: float) -> float:
    """A whole number as such: the names of files follow from it."""
    return int(value) if value == int(value) else value


def _digits(value: float) -> int:
    """Decimals of a number."""
    return len(repr(value).partition(".")[2]) if value != int(value) else 0
