"""What of two tiles may overlap, cut out and filtered.

Arrays are ``[x, y]``; a shift d puts pixel q of the second strip at q + d of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels import texture
from igneous_ng.kernels.correlation import Masked, Window
from igneous_ng.kernels.views import Box, View

Array = npt.NDArray[Any]
LEAST = 160
"""Half pixels that both must share."""
_BAND = (1.0, 9)  # half pixels
_NOISE = 0.13  # what halving and the band leave of the standard deviation of white noise
_MORE = 1.5
_NARROWEST = 4  # pixels


@dataclass(frozen=True)
class Strips:
    """The strips of two tiles at full resolution, and halved and filtered."""

    full: tuple[Masked, Masked]
    half: tuple[Masked, Masked]
    origins: tuple[Array, Array]
    """The first pixel of each in its tile's view."""
    window: Window
    """Shifts of the halved strips that are searched."""
    back: Callable[[Array], Array]
    """Pixels ``[n, 2]`` of the second tile, from what is shown of it."""
    noise: tuple[float, float]
    """The standard deviation of either halved strip that noise alone would hardly have."""

    @classmethod
    def cut(cls, a: View, b: View, expected: tuple[int, int], reach: int) -> Strips | None:
        """What may be shared if the second lies as ``expected``, give or take ``reach``; None of nothing to see."""
        boxes = _near(a.box, b.box, expected, reach), _near(b.box, a.box, (-expected[0], -expected[1]), reach)
        full, half, noise = [], [], []
        for view, box in zip((a, b), boxes, strict=True):
            if min(box[2] - box[0], box[3] - box[1]) < _NARROWEST:
                return None
            values, inside = view.part(box)
            noise.append(texture.noise(values))
            mask = inside & texture.alive(values, noise[-1])
            means, counts = texture.halved(values, mask)
            if np.count_nonzero(counts) < LEAST:
                return None
            full.append(Masked(values, mask))
            half.append(Masked(texture.banded(means, counts, *_BAND), counts))
        origins = np.array(boxes[0][:2]), np.array(boxes[1][:2])
        between = np.array(expected) + origins[1] - origins[0]
        low, high = -((reach - between) // 2), (between + reach) // 2
        window = (int(low[0]), int(high[0])), (int(low[1]), int(high[1]))
        least = _MORE * _NOISE * noise[0], _MORE * _NOISE * noise[1]
        return cls((full[0], full[1]), (half[0], half[1]), origins, window, b.back, least)

    @property
    def blank(self) -> bool:
        """Whether one of them holds no more than noise does, as far as can be told."""
        return any(np.std(one.values[one.mask]) < noise for one, noise in zip(self.half, self.noise, strict=True))


def _near(own: Box, other: Box, shift: tuple[int, int], reach: int) -> Box:
    """What of a box may be shared with another one that is moved by ``shift``, give or take ``reach``."""
    return (
        max(own[0], other[0] + shift[0] - reach),
        max(own[1], other[1] + shift[1] - reach),
        min(own[2], other[2] + shift[0] + reach),
        min(own[3], other[3] + shift[1] + reach),
    )
