"""Rows of tables of synapses as they are compared: clefts, sites, labels and scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.formats.info import round_to_chunks
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.labelled import unsigned
from igneous_ng.matching import SITES, Rows, keys_of
from igneous_ng.synapses import AUTAPSE, DUPLICATE, NO_POST, NO_PRE
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_CELL: Vec3 = (128, 128, 128)  # voxels of the segmentation that are read at once, about


def gathered(rows: Rows, side: str, score: str, partial: bool) -> Rows:
    """What is compared of the rows of a block of a table, ascending by id; ``score`` is the column that is one.

    Duplicates are left out. Partners are not autapses, nor, unless ``partial``, rows without a segment on a side.
    """
    kept = (rows["flags"] & DUPLICATE) == 0
    rows = {name: column[kept] for name, column in rows.items()}
    keys = keys_of(rows["id"], side)
    first = np.append(True, keys[1:] != keys[:-1])[: len(keys)]
    starts = np.flatnonzero(first)
    which = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(keys))))
    unfit = AUTAPSE if partial else AUTAPSE | NO_PRE | NO_POST
    found = {
        **rows,
        "key": keys,
        "place": rows["place"][starts][which],
        "score": rows[score],
        "cleft_score": np.maximum.reduceat(rows[score], starts)[which] if len(keys) else rows[score],
        "cleft": first,
        "partner": (rows["flags"] & unfit) == 0,
    }
    return {name: np.ascontiguousarray(found[name], kind) for name, kind in SITES.items()}


def labels_at(io: IO, volume: Volume, points: Array) -> Array:
    """The label at each of ``points`` in nm, uint64; 0 outside of the volume."""
    at = np.floor(points / np.array(volume.resolution)).astype(np.int64)
    lo, hi = (np.array(corner) for corner in (volume.bounds.lo, volume.bounds.hi))
    found, rows = np.zeros(len(at), np.uint64), np.flatnonzero(((at >= lo) & (at < hi)).all(axis=1))
    cell = (at - lo) // np.array(round_to_chunks(volume.scale, _CELL))
    which = np.unique(cell[rows], axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(which, kind="stable")
    for chosen in np.split(rows[order], np.flatnonzero(np.diff(which[order])) + 1) if len(rows) else []:
        box = Box(vec(at[chosen].min(axis=0)), vec(at[chosen].max(axis=0) + 1))
        labels = unsigned(io.read(volume, box), volume, box)
        found[chosen] = labels[tuple((at[chosen] - np.array(box.lo)).T)]
    return found


def labels_bytes(volume: Volume) -> int:
    """The most bytes that :func:`labels_at` holds."""
    return 3 * volume.voxel_bytes * Box.sized((0, 0, 0), round_to_chunks(volume.scale, _CELL)).voxels
