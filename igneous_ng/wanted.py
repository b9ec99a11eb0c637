"""What is still looked for in a layer, objects and boxes of voxels, each by whom; and what of it is found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Box, vec

_MOST = 1000  # boxes of one seeker at a level; more of them become the one that holds all
_HELD = 1 << 16  # before equal ones are looked for among them
_CELLS = 1 << 22  # in which a box is divided to tell what of it is found

Corners = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


class Wanted:
    """Objects by URL and boxes by level, each with its seekers. ``rough``: boxes became larger, to be fewer."""

    def __init__(self) -> None:
        self.urls: dict[str, set[str]] = defaultdict(set)
        self.rough = False
        self._boxes: dict[tuple[int, str], list[Box]] = defaultdict(list)
        self._corners: dict[tuple[int, str], Corners] = {}

    def __bool__(self) -> bool:
        return bool(self.urls or self._boxes)

    @property
    def boxed(self) -> bool:
        """Whether any voxels are looked for."""
        return bool(self._boxes)

    def add_box(self, mip: int, box: Box, seeker: str) -> None:
        """Look for the voxels of ``box``."""
        if box.voxels:
            boxes = self._boxes[mip, seeker]
            boxes.append(box)
            self._corners.pop((mip, seeker), None)
            if len(boxes) > _HELD:
                self._set((mip, seeker), list(dict.fromkeys(boxes)))

    def seekers(self, mip: int, box: Box) -> Iterator[str]:
        """Who looks for some of the voxels of ``box``."""
        for level, seeker in self._boxes:
            if level == mip:
                lo, hi = self._at(mip, seeker)
                if ((lo < box.hi) & (hi > box.lo)).all(1).any():
                    yield seeker

    def boxes(self) -> Iterator[tuple[int, str, Box]]:
        """All boxes that are left."""
        for (mip, seeker), boxes in self._boxes.items():
            yield from ((mip, seeker, box) for box in boxes)

    def found(self, mip: int, boxes: list[Box]) -> None:
        """Look no more for what is in ``boxes``."""
        if not boxes:
            return
        lo, hi = _corners(boxes)
        for key in [key for key in self._boxes if key[0] == mip]:
            left = [part for box in self._boxes[key] for part in self._without(box, lo, hi)]
            self._set(key, left)

    def _without(self, box: Box, lo: npt.NDArray[Any], hi: npt.NDArray[Any]) -> list[Box]:
        touching = ((lo < box.hi) & (hi > box.lo)).all(1)
        if not touching.any():
            return [box]
        return without(box, np.maximum(lo[touching], box.lo), np.minimum(hi[touching], box.hi))

    def _at(self, mip: int, seeker: str) -> Corners:
        key = (mip, seeker)
        if key not in self._corners:
            self._set(key, list(dict.fromkeys(self._boxes[key])))
            self._corners[key] = _corners(self._boxes[key])
        return self._corners[key]

    def _set(self, key: tuple[int, str], boxes: list[Box]) -> None:
        if len(boxes) > _MOST:
            boxes, self.rough = [hull(boxes)], True
        self._corners.pop(key, None)
        if boxes:
            self._boxes[key] = boxes
        else:
            del self._boxes[key]


def hull(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all."""
    lo, hi = _corners(list(boxes))
    return Box(vec(lo.min(0).tolist()), vec(hi.max(0).tolist()))


def without(box: Box, lo: npt.NDArray[Any], hi: npt.NDArray[Any]) -> list[Box]:
    """What of ``box`` none of the boxes from ``lo`` to ``hi`` [n, 3] inside it covers; all, if that is hard to tell."""
    edges = [np.unique(np.concatenate([lo[:, axis], hi[:, axis], [box.lo[axis], box.hi[axis]]])) for axis in range(3)]
    shape = [len(edge) - 1 for edge in edges]
    if prod(shape) > _CELLS:
        return [box]
    free = np.ones(shape, bool)
    starts = [np.searchsorted(edges[axis], lo[:, axis]) for axis in range(3)]
    stops = [np.searchsorted(edges[axis], hi[:, axis]) for axis in range(3)]
    for x, y, z, u, v, w in zip(*starts, *stops, strict=True):
        free[x:u, y:v, z:w] = False
    return [
        Box(vec(edges[axis][cell[axis]] for axis in range(3)), vec(edges[axis][cell[axis] + 1] for axis in range(3)))
        for cell in np.argwhere(free)
    ]


def _corners(boxes: list[Box]) -> Corners:
    return np.array([box.lo for box in boxes], np.int64), np.array([box.hi for box in boxes], np.int64)
