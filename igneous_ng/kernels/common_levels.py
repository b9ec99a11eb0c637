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
    rest = shift[0] - dx, shift[1] - dy
    shares = [_shares(both, *part) for part in (rest, (-rest[0], -rest[1]))]
    means = [_mean(values, share) for values, share in zip((first, second), shares, strict=True)]
    spreads = [_spread(values, both) for values in (first, second)]
    return Levels((means[0], means[1]), (spreads[0], spreads[1]), float(shares[0].sum(dtype=np.float64)))


def _shares(both: Array, x: float, y: float) -> Array:
    """How much of each pixel lies in the other tile, which begins by a fraction of a pixel later, or ends earlier."""
    found = both.astype(np.float32)
    for lines, part in ((found, x), (found.T, y)):
        lines[0 if part > 0 else -1] *= 1 - abs(part)
    return found


def _mean(values: Array, share: Array) -> float:
    return float((values * share).sum(dtype=np.float64) / share.sum(dtype=np.float64))


def _spread(values: Array, mask: Array) -> float:
    cells, whole = texture.halved(*texture.halved(values, mask))
    cells = cells[whole] if whole.any() else values[mask]
    return float(np.abs(cells - np.median(cells)).mean(dtype=np.float64))
