"""How bright two tiles are where both show the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels import texture
from igneous_ng.kernels.views import View

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Levels:
    """Mean and spread of each of two tiles where they overlap, and how many pixels that is."""

    mean: tuple[float, float]
    spread: tuple[float, float]
    area: float


NOTHING = Levels((np.nan, np.nan), (np.nan, np.nan), 0.0)


def levels(a: View, b: View, shift: tuple[float, float]) -> Levels:
    """The levels of two tiles, the second's pixel q at ``q + shift`` of the first.

    Both means are of the same place to a fraction of a pixel. The spread is the mean absolute deviation from the
    median, of means of 4 x 4 pixels, in which noise and half a pixel of shift are averaged away: nearly as robust as
    percentiles, of which noise moves each by much more than it moves all values in the mean.
    """
    dx, dy = round(shift[0]), round(shift[1])
    x0, y0 = max(a.box[0], b.box[0] + dx), max(a.box[1], b.box[1] + dy)
    x1, y1 = min(a.box[2], b.box[2] + dx), min(a.box[3], b.box[3] + dy)
    if x1 <= x0 or y1 <= y0:
        return NOTHING
    first, in_a = a.part((x0, y0, x1, y1))
    second, in_b = b.part((x0 - dx, y0 - dy, x1 - dx, y1 - dy))
    both = in_a & in_b
    if not both.any():
        return NOTHING
    x, y = shift[0] - dx, shift[1] - dy
    (mean, area), (other, _) = _level(first, both, x, y), _level(second, both, -x, -y)
    spreads = [_spread(values, both) for values in (first, second)]
    return Levels((mean, other), (spreads[0], spreads[1]), area)


def _level(values: Array, mask: Array, x: float, y: float) -> tuple[float, float]:
    """The mean of what the other tile, which lies a fraction of a pixel off, shows too, and how many pixels that is."""
    area = _total(mask, x, y)
    return _total(np.where(mask, values, 0), x, y) / area, area


def _total(values: Array, x: float, y: float) -> float:
    """The sum, without a share ``x`` of the first line across x, or of the last where it is negative; y likewise."""
    i, j = 0 if x > 0 else -1, 0 if y > 0 else -1
    edges = abs(x) * values[i].sum(dtype=np.float64) + abs(y) * values[:, j].sum(dtype=np.float64)
    return float(values.sum(dtype=np.float64) - edges + abs(x * y) * values[i, j])


def _spread(values: Array, mask: Array) -> float:
    cells, whole = texture.halved(*texture.halved(values, mask))
    cells = cells[whole] if whole.any() else values[mask]
    return float(np.abs(cells - np.median(cells)).mean(dtype=np.float64))
