"""A graph from rows of synapses: edges, nodes, and compressed sparse rows. All sums are of integers.

Rows have the columns of :data:`ROW`; their order does not matter. An *own* segment is the one that a part is about, its
*partner* the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Table = dict[str, Array]
Side = Literal["pre", "post"]
OTHER: dict[Side, Side] = {"pre": "post", "post": "pre"}
PLACE = ("x", "y", "z")
ROW = {"pre": "<u8", "post": "<u8", "id": "<u8", "x": "<i4", "y": "<i4", "z": "<i4", "voxels": "<u8",
       "confidence": "|u1", "kind": "|u1", "flags": "<u2"}  # fmt: skip
"""A synapse, as short as queries allow: its segments, its id, its middle in nm, and what it is like."""
ROW_BYTES = sum(np.dtype(kind).itemsize for kind in ROW.values())
EXCITATORY, INHIBITORY = 1, 2


def ordered(rows: Mapping[str, Array], side: Side) -> Table:
    """Rows by the segment of ``side``, its partner, and id."""
    order = np.lexsort((rows["id"], rows[OTHER[side]], rows[side]))
    return {name: column[order] for name, column in rows.items()}


def edges(rows: Mapping[str, Array], side: Side) -> Table:
    """The edges of rows that are :func:`ordered`, one a pair of segments, in the same order.

    Columns `pre`, `post`, `n`, `voxels`, `confidence`, `n_exc`, `n_inh`, and the mean place `x`, `y`, `z` in nm, halves
    rounded up.
    """
    own, partner = rows[side], rows[OTHER[side]]
    starts = _starts(own, partner)
    count = np.diff(np.append(starts, len(own)))

    def total(values: Array, kind: type[np.integer[Any]] = np.int64) -> Array:
        found: Array = np.add.reduceat(values.astype(kind), starts) if len(starts) else np.empty(0, kind)
        return found

    return {
        "pre": rows["pre"][starts],
        "post": rows["post"][starts],
        "n": count.astype(np.uint32),
        "voxels": total(rows["voxels"], np.uint64),
        "confidence": total(rows["confidence"], np.uint64),
        "n_exc": total(rows["kind"] == EXCITATORY).astype(np.uint32),
        "n_inh": total(rows["kind"] == INHIBITORY).astype(np.uint32),
        **{axis: ((2 * total(rows[axis]) + count) // (2 * count)).astype(np.int32) for axis in PLACE},
    }


def sparse(found: Mapping[str, Array], side: Side) -> Table:
    """Compressed sparse rows of :func:`edges`: `keys`, ascending, row k at `starts` [k] to [k + 1].

    Within a row `partners` come by falling `counts`, then ascending; `voxels` are those of their synapses.
    """
    own, partner = found[side], found[OTHER[side]]
    starts = _starts(own)
    order = np.lexsort((partner, -found["n"].astype(np.int64), own))
    return {
        "keys": own[starts].astype("<u8"),
        "starts": np.append(starts, len(own)).astype("<u8"),
        "partners": partner[order].astype("<u8"),
        "counts": found["n"][order].astype("<u4"),
        "voxels": found["voxels"][order].astype("<u8"),
    }


def nodes(leaving: Mapping[str, Array], arriving: Mapping[str, Array], autapses: Array) -> Table:
    """Figures of each segment, ascending, from the edges that it is the first and the second segment of.

    ``autapses`` names a segment once for each. Columns `segment`, `n_out`, `n_in` (synapses), `partners_out`,
    `partners_in`, `voxels_out`, `voxels_in`, `autapses`.
    """
    own = {"out": leaving["pre"], "in": arriving["post"]}
    segments = np.unique(np.concatenate([*own.values(), autapses]).astype(np.uint64))
    sums: dict[str, Table] = {}
    for way, table in (("out", leaving), ("in", arriving)):
        at = np.searchsorted(segments, own[way])
        numbers = {"n": table["n"], "partners": np.ones(len(at), np.uint32), "voxels": table["voxels"]}
        sums[way] = {name: _summed(at, values, len(segments)) for name, values in numbers.items()}
    alone = np.searchsorted(segments, autapses)
    figures = {f"{name}_{way}": sums[way][name] for name in ("n", "partners", "voxels") for way in ("out", "in")}
    return {"segment": segments, **figures, "autapses": np.bincount(alone, minlength=len(segments)).astype(np.uint32)}


def _starts(*columns: Array) -> Array:
    """Where runs of equal values begin."""
    changed = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return np.flatnonzero(np.append(True, changed)[: len(columns[0])])


def _summed(at: Array, values: Array, count: int) -> Array:
    """Sums of ``values``, in their own type, of those whose places ``at`` are the same."""
    found = np.zeros(count, values.dtype)
    np.add.at(found, at, values)
    return found
