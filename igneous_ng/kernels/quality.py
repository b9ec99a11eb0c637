"""What can be said of the quality of a piece of an image, in a few figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_SECTIONS = 4  # looked at for contrast and focus, evenly spaced: all of them would take longer than most stages
_TAIL = 0.05


def figures(image: Array) -> dict[str, float]:
    """Figures of ``image`` [x, y, z, c], rounded to six digits.

    black: the fraction of zeros, of all voxels.
    contrast: the difference of the values at 5 % and 95 %, of what is not zero in up to four sections.
    focus: the variance of the Laplacian (4 neighbours; Pertuz et al. 2013), the mean of these sections.
    """
    depth = image.shape[2]
    shown = image[:, :, sorted({i * depth // _SECTIONS for i in range(_SECTIONS)})]
    found = {"black": 1 - np.count_nonzero(image) / image.size, "contrast": spread(shown), "focus": focus(shown)}
    return {name: float(f"{value:.6g}") for name, value in found.items()}


def spread(image: Array) -> float:
    """The difference of the values at 5 % and 95 % of what is not zero; 0 where all is."""
    values = image[image != 0]
    if not len(values):
        return 0.0
    ranks = int(_TAIL * len(values)), len(values) - 1 - int(_TAIL * len(values))
    ordered = np.partition(values, ranks)
    return float(ordered[ranks[1]]) - float(ordered[ranks[0]])


def focus(image: Array) -> float:
    """The mean variance of the Laplacian over sections and channels; 0 for sections without an inner voxel."""
    if min(image.shape[:2]) < 3:
        return 0.0
    wide = image.astype(np.float64)
    inner = wide[1:-1, 1:-1]
    laplacian = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:] - 4 * inner
    return float(laplacian.var(axis=(0, 1)).mean())
