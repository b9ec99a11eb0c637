"""Objects too thick for one cell, left by forging to be traced with all their context.

A cell that is deeper inside an object than ``--defer`` says makes no piece of it. The cells around such cells see the
object's surface without its middle, so theirs are not used either: both together are a :class:`Region`, and what is
traced in it at a coarser level stands for the pieces of all its cells.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.forging import Bucket, Plan, Shelf
from igneous_ng.formats import fragments
from igneous_ng.formats import skeleton as files
from igneous_ng.formats.fragments import Piece
from igneous_ng.geometry import Box, ceil_div, vec
from igneous_ng.kernels import components as parts

Array = npt.NDArray[Any]
DEFERRED = 1  # the size of a piece that was left for later; one of no geometry has 0, any other more


def deferred(bucket: Bucket, rows: slice) -> Array:
    """The cells, by index and ascending, that left an object for later."""
    entries = bucket.entries[rows]
    cells: Array = np.sort(bucket.owners[rows][(entries["length"] == 0) & (entries["size"] == DEFERRED)])
    return cells


def mark(bucket: Bucket, rows: slice) -> int:
    """What a result keeps of the cells that hold an object and of those that left it, to tell when they are others."""
    held = np.sort(bucket.owners[rows])
    return zlib.crc32(deferred(bucket, rows).astype("<i8").tobytes(), zlib.crc32(held.astype("<i8").tobytes()))


@dataclass(frozen=True)
class Region:
    """Cells that are done together: ``inside`` [x, y, z] says which, of all cells of ``plan``."""

    plan: Plan
    inside: Array

    @property
    def box(self) -> Box:
        """All voxels of its cells and one more where cells follow, in the level of the plan."""
        cell, low = self.plan.cell, self.plan.bounds.lo
        used = np.argwhere(self.inside)
        start, stop = used.min(axis=0), used.max(axis=0) + 1
        lo = vec(o + c * int(k) for o, c, k in zip(low, cell, start, strict=True))
        hi = vec(o + c * int(k) + 1 for o, c, k in zip(low, cell, stop, strict=True))
        return Box(lo, hi) & self.plan.bounds

    def holds(self, points: Array) -> Array:
        """Which voxels [n, 3], counted from the first of the layer, lie in a cell or on a face of one."""
        found = np.zeros(len(points), bool)
        high = np.array(self.inside.shape) - 1
        for shift in np.ndindex(2, 2, 2):  # a voxel on a low face is a face of the cell before as well
            cells = (points - shift) // np.array(self.plan.cell)
            valid = (cells >= 0).all(axis=1) & (cells <= high).all(axis=1)
            found[valid] |= self.inside[tuple(cells[valid].T)]
        return found

    def joints(self, bucket: Bucket, rows: slice) -> Iterator[Array]:
        """The vertices [3] at which lines that were drawn outside come in: one for each run of vertices on a face."""
        outside = ~self.covers(bucket.owners[rows]) & self._near(bucket.owners[rows])
        for data, where in bucket.payloads(np.arange(rows.start, rows.stop)[outside]):
            graph = files.decode_piece(data, where)
            yield from _deepest_of_runs(graph, self.holds(graph.vertices))

    def covers(self, cells: Array) -> Array:
        """Which cells, by index, are in it."""
        covered: Array = self.inside.ravel(order="F")[cells]
        return covered

    def _near(self, cells: Array) -> Array:
        around: Array = _grown(self.inside).ravel(order="F")[cells]
        return around


def _deepest_of_runs(graph: files.Graph, chosen: Array) -> Iterator[Array]:
    """Of each connected run of ``chosen`` vertices the one of the largest radius, the first of several."""
    from igneous_ng.native import forest

    edges = graph.edges[chosen[graph.edges].all(axis=1)]
    run = forest.parts(edges, len(graph.vertices))
    rows = np.flatnonzero(chosen)
    order = rows[np.lexsort((*graph.vertices[rows].T[::-1], -graph.attributes["radius"][rows], run[rows]))]
    yield from graph.vertices[order[np.unique(run[order], return_index=True)[1]]]


def _grown(inside: Array) -> Array:
    """``inside`` and all cells that touch it."""
    for axis in range(3):
        grown = inside.copy()
        before, behind = ([slice(None)] * 3 for _ in range(2))
        before[axis], behind[axis] = slice(None, -1), slice(1, None)
        grown[tuple(before)] |= inside[tuple(behind)]
        grown[tuple(behind)] |= inside[tuple(before)]
        inside = grown
    return inside


def regions(plan: Plan, cells: Array) -> list[Region]:
    """The regions around ``cells``, by index: no two of them touch."""
    shape = [ceil_div(n, c) for n, c in zip(plan.bounds.shape, plan.cell, strict=True)]
    inside = np.zeros(shape, bool)
    inside[np.unravel_index(cells, shape, order="F")] = True
    numbered = parts.painted(_grown(inside).view(np.uint8), 26)
    return [Region(plan, numbered == number) for number in range(1, int(numbered.max(initial=0)) + 1)]


def url(shelf: Shelf, number: int) -> str:
    """Where the results for a bucket are."""
    return f"{shelf.url}/somata/{number}.frags"


def store(shelf: Shelf, number: int, made: dict[int, tuple[files.Graph, int]]) -> None:
    """Keep the skeletons of a bucket, each with its :func:`mark`."""
    pieces = {label: Piece(known, graph.nbytes, files.encode_piece(graph)) for label, (graph, known) in made.items()}
    shelf.io.put(url(shelf, number), fragments.pack(pieces, 1))


class Somata:
    """The skeletons that were kept for a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket, self.where = bucket, url(bucket.shelf, bucket.number)
        self._data: bytes | None = None

    def pieces(self, rows: slice) -> Iterator[files.Graph]:
        """All pieces of an object: those of regions, and those of the cells outside of them."""
        cells, kept = deferred(self.bucket, rows), np.arange(rows.start, rows.stop)
        if len(cells):
            yield self._of(int(self.bucket.entries["label"][rows.start]), mark(self.bucket, rows))
            for region in regions(self.bucket.plan, cells):
                kept = kept[~region.covers(self.bucket.owners[kept])]
        for data, where in self.bucket.payloads(kept):
            yield files.decode_piece(data, where)

    def _of(self, label: int, known: int) -> files.Graph:
        if self._data is None:
            self._data = self.bucket.shelf.io.get(self.where)
        if self._data is None:
            raise DataError(f"{self.where}: label {label} was left for `skeleton soma`; run it before `skeleton merge`")
        table = fragments.index_span(self._data[slice(*fragments.table_span(0))], self.where)
        index = fragments.read_index(self._data[slice(*table)], 0, 1, self.where)
        found = index[index["label"] == label]
        if not len(found) or int(found[0]["voxels"]) != known:
            raise DataError(f"{self.where}: not of the cells that now hold label {label}; run `skeleton soma` again")
        payload = self._data[slice(*fragments.payload_span(found[0]))]
        return files.decode_piece(fragments.check_payload(payload, found[0], self.where), self.where)
