"""The graph of supervoxels that touch: the second stage of segmentation, `docs/design/025`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import words
from igneous_ng.affinities import FULL
from igneous_ng.figures import Figure
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.kernels import region_graph, supervoxel_ids, watershed
from igneous_ng.segmentation import Plan, Supervoxels
from igneous_ng.stage import LayerUrl, Stage, arg, opt, sampled
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
UNTAKEN = 256.0
"""The weakest score of a region that nothing was joined to."""
_PIECE = 25  # bytes of a row of `pieces/`
_EDGES = 8  # of a supervoxel, within its leaf and each counted once: 7.8 in a foam of Voronoi cells, less in affinities
_EDGE = 32 + 42 + 16  # bytes: in the kernel's list, in columns, and in order
_BINS = 2 * 128  # more
_NODE = 72 + 20  # bytes of a supervoxel: its row in `pieces/` and in `graph/`, and its place in order
_HELD = 3 + 8  # bytes of a voxel: affinities and ids, all of which are read where there is a mask, or else a part
_SMALL = 64_000_000  # bytes for chunks that are being read


@dataclass(frozen=True, kw_only=True)
class Graph(Stage, name="segment graph"):
    """Find which supervoxels touch, and sum the affinities of the faces between them, leaf by leaf.

    Also found are the edges that must be taken: where a voxel's best face leads into another leaf.
    """

    example = "./supervoxels -p 4"
    quality = MappingProxyType(
        {"mean": Figure("mean affinity, of 1, of the faces between supervoxels", of="faces")},
    )

    layer: LayerUrl = arg("Layer of supervoxels that `segment watershed` made.")
    histogram: bool = opt(False, "Also count faces by affinity, in 32 bins, for agglomeration by quantiles.")

    def home(self) -> str:
        """Records lie with the supervoxels."""
        return self.layer

    def places(self, io: IO) -> tuple[str, ...]:
        """The graphs of leaves."""
        url = Supervoxels(io, self.layer).url
        return f"{url}/graph", f"{url}/done/graph.json"

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The supervoxels and the affinities that they were made from."""
        return tuple(sorted({self.layer, self._plan(io).affinities.layer}))

    def prepare(self, io: IO) -> None:
        """Refuse to begin before there are supervoxels."""
        Supervoxels(io, self.layer).need("watershed", f"segment watershed ... {self.layer}")

    def units(self, io: IO) -> Grid:
        """The leaves."""
        return self._plan(io).grid

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The affinities as they are read, or with the supervoxels and the edges."""
        plan = self._plan(io)
        around = unit.grow((2, 2, 2), (2, 2, 2))
        pieces = Supervoxels(io, self.layer).size("pieces", plan.at(unit)) // _PIECE
        border = sum(unit.voxels // n for n in unit.shape)
        edges = min(_EDGES * pieces + border, 3 * unit.voxels)
        table = edges * (_EDGE + _BINS * self.histogram) + pieces * _NODE
        held = around.voxels * (_HELD + 2 * (plan.mask["mask"] is not None)) + table
        return _SMALL + max(plan.affinities.peak_bytes(io, around), held)

    def execute(self, unit: Box, io: IO) -> None:
        """Find the edges of one leaf."""
        made, plan = Supervoxels(io, self.layer), self._plan(io)
        affinities, slices = self._read(io, unit)
        pieces = made.read("pieces", plan.at(unit), ("id", "size"))
        count, first = len(pieces["id"]), supervoxel_ids.first(plan.at(unit), plan.bits) + 1
        regions = region_graph.Regions(first, count, slices)
        within = watershed.limits(plan.low, plan.high)
        edges = region_graph.edges(affinities, regions, within, unit, plan.bounds, self.histogram)
        made.put("graph", plan.at(unit), {**_alone(pieces), **edges})
        faces = int(edges["num"].sum())
        mean = float(f"{int(edges['sum'].sum()) / max(1, faces) / FULL:.6g}")
        io.note(edges=len(edges["u"]), faces=faces, must=int(edges["must"].sum()), mean=mean)

    def finish(self, io: IO) -> None:
        """Allow agglomeration."""
        Supervoxels(io, self.layer).done("graph")

    def said(self, io: IO) -> str:
        """How many edges there are, and how many must be taken; of some leaves where these are many."""
        plan, made, leaves = self._plan(io), Supervoxels(IO(io.store), self.layer), self.units(io)
        some = sampled(leaves)
        must = np.concatenate([made.read("graph", plan.at(leaf), ("must",))["must"] for leaf in some])
        scope = f" in {len(some)} of {len(leaves)} leaves" if len(some) < len(leaves) else ""
        return f"{words.count(len(must), 'edge')}{scope}; {int(must.sum()):,} join basins across the faces of leaves"

    def _plan(self, io: IO) -> Plan:
        return Supervoxels(io, self.layer).plan

    def _read(self, io: IO, leaf: Box) -> tuple[Array, Iterable[Array]]:
        """Affinities of a leaf and 2 voxels around; ids of it and of the voxels before, in one part or several.

        A mask is known from its zeros: a voxel that is in no supervoxel is masked, or has no face above the lower
        limit. So such voxels may lose their faces: the best faces of others and the sums that decide stay as they were.
        """
        plan = self._plan(io)
        around, before = leaf.grow((2, 2, 2), (2, 2, 2)), leaf.grow((1, 1, 1), (0, 0, 0)) & plan.bounds
        affinities, volume = plan.affinities.read(io, around), io.volume(self.layer, 0)
        if plan.mask["mask"] is None:
            return affinities, _slices(io, volume, before, leaf)
        wide = around.grow((1, 1, 1), (0, 0, 0))
        known = wide & plan.bounds
        ids = io.read(volume, known)[..., 0]
        left_out = np.ones(wide.shape, bool, order="F")
        left_out[known.slices(wide.lo)] = ids == 0
        watershed.cut(affinities, left_out)
        return affinities, [ids[before.slices(known.lo)]]


def _slices(io: IO, volume: Volume, before: Box, leaf: Box) -> Iterator[Array]:
    """The ids of a leaf and of the voxels ``before``, one layer of chunks after the other, in the same memory."""
    deep, first = volume.chunk[2], leaf.lo[2] - before.lo[2]
    held = np.empty((*before.shape[:2], 1 + deep, 1), volume.dtype, order="F")
    if first:
        io.read(volume, Box(before.lo, (*before.hi[:2], leaf.lo[2])), held[:, :, :1])
    for z in range(leaf.lo[2], leaf.hi[2], deep):
        part = Box((*before.lo[:2], z), (*before.hi[:2], min(z + deep, leaf.hi[2])))
        stop = 1 + part.shape[2]
        io.read(volume, part, held[:, :, 1:stop])
        yield held[:, :, (0 if first or z > leaf.lo[2] else 1) : stop, 0]
        held[:, :, 0] = held[:, :, stop - 1]


def _alone(pieces: dict[str, Array]) -> dict[str, Array]:
    """The nodes of a graph of supervoxels to which nothing was joined yet."""
    count = len(pieces["id"])
    return {
        "id": pieces["id"],
        "size": pieces["size"],
        "reach": np.zeros(count, np.int64),
        "parts": np.ones(count, np.int64),
        "weakest": np.full(count, UNTAKEN),
    }
