"""What can be said of the quality of a piece of an image, in a few figures."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_SECTIONS = 4  # looked at for contrast and focus, evenly spaced: all of them would take longer than most stages
_TAIL = 0.05
_WIDE = 7  # voxels: what is darker than all that lies on both sides within so many is thin
_BYTES = 48  # held for a voxel that is looked at
_CLEAR = 0.9  # the share of voxels that stand out less than what is told


def figures(image: Array) -> dict[str, float]:
    """Figures of ``image`` [x, y, z, c], rounded to six digits.

    black: the fraction of zeros, of all voxels.
    contrast: the difference of the values at 5 % and 95 %, of what is not zero in up to four sections.
    focus: the variance of the Laplacian (4 neighbours; Pertuz et al. 2013), the mean of these sections.
    membranes: by how much thin dark structures stand out, see :func:`thin`.
    """
    depth = image.shape[2]
    shown = image[:, :, sorted({i * depth // _SECTIONS for i in range(_SECTIONS)})]
    found = {"black": 1 - np.count_nonzero(image) / image.size, "contrast": spread(shown), "focus": focus(shown)}
    found["membranes"] = thin(shown)
    return {name: float(f"{value:.6g}") for name, value in found.items()}


def figures_bytes(shape: tuple[int, ...]) -> int:
    """The most bytes that :func:`figures` holds of an image of this shape."""
    wide, high, deep, *channels = shape
    return _BYTES * wide * high * min(deep, _SECTIONS) * prod(channels)


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


def thin(image: Array) -> float:
    """How much darker thin dark structures, such as membranes, are than what lies around them, in grey values.

    The black top-hat (a closing less the image; Meyer 1979) of each section and channel, smoothed by 3 x 3 voxels
    because noise is thin and dark, too; of its voxels the value at 90 %, the mean of sections and channels.
    """
    from scipy import ndimage

    found = []
    for z, channel in np.ndindex(image.shape[2:]):
        smooth = ndimage.uniform_filter(image[:, :, z, channel].astype(np.float32), 3)
        hat = ndimage.grey_closing(smooth, size=(_WIDE, _WIDE)) - smooth
        found.append(float(np.quantile(hat, _CLEAR)))
    return sum(found) / len(found) if found else 0.0


def label_figures(labels: Array) -> dict[str, float]:
    """Figures of ``labels`` [x, y, z], unsigned integers, in a box; 0 is background.

    background: the share of its voxels. labels: how many there are. median: voxels of the median one (the lower of
    two). enclosed: the share of labels that touch no face of the box, which are pieces, or glia's smallest.
    """
    import fastremap

    names, sizes = fastremap.unique(labels, return_counts=True)
    shown = names != 0
    count, known = int(shown.sum()), np.sort(sizes[shown])
    faces = [np.take(labels, side, axis) for axis in range(3) for side in (0, -1)]
    outside = np.unique(np.concatenate([np.unique(face) for face in faces]))
    inside = count - int((outside != 0).sum())
    return {
        "background": float(f"{1 - known.sum() / labels.size:.6g}"),
        "labels": count,
        "median": int(known[(count - 1) // 2]) if count else 0,
        "enclosed": float(f"{inside / max(1, count):.6g}"),
    }
