"""Shifts of small blocks to a hundredth of a pixel: steps to where one picture explains the other best.

The second picture, interpolated by cubic splines, is compared with the first one's slopes, which are the same in each
step: Lucas and Kanade, "An Iterative Image Registration Technique" (IJCAI 1981); Baker and Matthews, "Lucas-Kanade 20
Years On" (IJCV 56, 2004). Noise of one picture is no part of the other, and that of a picture says nothing of its own
slope, so noise moves no peak. Gain, offset and a slope of brightness are solved for in each block, so that pictures
need no filter that looks far: near the border of a tile that would see something else in each, and move the peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng.kernels.correlation import Masked
from igneous_ng.native import lucas

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Refined:
    """For each block: ``shift`` [n, 2]; ``value`` [n], the correlation; ``variance`` [n] of a shift, in px^2, per axis.

    A block that has too little to hold on to has the value 0.
    """

    shift: Array
    value: Array
    variance: Array


def refined(a: Masked, b: Masked, blocks: Array, start: Array, slopes: Array, how: tuple[int, int]) -> Refined:
    """Shifts of blocks of ``a``: pixel p of one lies at ``p - shift - slopes (p - centre)`` of ``b``.

    ``blocks`` ``[n, 4]``: first column and row, width and height in ``a``. ``start`` ``[n, 2]``: shifts that are right
    to about two pixels; ``slopes`` ``[n, 2, 2]``; ``how``: rounds, and every how many pixels are looked at.
    """
    spline = ndimage.spline_filter(b.values.T, 3, output=np.float32, mode="mirror")
    return Refined(*lucas.refined(a.values.T, a.mask.T, spline, b.mask.T, blocks, start, slopes, how))
