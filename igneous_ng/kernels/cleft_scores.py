"""How far voxels of clefts lie from the nearest of others: the cleft scores of CREMI (cremi.org, `Clefts`).

Distances are exact: integers of pm^2 between the middles of voxels. Roots are rounded to whole pm before they are added
up, so that sums do not depend on their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3f

Array = npt.NDArray[Any]
PM = 1000
"""In a nm."""


@dataclass(frozen=True)
class Sums:
    """Of voxels of clefts: how many, how many far from all others, their distances in pm, and how many were cut."""

    voxels: int = 0
    far: int = 0
    distance: int = 0
    cut: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


def measured(of: Array, to: Array, resolution: Vec3f, far: float, reach: float) -> Sums:
    """The sums of the voxels ``of`` [x, y, z], to the nearest of ``to``, of one shape.

    Voxels farther than ``far`` nm are wrong; distances above ``reach`` nm, and those to nothing, are cut to it.
    """
    from scipy import ndimage

    at = np.stack(np.nonzero(of))
    most = round(reach * PM)
    square = np.full(at.shape[1], most * most + 1, np.int64)
    if len(square) and to.any():
        side = np.array([round(r * PM) for r in resolution], np.int64)
        nearest = ndimage.distance_transform_edt(~to, sampling=side, return_distances=False, return_indices=True)
        away = (nearest[:, *at] - at) * side[:, None]
        square = (away * away).sum(axis=0)
    cut = square > most * most
    roots = np.rint(np.sqrt(np.minimum(square, most * most).astype(np.float64))).astype(np.int64)
    wrong = int((square > round(far * PM) ** 2).sum())
    return Sums(len(square), wrong, int(roots.sum()), int(cut.sum()))


def scores(found: Sums, truth: Sums) -> dict[str, Any]:
    """The scores of all voxels that were found and of all true ones.

    ``adgt`` is the mean distance in nm of what was found to the truth, ``adf`` that of the truth to what was found, and
    ``score`` their mean: 0 is perfect. True voxels are those found that are near the truth; F1 is 2 TP / (2 TP + FP +
    FN), 1 where there is nothing at all.
    """
    adgt, adf = (round(one.distance / one.voxels / PM, 3) if one.voxels else 0.0 for one in (found, truth))
    true = found.voxels - found.far
    wrong = found.far + truth.far
    return {
        "found": found.voxels,
        "truth": truth.voxels,
        "false": found.far,
        "missed": truth.far,
        "adgt": adgt,
        "adf": adf,
        "score": round((adgt + adf) / 2, 3),
        "f1": round(2 * true / (2 * true + wrong), 6) if true or wrong else 1.0,
        "cut": found.cut + truth.cut,
        "exact": not found.cut and not truth.cut,
    }
