"""Grey values of one image made comparable with those of another: their median and their spread, of whole layers.

Both are taken from counts of a layer or of a set of training images, never from a patch: so what a model says of a
voxel does not follow what else happens to lie in its patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats.info import chunk_box, chunk_range
from igneous_ng.geometry import Box, vec
from igneous_ng.io import IO
from igneous_ng.models.base import grey
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
BINS = 1 << 16
_TAIL = 0.1
_WANTED = 32  # chunks that hold something tell what a layer is like
_TRIED = 1024
_SIDE = 128  # voxels that are looked at of each


@dataclass(frozen=True)
class Greys:
    """How bright an image is: the ``median``, and the ``spread`` between 10 % and 90 % of its voxels, both of 1."""

    median: float
    spread: float

    @classmethod
    def of(cls, counts: Array) -> Greys | None:
        """From counts of :data:`BINS` grey values; None where there are no two of them."""
        below = np.cumsum(counts)
        total = int(below[-1])
        if not total:
            return None
        low, median, high = (
            int(np.searchsorted(below, part * total, side="right")) for part in (_TAIL, 0.5, 1 - _TAIL)
        )
        return cls(_rounded(median), _rounded(high - low)) if low < high else None

    def to_json(self) -> dict[str, float]:
        """In JSON's types."""
        return {"median": self.median, "spread": self.spread}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Greys:
        """What :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            found = cls(float(raw["median"]), float(raw["spread"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: levels are a median and a spread of grey values, not {raw!r}") from error
        if not (0 <= found.median <= 1 and 0 < found.spread <= 1):
            raise DataError(f"{where}: levels of {raw!r}; grey values are from 0 to 1, and a spread is more than 0")
        return found

    def moved(self, grey: Array, to: Greys) -> Array:
        """Float32 grey values of an image of these levels as those of an image of the levels ``to``, clipped."""
        gain = np.float32(to.spread / self.spread)
        offset = np.float32(to.median - self.median * to.spread / self.spread)
        return np.clip(grey * gain + offset, np.float32(0), np.float32(1))


def counted(grey: Array) -> Array:
    """How many of float32 grey values from 0 to 1 fall into each of :data:`BINS` bins; 0 is nothing and not counted."""
    known = grey[grey > 0]
    return np.bincount(np.rint(known * np.float32(BINS - 1)).astype(np.int64), minlength=BINS)


def measured(io: IO, volume: Volume, excluded: Callable[[Box], Array | None]) -> Greys:
    """The levels of a layer, from chunks spread over it by a fixed rule; DataError where these hold nothing.

    ``excluded`` tells which voxels of a box are left out; those of missing chunks are.
    """
    counts, useful = np.zeros(BINS, np.int64), 0
    for box in _spread(volume):
        left_out = excluded(box)
        if left_out is not None and left_out.all():
            continue
        shades = grey(io.read(volume, box)[..., 0])
        found = counted(shades if left_out is None else shades[~left_out])
        counts, useful = counts + found, useful + bool(found.any())
        if useful == _WANTED:
            break
    levels = Greys.of(counts)
    if levels is None:
        raise DataError(
            f"{volume.path} mip {volume.mip}: of {_TRIED} chunks none holds two grey values; is it an image?"
        )
    return levels


def _spread(volume: Volume) -> Iterator[Box]:
    """The corners of chunks in an order that is even wherever it ends: by steps of the golden section."""
    cells = chunk_range(volume.scale, volume.bounds)
    count, (nx, ny, _) = cells.voxels, cells.shape
    step = max(1, round(count * 0.6180339887))
    while gcd(step, count) > 1:
        step += 1
    for i in range(min(count, _TRIED)):
        at = i * step % count
        place = at % nx + cells.lo[0], at // nx % ny + cells.lo[1], at // (nx * ny) + cells.lo[2]
        chunk = chunk_box(volume.scale, place)
        yield Box.sized(chunk.lo, vec(min(n, _SIDE) for n in chunk.shape)) & volume.bounds


def _rounded(level: int) -> float:
    return round(level / (BINS - 1), 6)
