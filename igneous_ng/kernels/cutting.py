"""Windows of a mosaic in parts of which most show one tile: what overlaps is small, and costs more than all else.

Windows and boxes are ``x0, y0, x1, y1``, half open.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels.blending import REACH, Window

Array = npt.NDArray[Any]
_BLENDED = 3  # times the work of a pixel that one tile shows, for each of several
_CALL = 20_000  # pixels that are shown while one more tile is asked for


def parts(window: Window, boxes: Array) -> Iterator[tuple[Window, list[int]]]:
    """Windows that tile ``window``, and for each which of ``boxes`` ``[n, 4]`` touch it, in order.

    A window is cut along the border of a box where that saves most, as long as it saves anything.
    """
    inside = _touching(window, boxes)
    best, halves = _work(window, boxes[inside]), None
    if len(inside) > 1:
        for axis in (0, 1):
            for at in sorted(
                {n for n in boxes[inside][:, axis::2].ravel().tolist() if window[axis] < n < window[axis + 2]}
            ):
                two = _halves(window, axis, at)
                work = sum(_work(half, boxes[inside]) for half in two)
                if work < best:
                    best, halves = work, two
    if halves is None:
        yield window, inside
        return
    for half in halves:
        for part, chosen in parts(half, boxes[inside]):
            yield part, [inside[n] for n in chosen]


def _halves(window: Window, axis: int, at: int) -> tuple[Window, Window]:
    x0, y0, x1, y1 = window
    return ((x0, y0, at, y1), (at, y0, x1, y1)) if axis == 0 else ((x0, y0, x1, at), (x0, at, x1, y1))


def _touching(window: Window, boxes: Array) -> list[int]:
    low, high = np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])
    return np.flatnonzero((low < high).all(axis=1)).tolist()


def _work(window: Window, boxes: Array) -> int:
    """How much it is to show a window, in pixels of one tile, if every tile that touches it were all over it."""
    count, width, height = len(_touching(window, boxes)), window[2] - window[0], window[3] - window[1]
    if count < 2:
        return count * (_CALL + width * height)
    return count * (_CALL + _BLENDED * (width + 2 * REACH) * (height + 2 * REACH))
