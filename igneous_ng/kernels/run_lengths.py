"""How far one can follow a neuron in a segmentation before an error: expected run length.

Januszewski et al. 2018 (Nature Methods 15:605): from a point on the skeletons, chosen evenly along their lengths, the
expected length of all correct edges that the skeleton has in the segment there; 0 on a wrong edge. An edge is *omitted*
if one of its ends lies in no segment, *split* if they lie in two, *merged* if both lie in a segment that merges
skeletons; else it is correct. What merges follows from all skeletons, and is given.

Lengths are whole numbers of `1 / PER_NM` nm, so that they add up exactly in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
PER_NM = 1000
KINDS = ("correct", "split", "merged", "omitted")


@dataclass(frozen=True)
class Runs:
    """Edges of skeletons by kind, their lengths, and squares of lengths: of correct runs, and of whole skeletons."""

    skeletons: int = 0
    correct: int = 0
    split: int = 0
    merged: int = 0
    omitted: int = 0
    correct_length: int = 0
    split_length: int = 0
    merged_length: int = 0
    omitted_length: int = 0
    runs_square: int = 0
    whole_square: int = 0

    def __add__(self, other: Runs) -> Runs:
        return Runs(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    @property
    def length(self) -> int:
        """The length of all edges."""
        return sum(getattr(self, f"{kind}_length") for kind in KINDS)

    @property
    def expected(self) -> float:
        """Expected run length in nm."""
        return self.runs_square / self.length / PER_NM if self.length else 0.0

    @property
    def possible(self) -> float:
        """What it would be without an error."""
        return self.whole_square / self.length / PER_NM if self.length else 0.0


def lengths(points: Array, edges: Array) -> Array:
    """The length of each of ``edges`` [m, 2] between ``points`` [n, 3] in nm, in units of ``1 / PER_NM`` nm."""
    x, y, z = (points[edges[:, 1]] - points[edges[:, 0]]).astype(np.float64).T
    found: Array = np.rint(np.sqrt(x * x + y * y + z * z) * PER_NM).astype(np.int64)
    return found


def of_skeleton(segments: Array, edges: Array, long: Array, merging: Array) -> Runs:
    """One skeleton: of each node the segment, and whether that merges; edges, and their :func:`lengths`."""
    a, b = segments[edges[:, 0]], segments[edges[:, 1]]
    omitted = (a == 0) | (b == 0)
    split = ~omitted & (a != b)
    merged = ~omitted & ~split & merging[edges[:, 0]].astype(bool)
    correct = ~(omitted | split | merged)
    chosen = dict(zip(KINDS, (correct, split, merged, omitted), strict=True))
    _, which = np.unique(a[correct], return_inverse=True)
    runs = [sum(long[correct][which == n].tolist()) for n in range(int(which.max(initial=-1)) + 1)]
    return Runs(
        skeletons=1,
        **{kind: int(rows.sum()) for kind, rows in chosen.items()},
        **{f"{kind}_length": sum(long[rows].tolist()) for kind, rows in chosen.items()},
        runs_square=sum(run * run for run in runs),
        whole_square=sum(long.tolist()) ** 2,
    )
