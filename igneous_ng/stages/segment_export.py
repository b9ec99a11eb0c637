"""Supervoxels, their graph and what they were agglomerated to, for other programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.affinities import FULL
from igneous_ng.errors import SpecError
from igneous_ng.formats import chunked_graph
from igneous_ng.formats.arrow import arrow
from igneous_ng.formats.chunked_graph import Edges
from igneous_ng.formats.compression import compressed
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import supervoxel_ids
from igneous_ng.segmentation import Supervoxels
from igneous_ng.stage import LayerUrl, Stage, arg, opt

Array = npt.NDArray[Any]
_EDGES = ("u", "v", "sum", "num", "key", "must", "max")
_NODES = ("id", "segment", "size", "parts", "weakest")
_COPIES = 4  # of the tables of a leaf and of its neighbours: as stored, unpacked, arranged, as they are written
_SMALL = 16_000_000  # bytes that libraries and small lists may take
_STEPS = tuple(vec(side * (axis == one) for axis in range(3)) for one in range(3) for side in (-1, 1))


@dataclass(frozen=True, kw_only=True)
class Export(Stage, name="segment export"):
    """Write the graph of supervoxels for a PyChunkedGraph (CAVE), or as tables.

    A leaf is a chunk X, Y, Z of the PyChunkedGraph. It has edges/edges_X_Y_Z.proto.zst: edges in the chunk, edges that
    lead out of it, which so are there twice, its own supervoxel first, and `cross` edges, of affinity inf, between
    pieces of what a face of the chunk cuts; affinities are means from 0 to 1, areas are numbers of faces. And
    components/components_X_Y_Z.proto: which of its supervoxels, and of those that its edges lead to, are of one
    segment. graph.json says what else is to be told to it. Tables have each edge once, edges_X_Y_Z: u, v, sum and num
    of affinities (255 is 1), key, must, max; and nodes_X_Y_Z: id, segment, and of the segment size (voxels), parts and
    weakest.
    """

    example = "./supervoxels ./pychunkedgraph"

    supervoxels: LayerUrl = arg("Layer of supervoxels.")
    dest: LayerUrl = arg("Folder to write.")
    agglomeration: str = opt("default", "Name of the agglomeration whose segments are written.")
    format: Literal["pychunkedgraph", "npz", "parquet"] = opt("pychunkedgraph", "What to write.")

    def check(self) -> None:
        """A result needs a place of its own."""
        super().check()
        if self.dest == self.supervoxels or self.dest.startswith(f"{self.supervoxels}/"):
            raise SpecError(f"{self.name}: {self.dest} lies in the layer {self.supervoxels}; name another place")

    def home(self) -> str:
        """Records lie with the supervoxels, for a folder of files has no room for them."""
        return self.supervoxels

    def places(self, io: IO) -> tuple[str, ...]:
        """What is written."""
        return (self.dest,)

    def prepare(self, io: IO) -> None:
        """Refuse to begin where the files cannot be written."""
        if self.format == "parquet":
            arrow()

    def units(self, io: IO) -> Grid:
        """The leaves, once graph and segments are known."""
        known = self._known(io)
        known.need("graph", f"segment graph {self.supervoxels}")
        known.need(f"{self.agglomeration}/segments", f"segment agglomerate {self.supervoxels}")
        return known.plan.grid

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The tables of a leaf and of its neighbours."""
        known = self._known(io)
        at = known.plan.at(unit)
        around = [at, *self._beside(known, at)] if self.format == "pychunkedgraph" else [at]
        sizes = (known.size(what, one) for what in ("graph", self._segments) for one in around)
        return _SMALL + _COPIES * sum(sizes)

    def execute(self, unit: Box, io: IO) -> None:
        """Write the files of one leaf."""
        known = self._known(io)
        at = known.plan.at(unit)
        if self.format == "pychunkedgraph":
            self._chunk(known, at)
            return
        for name, what, columns in (("edges", "graph", _EDGES), ("nodes", self._segments, _NODES)):
            table = known.read(what, at, columns)
            data = _npz(table) if self.format == "npz" else _parquet(table)
            io.put(f"{self.dest}/{name}_{_name(at)}.{self.format}", data)
            io.note(**{name: len(next(iter(table.values())))})

    def finish(self, io: IO) -> None:
        """Write what says what the files are."""
        plan = self._known(io).plan
        told = {"chunk_size": list(plan.leaf), "voxel_offset": list(plan.bounds.lo), "bounds": str(plan.bounds),
                "fanout": 2, "s_bits_atomic_layer": plan.bits, "watershed": self.supervoxels, "format": self.format,
                "agglomeration": self.agglomeration}  # fmt: skip
        io.put_json(f"{self.dest}/graph.json", told)

    def _chunk(self, known: Supervoxels, at: Vec3) -> None:
        table = self._edges(known, at)
        within = _inside(known, table["other"], at)
        must = table["must"] > 0
        inside, cross, between = (_kind(table, rows) for rows in (within & ~must, must, ~within & ~must))
        cross = Edges(cross.one, cross.other, np.full(len(cross.one), np.inf), cross.area)
        data = compressed(chunked_graph.edges(inside, cross, between), "zstd")
        known.io.put(f"{self.dest}/edges/edges_{_name(at)}.proto.zst", data)
        ids, segments = self._members(known, at, table["other"])
        grouped = chunked_graph.components(ids, segments)
        known.io.put(f"{self.dest}/components/components_{_name(at)}.proto", grouped, "gzip")
        known.io.note(inside=len(inside.one), cross=len(cross.one), between=len(between.one), members=len(ids))

    def _edges(self, known: Supervoxels, at: Vec3) -> dict[str, Array]:
        """All edges of a leaf's supervoxels; ``one`` is the end in the leaf. Ascending by one, then other."""
        tables = []
        for leaf in [at, *(one for one in self._beside(known, at) if sum(one) > sum(at))]:  # these have its high faces
            table = known.read("graph", leaf, _EDGES)
            low, high = (_inside(known, table[end], at) for end in ("u", "v"))
            rows = low | high
            one, other = np.where(low, table["u"], table["v"]), np.where(low, table["v"], table["u"])
            tables.append({name: column[rows] for name, column in {**table, "one": one, "other": other}.items()})
        joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
        order = np.lexsort((joined["other"], joined["one"]))
        return {name: column[order] for name, column in joined.items()}

    def _members(self, known: Supervoxels, at: Vec3, beyond: Array) -> tuple[Array, Array]:
        """The supervoxels of a leaf, and those of ``beyond``, that are not alone of their segment there; and that."""
        ids, segments = [], []
        for leaf in [at, *self._beside(known, at)]:
            table = known.read(self._segments, leaf, ("id", "segment"))
            rows = np.isin(table["id"], beyond) if leaf != at else np.ones(len(table["id"]), bool)
            ids.append(table["id"][rows])
            segments.append(table["segment"][rows])
        named = np.concatenate(segments)
        _, which, counts = np.unique(named, return_inverse=True, return_counts=True)
        several = counts[which] > 1
        return np.concatenate(ids)[several], named[several]

    def _beside(self, known: Supervoxels, at: Vec3) -> list[Vec3]:
        """The leaves that share a face with one."""
        there = Box((0, 0, 0), known.plan.shape)
        steps = (Box.sized(at, (1, 1, 1)).shift(step) for step in _STEPS)
        return [box.lo for box in steps if box in there]

    def _known(self, io: IO) -> Supervoxels:
        return Supervoxels(io, self.supervoxels)

    @property
    def _segments(self) -> str:
        return f"agglomerations/{self.agglomeration}/segments"


def _inside(known: Supervoxels, ids: Array, at: Vec3) -> Array:
    """Which supervoxels are of the leaf at a place."""
    found: Array = (supervoxel_ids.places(ids, known.plan.bits) == np.array(at)).all(axis=1)
    return found


def _kind(table: Mapping[str, Array], rows: Array) -> Edges:
    """Some rows, with the mean affinity of each, from 0 to 1."""
    mean = table["sum"][rows] / table["num"][rows] / FULL
    return Edges(table["one"][rows], table["other"][rows], mean, table["num"][rows])


def _name(at: Vec3) -> str:
    return "_".join(map(str, at))


def _npz(table: Mapping[str, Array]) -> bytes:
    sink = BytesIO()
    np.savez_compressed(sink, allow_pickle=False, **table)
    return sink.getvalue()


def _parquet(table: Mapping[str, Array]) -> bytes:
    sink, library = BytesIO(), arrow()
    library.parquet.write_table(library.table(dict(table)), sink, compression="zstd")
    return sink.getvalue()
