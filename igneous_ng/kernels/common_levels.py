"""How bright two tiles are where both show the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels import texture
from igneous_ng.kernels.views import View

Array = npt.NDArray[Any]
_TAILS = (15.866, 84.134)  # percentiles of a Gaussian at one standard deviation


@dataclass(frozen=True)
class Levels:
    """Mean and spread of each of two tiles where they overlap, and the pixels that both have there."""

    mean: tuple[float, float]
    spread: tuple[float, float]
    area: int


NOTHING = Levels((np.nan, np.nan), (np.nan, np.nan), 0)


def levels(a: View, b: View, shift: tuple[float, float]) -> Levels:
    """The levels of two tiles, the second's pixel q at ``q + shift`` of the first.

    The spread is robust: half of what 68 % of the means of 4 x 4 pixels lie within, in which noise and half a pixel of
    shift are averaged away.
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
    means = tuple(float(values.mean(where=both, dtype=np.float64)) for values in (first, second))
    spreads = tuple(_spread(values, both) for values in (first, second))
    return Levels((means[0], means[1]), (spreads[0], spreads[1]), int(both.sum()))


def _spread(values: Array, mask: Array) -> float:
    cells, whole = texture.halved(*texture.halved(values, mask))
    low, high = np.percentile(cells[whole] if whole.any() else values[mask], _TAILS)
    return float(high - low) / 2
