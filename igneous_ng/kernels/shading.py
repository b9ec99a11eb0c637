"""What is left between tiles after gains and offsets, found at low resolution, place by place.

Coarse pictures of all tiles are blended into one, each with the weight of how deep inside its tile a place is, as
they are blended when they are shown. Blending hides a step of brightness in a slope across the overlap. Gradients are
blended likewise: of each tile its own, so theirs have no such slope. What has the difference of both as its gradient,
and is small, is to be added (Levin et al. 2004; Kazhdan et al. 2010): texture that tiles agree on stays as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng.kernels import bilinear, poisson
from igneous_ng.kernels.tile_maps import TileMap

Array = npt.NDArray[Any]
ARRAYS = 9
"""Float64 arrays of the mosaic's shape that are held at once, at most."""
_SOFT = 0.7  # samples in a sigma
STEP = 2.0**-4
"""What offsets are rounded to, so that a change far away makes none."""


class Mosaic:
    """Samples ``[x, y]`` over a section, to which tiles are added one after the other."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.values, self.weights = np.zeros(shape), np.zeros(shape)
        self.steps = [np.zeros((shape[0] - 1, shape[1])), np.zeros((shape[0], shape[1] - 1))]
        self.shares = [np.zeros_like(step) for step in self.steps]

    def add(self, at: tuple[int, int], values: Array, depth: Array) -> None:
        """A tile's ``values`` ``[x, y]`` from the sample ``at`` on; ``depth`` > 0 where it is."""
        place = tuple(slice(n, n + m) for n, m in zip(at, values.shape, strict=True))
        depth = np.maximum(depth, 0.0)
        self.values[place] += np.where(depth > 0, values, 0.0) * depth
        self.weights[place] += depth
        for axis in (0, 1):
            low, high = _sides(axis)
            share = np.minimum(depth[low], depth[high])
            between = tuple(slice(n.start, n.stop - (k == axis)) for k, n in enumerate(place))
            self.steps[axis][between] += np.where(share > 0, values[high] - values[low], 0.0) * share
            self.shares[axis][between] += share

    def shade(self, screen: float) -> Array:
        """What is to be added, float32, rounded; over ``1 / sqrt(screen)`` samples it dies away. Uses the mosaic up."""
        there = self.weights > 0
        self.values[there] /= self.weights[there]
        for axis in (0, 1):
            low, high = _sides(axis)
            step, share = self.steps[axis], self.shares[axis]
            known = share > 0
            step[known] /= share[known]
            step -= self.values[high] - self.values[low]
            step[~known] = 0.0
        along_x, along_y = self.steps
        self.shares.clear()
        found = poisson.screened(along_x, along_y, screen)
        found = ndimage.gaussian_filter(
            found, _SOFT
        )  # a tile's samples lie otherwise than its neighbour's: that is noise
        return np.asarray((np.round(found / STEP) * STEP + 0.0).astype(np.float32))  # never -0


def _sides(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All samples but the last along an axis, and all but the first."""
    low, high = [slice(None)] * 2, [slice(None)] * 2
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return tuple(low), tuple(high)


def placed(picture: Array, where: TileMap, factor: int, points: Array) -> tuple[Array, Array]:
    """A tile's coarse ``picture`` at ``points`` ``[x, y, 2]`` of the section, bilinear, and their depths.

    A depth is in pixels from the tile's outer border, negative outside.
    """
    inside = where.inverse(points)
    edge = np.array(where.size) - 0.5
    depth = np.minimum(inside + 0.5, edge - inside).min(axis=-1)
    last = np.array(picture.shape) - 1
    scaled = np.clip((inside + 0.5) / factor - 0.5, 0.0, last)
    first = np.minimum(scaled.astype(np.int64), np.maximum(last - 1, 0))
    return bilinear.between(picture[..., np.newaxis], first, scaled - first)[..., 0], depth
