"""Where segments touch: rows of pairs, which add up in any order, and the tables that are made of them.

A row has the columns of :data:`ROW`. All of it is sums, least and greatest values of integers, so that rows of cells,
whatever these are, make those of the volume, and rows under other names of segments are those of the segments so named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3
from igneous_ng.kernels.crofton import Measure
from igneous_ng.native import faces as native

Array = npt.NDArray[Any]
Table = dict[str, Array]
AXES = ("x", "y", "z")
_FACES = tuple(f"faces_{axis}" for axis in AXES)
_SUMS = tuple(f"sum_{axis}" for axis in AXES)
_LO, _HI = (tuple(f"{end}_{axis}" for axis in AXES) for end in ("lo", "hi"))
ROW = {
    "segment": "<u8", "partner": "<u8", "area": "<i8", **dict.fromkeys((*_FACES, *_SUMS), "<i8"),
    **dict.fromkeys((*_LO, *_HI), "<i4"),
}  # fmt: skip
"""Two segments, 0 being none; the area of their contact in pm^2; faces across each axis; the sums of twice the places
of faces, by their weights; and the box of the voxels beside faces, in voxels from the first one of the volume."""
ROW_BYTES = sum(np.dtype(kind).itemsize for kind in ROW.values())
_PM2 = 1_000_000  # in a nm^2
_PM = 1000


@dataclass(frozen=True)
class Place:
    """A cell: its first voxel, from the first one of the volume, and its shape."""

    start: Vec3
    shape: Vec3


def found(labels: Array, cell: Place, measure: Measure, most: int) -> Table | None:
    """The rows of a cell, each two labels once, segment < partner; None where these are more than ``most``.

    labels: unsigned [x, y, z], of the cell and, on each high side that has one, a voxel more.
    """
    pairs = native.find(np.asfortranarray(labels), cell.shape, cell.start, most)
    if pairs is None:
        return None
    counts, sums = pairs["counts"], pairs["sums"]
    area = np.zeros(len(counts), np.int64)
    for number, worth in enumerate(measure.crossing.tolist()):
        area += counts[:, number] * worth
    doubled = 2 * sums + counts[:, :3, None] * (1 + np.eye(3, dtype=np.int64))  # a face lies between two voxels
    places = sum(weight * doubled[:, axis] for axis, weight in enumerate(measure.weight.tolist()))
    columns = [pairs["low"], pairs["high"], area, *counts[:, :3].T, *places.T, *pairs["first"].T, *pairs["end"].T]
    return {name: np.ascontiguousarray(c, kind) for (name, kind), c in zip(ROW.items(), columns, strict=True)}


def summed(tables: Iterable[Mapping[str, Array]]) -> Table:
    """Rows of any number of tables as one, each two segments once, ascending by segment, then partner."""
    given = list(tables)
    rows = {name: np.concatenate([t[name] for t in given]).astype(kind, copy=False) for name, kind in ROW.items()}
    order = np.lexsort((rows["partner"], rows["segment"]))
    segment, partner = rows["segment"][order], rows["partner"][order]
    new = np.append(True, (segment[1:] != segment[:-1]) | (partner[1:] != partner[:-1]))[: len(order)]
    starts = np.flatnonzero(new)
    if len(starts) == len(order):
        return {name: column[order] for name, column in rows.items()}
    made = {"segment": segment[starts], "partner": partner[starts]}
    for name in (*ROW,)[2:]:
        reduction = np.minimum if name in _LO else np.maximum if name in _HI else np.add
        made[name] = reduction.reduceat(rows[name][order], starts)
    return made


def named(rows: Mapping[str, Array], segment: Array, partner: Array) -> Table:
    """Rows of segments that are called otherwise: contacts inside of one are none, and 0 comes first."""
    apart = segment != partner
    low, high = np.minimum(segment, partner)[apart], np.maximum(segment, partner)[apart]
    return summed([{**{name: column[apart] for name, column in rows.items()}, "segment": low, "partner": high}])


def both_ways(rows: Mapping[str, Array]) -> Table:
    """Rows of pairs as those of either segment: 0 is a partner, and no segment."""
    real = rows["segment"] > 0
    there = {name: column[real] for name, column in rows.items()}
    back = {**rows, "segment": rows["partner"], "partner": rows["segment"]}
    return {name: np.concatenate([there[name], back[name]]) for name in ROW}


def once(rows: Mapping[str, Array]) -> Table:
    """Of rows of either segment those that stand with the lower one, or with the only one, as pairs again."""
    kept = (rows["partner"] == 0) | (rows["segment"] < rows["partner"])
    own = {name: column[kept] for name, column in rows.items()}
    return {
        **own,
        "segment": np.minimum(own["segment"], own["partner"]),
        "partner": np.maximum(own["segment"], own["partner"]),
    }


def contacts(rows: Mapping[str, Array], measure: Measure, first: Vec3) -> Table:
    """The table of contacts: of rows between two segments that share faces, in their order.

    Columns `segment`, `partner`; `area` and `face_area`, nm^2, halves rounded up; `faces_x`, `faces_y`, `faces_z`; the
    mean place of the faces by their areas, `x`, `y`, `z` in nm; `lo_x` ... `hi_z`, voxels. ``first`` is the first voxel
    of the volume.
    """
    kept = (rows["partner"] > 0) & touching(rows)
    own = {name: column[kept] for name, column in rows.items()}
    across = [own[name] for name in _FACES]
    faces = sum(count * side for count, side in zip(across, measure.face.tolist(), strict=True))
    weight = sum(count * one for count, one in zip(across, measure.weight.tolist(), strict=True))
    made: Table = {name: own[name] for name in ("segment", "partner")}
    made |= {"area": nm2(own["area"]), "face_area": nm2(np.asarray(faces, np.int64))}
    made |= {name: own[name].astype(np.uint64) for name in _FACES}
    for axis, lo, side in zip(AXES, first, measure.pitch, strict=True):
        whole, rest = np.divmod(own[f"sum_{axis}"], weight)
        made[axis] = (((whole + 2 * lo) * side + rest * side // weight + _PM) // (2 * _PM)).astype(np.int32)
    for names in (_LO, _HI):
        made |= {name: own[name] + np.int32(lo) for name, lo in zip(names, first, strict=True)}
    return made


def surfaces(rows: Mapping[str, Array]) -> Table:
    """The table of segments: how many each touches, and its area towards these, and towards none.

    ``rows`` are of either segment, ascending. Columns `segment`, `contacts`, `contact_area`, `background_area`, nm^2.
    """
    segments, at = np.unique(rows["segment"], return_inverse=True)
    none = rows["partner"] == 0
    sums = {"contact_area": np.zeros(len(segments), np.int64), "background_area": np.zeros(len(segments), np.int64)}
    for name, kept in (("contact_area", ~none & touching(rows)), ("background_area", none & touching(rows))):
        np.add.at(sums[name], at[kept], rows["area"][kept])
    counts = np.bincount(at[~none & touching(rows)], minlength=len(segments)).astype(np.uint32)
    return {"segment": segments, "contacts": counts, **{name: nm2(column) for name, column in sums.items()}}


def touching(rows: Mapping[str, Array]) -> Array:
    """Which rows are of segments that share faces, and not only edges or corners."""
    found: Array = (rows["faces_x"] > 0) | (rows["faces_y"] > 0) | (rows["faces_z"] > 0)
    return found


def nm2(area: Array) -> Array:
    """Areas in pm^2 as whole nm^2, halves rounded up."""
    rounded: Array = ((area + _PM2 // 2) // _PM2).astype(np.uint64)
    return rounded
