"""Arrays that their format gives only whole: read once, and the last one kept by the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import DataError
from igneous_ng.sources.base import Index, own, reading

Load = Callable[[Path], NDArray[Any]]


@dataclass(frozen=True)
class Whole:
    """An array that ``load``, a function of a module, reads from ``path``."""

    name: str
    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    load: Load
    wrong: tuple[type[Exception], ...] = ()

    @property
    def resident_bytes(self) -> int:
        """All of it: a compressed array cannot be read in part."""
        return prod(self.shape) * self.dtype.itemsize

    def window(self, index: Index) -> NDArray[Any]:
        """Cut from the array in memory."""
        with reading(self.name, *self.wrong):
            array = _kept(self.load, self.path, self.path.stat().st_mtime_ns)
        if array.shape != self.shape:
            raise DataError(f"{self.name}: has become {array.shape}, was {self.shape}; plan again")
        return own(array[index])

    def check(self) -> None:
        """Opening it has read the header; the rest is seen when it is read."""


@lru_cache(maxsize=1)
def _kept(load: Load, path: Path, mtime_ns: int) -> NDArray[Any]:  # noqa: ARG001 - a file written anew is read anew
    return load(path)
