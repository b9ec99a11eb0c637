"""One picture of several that overlap: fine detail from one of them, coarse from all, so that no border is seen.

After Burt and Adelson (1983), "A multiresolution spline with application to image mosaics", with two levels: each pixel
is that of the picture in which it lies deepest, and differences between pictures larger than :data:`SIGMA` pixels are
blended by how deep it lies in each. Where pictures agree, the result is what they agree on, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.native import blend as native

Array = npt.NDArray[Any]
Window = tuple[int, int, int, int]
SIGMA = 4.0
"""Of the Gaussian that divides coarse from fine, in pixels."""
REACH = 12
"""How far the Gaussian goes, in pixels: what is seen at a pixel depends on nothing beyond."""


@dataclass(frozen=True)
class Patch:
    """A picture in a part of the plane: its first pixel, ``values`` float32 ``[x, y, channel]``, ``depth`` ``[x, y]``.

    A depth is how far a pixel is from the picture's borders: along x, times along y, so that of two pictures side by
    side both count alike in the middle, up to their ends. 0: there is none.
    """

    at: tuple[int, int]
    values: Array
    depth: Array

    @property
    def window(self) -> Window:
        """x0, y0, x1, y1."""
        return (*self.at, self.at[0] + self.depth.shape[0], self.at[1] + self.depth.shape[1])

    def rows(self, window: Window) -> tuple[Array, Array]:
        """Values ``[channel, y, x]`` and depths ``[y, x]`` of a window inside."""
        x, y = (slice(window[n] - self.at[n], window[n + 2] - self.at[n]) for n in (0, 1))
        return self.values[x, y].T, self.depth[x, y].T


def blend(patches: Sequence[Patch], window: Window, background: float, out: Array) -> None:
    """Fill ``out`` ``[x, y, channel]``, x fastest, with ``window``: rounded half up, clipped; ``background`` beyond.

    Patches should go :data:`REACH` pixels beyond the window where their pictures do. Of two that are equally deep, the
    first is seen.
    """
    shape = window[3] - window[1], window[2] - window[0]
    mosaic, added = (np.zeros((out.shape[2], *shape), np.float32) for _ in range(2))
    best, total, owner = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.full(shape, -1, np.int32)
    for n, patch in enumerate(patches):
        if (part := common(patch.window, window)) is not None:
            x, y = (slice(part[k] - window[k], part[k + 2] - window[k]) for k in (0, 1))
            native.lay(*patch.rows(part), n, mosaic[:, y, x], best[y, x], total[y, x], owner[y, x])
    taps = _taps()
    for i, j in combinations(range(len(patches)), 2):
        if (part := common(patches[i].window, patches[j].window)) is not None:
            place = part[0] - window[0], part[1] - window[1]
            native.mend(patches[i].rows(part), patches[j].rows(part), (i, j), taps, place, owner, added)
    native.shown(mosaic, added, total, background, out.T)


def common(one: Window, other: Window) -> Window | None:
    """What two windows share; None: nothing."""
    x0, y0, x1, y1 = max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _taps() -> Array:
    """The middle and one side of the Gaussian."""
    side = np.exp(-0.5 * (np.arange(REACH + 1) / SIGMA) ** 2)
    return np.asarray(side / (2 * side.sum() - side[0]), np.float32)
