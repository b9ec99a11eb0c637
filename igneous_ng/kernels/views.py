"""Parts of a tile's picture as they are compared: flat field applied, turned as the stage says its neighbour lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng.kernels import flat_nodes

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, the last left out."""
_EDGE = 4  # pixels that cubic interpolation needs on each side, and some


@dataclass(frozen=True)
class View:
    """One channel of a tile: pixel q of it is shown at ``matrix q``.

    ``pixels`` ``[x, y]``; ``flat``: the flat field at nodes from the first to the last pixel, ``[nx, ny]``, or None.
    """

    pixels: Array
    flat: Array | None = None
    matrix: Array | None = None

    @property
    def box(self) -> Box:
        """All that is shown."""
        w, h = self.pixels.shape
        if self.matrix is None:
            return 0, 0, w, h
        ends = np.array([[x, y] for x in (0, w - 1) for y in (0, h - 1)]) @ self.matrix.T
        (x0, y0), (x1, y1) = np.ceil(ends.min(axis=0)), np.floor(ends.max(axis=0))
        return int(x0), int(y0), int(x1) + 1, int(y1) + 1

    def back(self, points: Array) -> Array:
        """The pixels ``[n, 2]`` of the tile that are shown at ``points``."""
        if self.matrix is None:
            return points
        (a, b), (c, d) = np.linalg.inv(self.matrix).tolist()
        return np.stack([a * points[:, 0] + b * points[:, 1], c * points[:, 0] + d * points[:, 1]], axis=1)

    def part(self, box: Box) -> tuple[Array, Array]:
        """What is shown in ``box``, float32 ``[x, y]``, x fastest, and where there are pixels."""
        if self.matrix is None:
            shown = self._evened(box)
            return shown, np.ones(shown.shape, bool, order="F")
        x, y = np.meshgrid(np.arange(box[0], box[2]), np.arange(box[1], box[3]), indexing="ij")
        at = self.back(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)).T
        limits = np.array(self.pixels.shape)[:, None] - 1
        inside: Array = ((at >= 0) & (at <= limits)).all(axis=0).reshape(x.shape)
        low = np.clip(np.floor(at.min(axis=1)).astype(int) - _EDGE, 0, limits[:, 0])
        high = np.clip(np.ceil(at.max(axis=1)).astype(int) + _EDGE, low + 1, limits[:, 0] + 1)
        source = self._evened((int(low[0]), int(low[1]), int(high[0]), int(high[1])))
        shown = ndimage.map_coordinates(source, at - low[:, None], order=3, mode="nearest", output=np.float32)
        return np.asfortranarray(np.where(inside, shown.reshape(x.shape), 0)), np.asfortranarray(inside)

    def _evened(self, box: Box) -> Array:
        x0, y0, x1, y1 = box
        values = np.asfortranarray(self.pixels[x0:x1, y0:y1], np.float32)
        if self.flat is None:
            return values
        width, height = self.pixels.shape
        return np.asarray(values / flat_nodes.pixels(self.flat, (width, height), box))
