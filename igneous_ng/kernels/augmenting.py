"""Models asked several times: of a patch turned and mirrored, the answers turned back and averaged.

An affinity belongs to the later of its two voxels. In a mirrored patch that is the other one: so turned back it is one
voxel before where it belongs, the first plane of its channel is told by nobody, and the plane that led out of the
patch is dropped. With the axes, channels change places. Of all else, such as classes, each voxel is told for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3, vec

Array = npt.NDArray[Any]
Augment = Literal["none", "flips", "all"]


@dataclass(frozen=True)
class Turn:
    """A patch seen otherwise: the image's axis ``axes[k]`` lies along axis k, mirrored where ``flips[k]``."""

    axes: Vec3 = (0, 1, 2)
    flips: tuple[bool, ...] = (False, False, False)

    def of(self, patch: Array) -> Array:
        """``patch`` [x, y, z] turned, in Fortran order."""
        return np.asfortranarray(self._mirrored(patch.transpose(self.axes)))

    def back(self, values: Array, joining: bool) -> Array:
        """What was said of the turned patch, of the patch: ``[x, y, z, channel]``; 0 is what is not told.

        With ``joining``, channels are affinities.
        """
        upright = self._mirrored(values)
        if joining:
            upright = np.stack([_later(upright[..., k], k) if self.flips[k] else upright[..., k] for k in range(3)], -1)
            upright = upright[..., self._inverse]
        return upright.transpose(*self._inverse, 3)

    def tells_first(self, axis: int) -> bool:
        """Whether it tells the first plane of the affinities along an axis of the image."""
        return not self.flips[self._inverse[axis]]

    @property
    def _inverse(self) -> Vec3:
        return vec(self.axes.index(axis) for axis in range(3))

    def _mirrored(self, values: Array) -> Array:
        return values[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]


def turns(augment: Augment, isotropic: bool) -> list[Turn]:
    """The patch alone; its 8 mirror images; or also with x and y exchanged (16) or, isotropic, all axes (48)."""
    if augment == "none":
        return [Turn()]
    orders = {"flips": [(0, 1, 2)], "all": list(permutations(range(3))) if isotropic else [(0, 1, 2), (1, 0, 2)]}
    flips = list(product((False, True), repeat=3))
    return [Turn(vec(axes), flip) for axes in orders[augment] for flip in flips]


def predicted(predict: Callable[[Array], Array], patch: Array, ways: Sequence[Turn], joining: bool) -> Array:
    """The mean of what ``predict`` says of ``patch`` [x, y, z] seen in all ``ways``, added in their order, float32.

    With ``joining``, what it says are affinities.
    """
    if len(ways) == 1:
        return ways[0].back(predict(ways[0].of(patch)), joining)
    total: Array = np.zeros((), np.float32)
    for way in ways:
        total = total + way.back(predict(way.of(patch)), joining)
    mean: Array = total / np.float32(len(ways))
    for axis in range(3 if joining else 0):
        first: tuple[slice | int, ...] = (*(0 if k == axis else slice(None) for k in range(3)), axis)
        mean[first] = total[first] / np.float32(max(1, sum(way.tells_first(axis) for way in ways)))
    return mean


def _later(values: Array, axis: int) -> Array:
    """Moved by one voxel along ``axis``; 0 comes in."""
    out = np.zeros_like(values)
    np.moveaxis(out, axis, 0)[1:] = np.moveaxis(values, axis, 0)[:-1]
    return out
