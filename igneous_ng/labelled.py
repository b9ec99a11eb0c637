"""Labels of a box as the objects of a request: unsigned, renamed, chosen, counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.native.labels import count
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]


def beyond(cell: Box, volume: Volume) -> Box:
    """``cell`` and a voxel more on each high side that has one."""
    return cell.grow((0, 0, 0), (1, 1, 1)) & volume.bounds


def read_box(io: IO, volume: Volume, cell: Box) -> Array:
    """The labels of ``cell``, [x, y, z], unsigned; DataError below 0."""
    return unsigned(io.read(volume, cell), volume, cell)


def unsigned(voxels: Array, volume: Volume, cell: Box) -> Array:
    """The labels that ``voxels``, [x, y, z, 1], are, [x, y, z], unsigned; DataError below 0."""
    labels = voxels[..., 0]
    if labels.dtype.kind == "i":
        if labels.min() < 0:
            raise DataError(
                f"{volume.path} mip {volume.mip}: {cell} has labels below 0; renumber the objects from 1 on"
            )
        labels = labels.view(labels.dtype.str.replace("i", "u"))
    return labels


def count_voxels(labels: Array, cell: Box) -> dict[int, int]:
    """Voxels in the cell proper of every label but 0, also of those that lie only beyond it."""
    counts = dict.fromkeys(count(labels)[0].tolist(), 0)
    names, numbers = count(labels[Box.sized((0, 0, 0), cell.shape).slices()])
    counts.update(zip(names.tolist(), numbers.tolist(), strict=True))
    counts.pop(0, None)
    return counts


def only(labels: Array, wanted: Sequence[int]) -> Array:
    """``labels`` with all but ``wanted`` set to 0; everything where none is named."""
    import fastremap

    if not wanted:
        return labels
    fits = [label for label in wanted if label <= np.iinfo(labels.dtype).max]
    masked: Array = fastremap.mask_except(labels, fits, in_place=False)
    return masked


def without(labels: Array, unwanted: Sequence[int]) -> Array:
    """``labels`` with ``unwanted`` set to 0."""
    import fastremap

    fits = [label for label in unwanted if label <= np.iinfo(labels.dtype).max]
    masked: Array = fastremap.mask(labels, fits, in_place=False) if fits else labels
    return masked


def remapped(labels: Array, old: Array, new: Array) -> Array:
    """``labels`` with each of ``old``, ascending, made its label in ``new``; uint64 where there is any."""
    import fastremap

    present = count(labels)[0].astype(np.uint64)
    at = np.searchsorted(old, present)
    there = at < len(old)
    there[there] = old[at[there]] == present[there]
    if not there.any():
        return labels
    table = dict(zip(present[there].tolist(), new[at[there]].tolist(), strict=True))
    found: Array = fastremap.remap(labels.astype(np.uint64), table, preserve_missing_labels=True, in_place=True)
    return found
