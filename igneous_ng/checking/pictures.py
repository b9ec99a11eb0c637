"""Two sections laid over each other in colours, as they were and as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.formats.checks import Check
from igneous_ng.pages.aligned import Overlay
from igneous_ng.windows import Seen, Windows

Array = npt.NDArray[Any]
SIDE = 256
"""Pixels of the level along a side of a picture."""
_GROUND = 236  # where both show nothing
_ENDS = (1, 99)  # percentiles that become black and white


def overlays(windows: Windows, check: Check, middle: tuple[int, int], most: int) -> list[Overlay]:
    """A section over the one below at its worst places, by the rough maps and after the round; if none is bad, at the
    middle of the volume (pixels of mip 0).
    """
    if check.against is None:
        return []
    found = []
    for x, y, off in check.worst[:most] or ((*map(float, middle), 0.0),):
        column, row = (round((n + 0.5) / windows.factor) - SIDE // 2 for n in (x, y))
        window = column, row, column + SIDE, row + SIDE
        before, after = (
            _overlaid(*(maps.show(z, window) for z in (check.z, check.against)))
            for maps in (replace(windows, number=0), windows)
        )
        found.append(Overlay(x, y, off, before, after))
    return found


def _overlaid(one: Seen, other: Seen) -> Array:
    """Red is the first, cyan the second, grey both; uint8 ``[y, x, 3]``."""
    red, cyan = _stretched(one), _stretched(other)
    return np.ascontiguousarray(np.stack([red, cyan, cyan], axis=-1).transpose(1, 0, 2))


def _stretched(seen: Seen) -> Array:
    """Grey values from 0 to 255; a ground where there is no tissue."""
    if not seen.tissue.any():
        return np.full(seen.values.shape, _GROUND, np.uint8)
    low, high = np.percentile(seen.values[seen.tissue].astype(np.float64), _ENDS).tolist()
    values = np.clip((seen.values - low) / max(high - low, 1e-6), 0, 1) * 255
    return np.where(seen.tissue, values, _GROUND).astype(np.uint8)
