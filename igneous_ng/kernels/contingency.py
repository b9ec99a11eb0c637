"""Which labels of two layers lie together: pairs, and voxels of each.

A table is sorted by `one`, then `other`, each pair once, with its `count`, and where it is to be seen: the `place`, the
number of a block, that has the `most` of it (of several the first). Tables of parts of a volume add up, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.native.labels import count

Array = npt.NDArray[Any]
Table = dict[str, Array]
TYPES = {"one": np.uint64, "other": np.uint64, "count": np.int64, "most": np.int64, "place": np.int64}
ROW = sum(np.dtype(kind).itemsize for kind in TYPES.values())
"""Bytes of a pair."""
_NONE = np.uint64(2**64 - 1)


def tally(truth: Array, segments: Array, left_out: Array, blocks: Sequence[Array]) -> Table:
    """Pairs in each block of two arrays of labels [x, y, z], but for voxels that are ``left_out``.

    ``blocks`` are, for each axis, where along it the block of each voxel lies. Columns `part`, the number of a block, x
    fastest, `one`, of ``truth``, `other`, of ``segments``, and `count`; ascending in this order.
    """
    ones, own = _numbered(truth)
    others, theirs = _numbered(segments)
    x, y, z = (np.asarray(axis, np.uint64) for axis in blocks)
    nx, ny = (axis[-1] + np.uint64(1) for axis in (x, y))
    codes = np.asfortranarray((x + nx * (y + ny * z[:, None])[..., None]).T)
    for names, labels in ((ones, own), (others, theirs)):
        codes *= np.uint64(len(names))
        codes += labels
    codes[left_out] = _NONE
    found, counts = count(codes)
    kept = slice(0, len(found) - int(len(found) > 0 and found[-1] == _NONE))
    rest, other = np.divmod(found[kept], np.uint64(len(others)))
    part, one = np.divmod(rest, np.uint64(len(ones)))
    return {"part": part.astype(np.int64), "one": ones[one], "other": others[other],
            "count": counts[kept].astype(np.int64)}  # fmt: skip


def _numbered(labels: Array) -> tuple[Array, Array]:
    """The labels of an array, ascending, uint64, and which of them each voxel has."""
    import fastremap

    names = count(labels)[0].astype(np.uint64)
    if not names.size or int(names[-1]) < names.size:  # 0, 1, 2 ... already
        return names, labels
    table = dict(zip(names.tolist(), range(len(names)), strict=True))
    return names, fastremap.remap(labels.astype(np.uint64), table, in_place=True)


def located(pairs: Table, places: Array) -> Table:
    """The table of what :func:`tally` found; ``places`` are the numbers of the parts."""
    place = places[pairs["part"]].astype(np.int64)
    return summed([{**pairs, "most": pairs["count"], "place": place}])


def turned(table: Table) -> Table:
    """The table of the labels of the other layer, 0 apart."""
    kept = table["other"] > 0
    swapped = {**table, "one": table["other"], "other": table["one"]}
    return summed([{name: column[kept] for name, column in swapped.items()}])


def summed(tables: Iterable[Table]) -> Table:
    """Tables of parts as one; rows may come in any order, and pairs again and again."""
    given = list(tables)
    rows = {name: np.concatenate([t[name] for t in given]).astype(kind, copy=False) for name, kind in TYPES.items()}
    order = np.lexsort((rows["place"], -rows["most"], rows["other"], rows["one"]))
    rows = {name: column[order] for name, column in rows.items()}
    new = np.ones(len(order), bool)
    new[1:] = (rows["one"][1:] != rows["one"][:-1]) | (rows["other"][1:] != rows["other"][:-1])
    starts = np.flatnonzero(new)
    totals = np.add.reduceat(rows["count"], starts) if len(starts) else rows["count"]
    return {name: column[starts] for name, column in rows.items()} | {"count": totals}


def groups(table: Table) -> tuple[Array, Array]:
    """The labels `one` of a table and the row at which each begins, with the end of the last."""
    names, starts = np.unique(table["one"], return_index=True)
    return names, np.append(starts, len(table["one"]))


def looked_up(table: Table, one: Array, other: Array) -> tuple[Array, Array]:
    """The voxels of pairs, and those of the first label of each; -1 for a pair that is not in the table."""
    names, edges = groups(table)
    others, second = np.unique(table["other"], return_inverse=True)
    codes = np.repeat(np.arange(len(names)), np.diff(edges)) * len(others) + second
    at, which = np.searchsorted(names, one), np.searchsorted(others, other)
    rows = np.searchsorted(codes, np.where(which < len(others), at * len(others) + which, -1))
    rows = np.minimum(rows, len(codes) - 1)
    there = (table["one"][rows] == one) & (table["other"][rows] == other) if len(codes) else np.zeros(len(one), bool)
    totals = np.add.reduceat(table["count"], edges[:-1]) if len(names) else table["count"]
    missing = np.full(len(one), -1)
    if not there.any():
        return missing, missing
    return np.where(there, table["count"][rows], -1), np.where(there, totals[np.minimum(at, len(names) - 1)], -1)
