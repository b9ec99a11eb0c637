"""Connectome graphs to be asked: ``Graph(url).partners(segment)``, ``synapses(of=...)``, ``box(...)``, ``path(a, b)``.

Local files are mapped into memory, others read by ranges, so that what a question takes depends on its answer and not
on the graph. Segments and ids are Python's integers or arrays of uint64.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import numpy.typing as npt

from igneous_ng import adjacency, connectome, graph_exports, graph_sql, spelling
from igneous_ng.connectome import COLUMNS, WAYS, Plan
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import numpy_columns, parquet_tables
from igneous_ng.formats.fragments import bucket_of
from igneous_ng.formats.parquet_tables import Ranges
from igneous_ng.geometry import Box, Grid, Vec3f, vec
from igneous_ng.graph_versions import folder
from igneous_ng.io import IO
from igneous_ng.kernels.edges import PLACE
from igneous_ng.spanned import Spanned
from igneous_ng.stage import Layer
from igneous_ng.store import Store

Array = npt.NDArray[Any]
Table = dict[str, Array]
Way = Literal["out", "in"]
_KEPT = 256  # parts whose files stay open


@dataclass(frozen=True)
class Partners:
    """Partners of a segment, by falling number of synapses, then ascending: uint64 segments, uint32 counts, voxels."""

    segments: Array
    counts: Array
    voxels: Array

    def __len__(self) -> int:
        return len(self.segments)

    def first(self, count: int) -> Partners:
        """The strongest so many."""
        return Partners(self.segments[:count], self.counts[:count], self.voxels[:count])


class Graph:
    """The graph in the folder ``url``: its version of this name, or else the newest finished one, by date."""

    def __init__(self, url: str, version: str | None = None) -> None:
        self.url, self._store = str(Layer.parse(url)), Store()
        self.manifest = self._found(version)
        self.version = str(self.manifest["version"])
        self.folder = folder(self.url, connectome.KIND, self.version)
        self._path = self.folder.removeprefix("file://") if self.folder.startswith("file://") else None
        self.plan = Plan.parse(self.manifest, f"{self.folder}/manifest.json")
        self._sparse: Callable[[Way, int], Table] = functools.lru_cache(_KEPT)(self._open_sparse)

    def _found(self, version: str | None) -> dict[str, Any]:
        if version is not None:
            raw = self._store.get_json(f"{folder(self.url, connectome.KIND, version)}/manifest.json")
            if raw is None:
                raise DataError(f"{self.url}: there is no finished version {version}; `graph versions` lists them")
            return cast(dict[str, Any], raw)
        found = connectome.versions(self._store, self.url)
        if not found:
            raise DataError(f"{self.url}: there is no finished version of a graph; run `graph build`")
        return found[-1]

    def partners(self, segment: int, direction: Way = "out", min_count: int = 1) -> Partners:
        """The segments that ``segment`` sends to, ``out``, or hears from, ``in``, over at least so many synapses.

        SpecError for a segment that is not in the graph, as in all that follows.
        """
        found = self._row(segment, direction)
        if found is None:
            self._check([segment])
            return Partners(np.empty(0, "<u8"), np.empty(0, "<u4"), np.empty(0, "<u8"))
        rising = found.counts[::-1]
        return found.first(len(found) - int(np.searchsorted(rising, np.uint64(max(0, min_count)))))

    def degrees(self, segments: Iterable[int] | None = None) -> Table:
        """Figures of all segments, or of some, ascending within each part.

        Columns `segment`, `n_out`, `n_in` (synapses), `partners_out`, `partners_in`, `voxels_out`, `voxels_in`,
        `autapses`.
        """
        if segments is None:
            return _joined([self._part("nodes", part) for part in range(self.plan.parts)])
        wanted = self._labels(segments)
        found = [
            _where(table, np.isin(table["segment"], wanted)) for table in self._parts_of("nodes", "segment", wanted)
        ]
        table = _joined(found or [self._part("nodes", 0, {"segment": (0, 0)})])
        if len(missing := np.setdiff1d(wanted, table["segment"])):
            raise SpecError(
                f"{self.url}: there is no segment {missing[0]} in version {self.version}: it has no synapse there, or "
                "another name; check the segmentation, and the table of labels"
            )
        return table

    def synapses(self, of: int | None = None, *, pre: int | None = None, post: int | None = None) -> Table:
        """The synapses ``of`` a segment, either way, or from ``pre``, or to ``post``, or from one to the other.

        Columns `pre`, `post`, `id`, `x`, `y`, `z` (nm), `voxels`, `confidence`, `kind`, `flags`.
        """
        given = [segment for segment in (of, pre, post) if segment is not None]
        if not given or (of is not None and len(given) > 1):
            raise SpecError("synapses: say of which segment, or from which (pre), or to which (post)")
        self._check(given)
        if of is not None:
            return _joined([self._synapses("pre", of, None), self._synapses("post", of, None)])
        if pre is not None:
            return self._synapses("pre", pre, post)
        return self._synapses("post", cast(int, post), None)

    def between(self, a: int, b: int) -> Table:
        """The synapses from ``a`` to ``b``, then those from ``b`` to ``a``; columns as of :meth:`synapses`."""
        return _joined([self.synapses(pre=a, post=b), self.synapses(pre=b, post=a)])

    def box(self, where: Box | tuple[Vec3f, Vec3f], names: Sequence[str] | None = None) -> Table:
        """The synapses whose middle lies in a box: voxels of the table, or two corners in nm, the second one outside.

        All columns of the table of synapses, with an axis each (`x`, `pre_x`, `lo_x`, ...), or those called ``names``.
        """
        lo, hi = self._corners(where)
        ranges = {axis: (math.ceil(a), math.ceil(b) - 1) for axis, a, b in zip(PLACE, lo, hi, strict=True)}
        below, above = self.manifest["reach"][:3], self.manifest["reach"][3:]
        first = vec(math.floor((a - u) / r) - 1 for a, u, r in zip(lo, above, self.plan.resolution, strict=True))
        last = vec(math.ceil((b + d) / r) + 2 for b, d, r in zip(hi, below, self.plan.resolution, strict=True))
        bounds, side = self.plan.bounds, self.plan.cell
        near = Box(first, last) & bounds
        cells = list(Grid(bounds, (side,) * 3, near)) if near.voxels else []
        places = [connectome.cell_name(self.plan.grid.at(cell)) for cell in cells]
        if not places:
            places, ranges = [connectome.cell_name((0, 0, 0))], {"x": (1, 0)}
        return _joined([self._read(place, names, ranges) for place in places])

    def subgraph(self, segments: Iterable[int]) -> Table:
        """The edges among ``segments``: `pre`, `post`, `n`, `voxels`, `confidence`, `n_exc`, `n_inh`, `x`, `y`, `z`."""
        wanted = self._labels(segments)
        self._check(wanted.tolist())
        found = [
            _where(table, np.isin(table["pre"], wanted) & np.isin(table["post"], wanted))
            for table in self._parts_of("edges_pre", "pre", wanted)
        ]
        return _joined(found or [self._part("edges_pre", 0, {"pre": (0, 0)})])

    def edges(self) -> Iterator[Table]:
        """All edges, as :meth:`subgraph` gives them, part by part."""
        return (self._part("edges_pre", part) for part in range(self.plan.parts))

    def hops(self, segment: int, most: int, direction: Way = "out") -> dict[int, int]:
        """How many synapses away, up to ``most``, others are that ``segment`` reaches, or is reached from."""
        self._check([segment])
        found = {segment: 0}
        for distance, reached in enumerate(self._waves({segment: segment}, direction, most), 1):
            found |= dict.fromkeys(reached, distance)
        return found

    def path(self, a: int, b: int, most: int = 6) -> list[int]:
        """A shortest way from ``a`` to ``b``, both with it, over at most so many synapses; empty where there is none.

        Breadth first, to each segment from the smallest of those that are one synapse nearer.
        """
        self._check([a, b])
        before = {a: a}
        if a != b and not any(b in reached for reached in self._waves(before, "out", most)):
            return []
        found = [b]
        while found[-1] != a:
            found.append(before[found[-1]])
        return found[::-1]

    def top(self, count: int, by: str = "n_out") -> Table:
        """The segments with the greatest figures of :meth:`degrees`, by one of these; of equal ones the smaller ids."""
        table = self.degrees()
        if by not in table:
            raise SpecError(f"top: there is no figure {by!r}; {spelling.choices(by, table)}")
        order = np.lexsort((table["segment"], ~table[by]))[:count]  # of unsigned numbers the complement falls
        return _where(table, order)

    def common_partners(self, segments: Iterable[int], direction: Way = "out") -> Table:
        """Partners that all of ``segments`` have: `segment`, and `counts` [n, segments]; the strongest sum first."""
        found = [self.partners(segment, direction) for segment in segments]
        if not found:
            raise SpecError("common_partners: name at least one segment")
        shared = functools.reduce(np.intersect1d, [one.segments for one in found])
        counts = np.zeros((len(shared), len(found)), np.uint32)
        for column, one in enumerate(found):
            order = np.argsort(one.segments)
            counts[:, column] = one.counts[order][np.searchsorted(one.segments, shared, sorter=order)]
        order = np.lexsort((shared, -counts.sum(axis=1, dtype=np.int64)))
        return {"segment": shared[order], "counts": counts[order]}

    def to_networkx(self, segments: Iterable[int] | None = None) -> Any:
        """A ``networkx.DiGraph`` of all, or of some segments and the edges among them."""
        return graph_exports.to_networkx(*self._exported(segments))

    def export(self, path: str, segments: Iterable[int] | None = None) -> None:
        """Write the edges, or those among some segments, to a local file: .csv, .npz or .graphml."""
        graph_exports.write(path, *self._exported(segments))

    def to_npz(self, path: str, segments: Iterable[int] | None = None) -> None:
        """Write an array for each column of the edges."""
        graph_exports.to_npz(path, self._exported(segments)[0])

    def to_csv(self, path: str, segments: Iterable[int] | None = None) -> None:
        """Write a line for each edge."""
        graph_exports.to_csv(path, self._exported(segments)[0])

    def to_graphml(self, path: str, segments: Iterable[int] | None = None) -> None:
        """Write GraphML; ids are texts there."""
        graph_exports.to_graphml(path, *self._exported(segments))

    @property
    def has_contacts(self) -> bool:
        """Whether `graph contacts` made a version of this name."""
        return bool(adjacency.views(self._store, self.url, self.version))

    def sql(self, query: str, tables: Mapping[str, str] | None = None) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The columns' names and the rows of an SQL query over the views synapses, edges and nodes; needs DuckDB.

        There are contacts and surfaces, too, where `graph contacts` made those of this version, and ``tables``, folders
        of Parquet files by name.
        """
        views = adjacency.views(self._store, self.url, self.version)
        views |= {view: f"{self.folder}/{name}" for view, name in graph_sql.VIEWS.items()}
        return graph_sql.query(adjacency.local({**views, **(tables or {})}), query)

    def _exported(self, segments: Iterable[int] | None) -> tuple[Iterator[Table], list[int]]:
        if segments is None:
            return self.edges(), self.degrees()["segment"].tolist()
        wanted = self._labels(segments)
        return iter([self.subgraph(wanted)]), wanted.tolist()

    def _waves(self, before: dict[int, int], direction: Way, most: int) -> Iterator[list[int]]:
        """The segments of each distance, ascending; enters from where each was reached first in ``before``."""
        wave = list(before)
        for _ in range(most):
            reached: dict[int, int] = {}
            for segment in wave:
                row = self._row(segment, direction)
                for other in row.segments.tolist() if row else ():
                    if other not in before:
                        reached.setdefault(other, segment)
            if not reached:
                return
            before |= reached
            wave = sorted(reached)
            yield wave

    def _row(self, segment: int, way: Way) -> Partners | None:
        """All partners of a segment; None where it has none."""
        if way not in WAYS:
            raise SpecError(f"direction {way!r}: there are out and in")
        label = self._labels([segment])
        sparse = self._sparse(way, int(bucket_of(label, self.plan.parts)[0]))
        keys = sparse["keys"]
        at = int(np.searchsorted(keys, label[0]))
        if at == len(keys) or keys[at] != label[0]:
            return None
        start, stop = sparse["starts"][at : at + 2].tolist()
        return Partners(*(sparse[name][start:stop] for name in COLUMNS[2:]))

    def _open_sparse(self, way: Way, part: int) -> Table:
        names = {name: connectome.column_name(way, part, name) for name in COLUMNS}
        if self._path is not None:
            return {name: numpy_columns.mapped(f"{self._path}/{file}") for name, file in names.items()}
        found: dict[str, Any] = {name: self._column(f"{self.folder}/{file}") for name, file in names.items()}
        return {**found, "keys": found["keys"][:]}

    def _column(self, url: str) -> numpy_columns.Column:
        def read(start: int, stop: int) -> bytes:
            data = self._store.get(url, (start, stop)) if stop > start else b""
            if data is None:
                raise DataError(f"{url} is missing; build the version again")
            return data

        return numpy_columns.column(read, url)

    def _check(self, segments: Sequence[int]) -> None:
        """SpecError unless all are in the graph."""
        if unseen := [one for one in segments if self._row(one, "out") is None and self._row(one, "in") is None]:
            self.degrees(unseen)

    def _labels(self, segments: Iterable[int]) -> Array:
        """Segments, ascending, without repeats, uint64; SpecError for what is none."""
        try:
            return np.unique(np.array([int(segment) for segment in segments], np.uint64))
        except (OverflowError, TypeError, ValueError) as error:
            raise SpecError(f"segments are whole numbers from 1 to 2**64 - 1 ({error})") from error

    def _synapses(self, side: str, own: int, other: int | None) -> Table:
        partner = "post" if side == "pre" else "pre"
        ranges = {side: (own, own), **({} if other is None else {partner: (other, other)})}
        part = int(bucket_of(np.array([own], np.uint64), self.plan.parts)[0])
        return self._part(f"by_{side}", part, ranges)

    def _parts_of(self, what: str, column: str, segments: Array) -> Iterator[Table]:
        """The parts in which some of ``segments`` are, as far as the least and the greatest of them tell."""
        home = bucket_of(segments, self.plan.parts)
        for part in np.unique(home).tolist():
            mine = segments[home == part]
            yield self._part(what, part, {column: (int(mine[0]), int(mine[-1]))})

    def _part(self, what: str, part: int, ranges: Ranges | None = None) -> Table:
        return self._read(connectome.part_name(what, part), None, ranges)

    def _read(self, name: str, names: Sequence[str] | None, ranges: Ranges | None) -> Table:
        url = f"{self.folder}/{name}"
        source = cast(BinaryIO, Spanned(IO(self._store), url)) if self._path is None else f"{self._path}/{name}"
        return parquet_tables.read(source, names, ranges, url)

    def _corners(self, where: Box | tuple[Vec3f, Vec3f]) -> tuple[Vec3f, Vec3f]:
        """The corners of a box in nm."""
        if not isinstance(where, Box):
            return where
        x, y, z = self.plan.resolution
        lo, hi = ((a * x, b * y, c * z) for a, b, c in (where.lo, where.hi))
        return lo, hi


def _joined(tables: Sequence[Table]) -> Table:
    if len(tables) == 1:
        return tables[0]
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def _where(table: Table, rows: Array) -> Table:
    return {name: column[rows] for name, column in table.items()}
