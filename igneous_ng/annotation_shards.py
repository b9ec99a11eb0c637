"""From annotations to the shards in which they lie: by id, by segment, by cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.annotating import Annotating, Index, Rows, of_rows
from igneous_ng.errors import DataError
from igneous_ng.formats import sharding
from igneous_ng.formats.annotations import Kind, by_id, lists, records
from igneous_ng.formats.pieces import Lists
from igneous_ng.formats.portions import Entries
from igneous_ng.formats.sharding import Layout
from igneous_ng.kernels import annotation_levels

Array = npt.NDArray[Any]


def middles(kind: Kind, rows: Rows) -> Array:
    """A point of each annotation: the middle of a line or box, the first of others."""
    first = rows.points[rows.ends[:-1]].astype(np.float64)
    return (first + rows.points[rows.ends[:-1] + 1]) / 2 if kind in ("line", "box") else first


def entries_of(rows: Rows, desk: Annotating) -> Iterator[Entries]:
    """What is to be written of annotations: by id, by each relationship, by cells of each level."""
    frame, plan = desk.frame, desk.plan
    found = records(frame.kind, rows.points, rows.ends, frame.properties, rows.values)
    yield Entries(rows.ids, rows.ids, by_id(found, rows.related))
    for related in rows.related:
        pairs = _once(related)
        yield Entries(related.values[pairs], rows.ids[related.rows[pairs]], found.take(related.rows[pairs]))
    level = annotation_levels.level_of(rows.ids, list(plan.thresholds))
    for number, index in enumerate(plan.indices[1 + len(rows.related) :]):
        own, halved = np.flatnonzero(level == number), index.halved or (0, 0, 0)
        points, ends = of_rows(rows, own)
        which, cells = annotation_levels.crossed(frame.kind, points, ends, frame.grid, halved)
        keys = Layout(index.spec, frame.grid.shape(halved)).keys(cells)
        yield Entries(keys, rows.ids[own[which]], found.take(own[which]))


def _once(related: Lists) -> Array:
    """Which of the segments to take, so that no row has one twice."""
    order = np.lexsort((related.values, related.rows))
    rows, values = related.rows[order], related.values[order]
    fresh = (rows[1:] != rows[:-1]) | (values[1:] != values[:-1])
    found: Array = order[np.append(True, fresh)[: len(order)]]
    return found


def packed_shard(entries: Entries, index: Index) -> tuple[bytes, int]:
    """The bytes of a shard, and how long its longest list is."""
    spec = index.spec
    if index.key == "by_id":
        twice = np.sort(entries.keys)
        if (again := np.flatnonzero(twice[1:] == twice[:-1])).size:
            raise DataError(f"the id {twice[again[0]]} is there twice; each annotation needs an id of its own")
        return sharding.laid(spec, entries.keys, entries.payloads), 1
    ranks = annotation_levels.ranks(entries.ids) if index.halved is not None else entries.ids
    entries = entries.take(np.lexsort((ranks, entries.keys)))
    fresh = np.append(True, entries.keys[1:] != entries.keys[:-1])
    bounds = np.append(np.flatnonzero(fresh), len(entries))
    listed = lists(entries.payloads, entries.ids, bounds)
    return sharding.laid(spec, entries.keys[fresh], sharding.packed_each(listed, spec.data_encoding)), int(
        np.diff(bounds).max()
    )
