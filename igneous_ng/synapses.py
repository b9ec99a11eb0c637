"""Tables of synapses: what `synapse assign` makes, and what graphs, annotations and evaluations are made of.

A table is a folder. Rows lie in files, one for each *block* of the volume: cubes of a power of two voxels, counted from
the first voxel, so that a block is a range of ids and blocks in Morton order hold all rows by ascending id. A row is a
contact of one presynaptic and one postsynaptic segment; a cleft with several partners has several rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.desks import Desk
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Grid, Vec3, Vec3f, vec
from igneous_ng.kernels import locations

Array = npt.NDArray[Any]

COLUMNS: dict[str, str] = {
    "id": "<u8",  # a location (kernels/locations): that of the cleft's first voxel, plus the row's rank
    "pre": "<u8",  # the segment; 0: none
    "post": "<u8",
    "place": "<i4",  # [3] x, y, z in nm: the centroid of the cleft
    "pre_place": "<i4",  # [3] nm: a voxel of the segment beside the cleft; the centroid where there is no segment
    "post_place": "<i4",
    "lo": "<i4",  # [3] the box of the cleft, voxels of the table's level
    "hi": "<i4",
    "voxels": "<u8",  # of the cleft
    "mean": "|u1",  # of the evidence in the cleft, 255: sure
    "peak": "|u1",
    "pre_contact": "<u4",  # voxels of the segment within the radius
    "post_contact": "<u4",
    "pre_score": "<u8",  # the sum of evidence that the segment is presynaptic
    "post_score": "<u8",
    "confidence": "|u1",  # that these are the partners, 255: sure
    "kind": "|u1",  # 0 unknown, 1 excitatory, 2 inhibitory
    "kind_confidence": "|u1",
    "flags": "<u2",  # bits below
    "merged_into": "<u8",  # the id of the row that stands for this one; 0: it stands for itself
}
"""The columns of a row, and their types; those of places and boxes are [n, 3]."""
WIDE = ("place", "pre_place", "post_place", "lo", "hi")
NO_PRE, NO_POST, AUTAPSE, UNSURE, UNORIENTED, DUPLICATE, MORE = (1 << bit for bit in range(7))
"""Flags: no presynaptic, no postsynaptic segment; both the same; the next best partner is nearly as good; nothing tells
which side is which; another row stands for this one; the cleft has more partners than rows."""
LEFT_OUT = NO_PRE | NO_POST | AUTAPSE | DUPLICATE
"""Rows with one of these flags are no edges of a graph."""
_TYPE = "igneous_ng_synapses"


@dataclass(frozen=True)
class Frame:
    """Where a table is: ``bounds`` in voxels of ``resolution`` nm, ``block`` voxels along each side of a block.

    ``segmentation`` is the layer whose labels the partners are, and ``mip`` its level; None where nobody knows.
    ``made`` says how the table came to be.
    """

    bounds: Box
    resolution: Vec3f
    block: int
    segmentation: str | None
    mip: int
    made: dict[str, Any]

    def __post_init__(self) -> None:
        if self.block < 1 or self.block & self.block - 1:
            raise SpecError(f"blocks of {self.block} voxels; give a power of two")
        locations.axes(self.bounds.shape)

    def to_json(self) -> dict[str, Any]:
        """The frame in JSON's types."""
        return {"@type": _TYPE, **vars(self), "bounds": str(self.bounds), "resolution": list(self.resolution)}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Frame:
        """What :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            if raw["@type"] != _TYPE:
                raise ValueError(raw["@type"])
            x, y, z = map(float, raw["resolution"])
            parts = {"bounds": Box.parse(raw["bounds"]), "resolution": (x, y, z)}
            return cls(**{key: value for key, value in {**raw, **parts}.items() if key != "@type"})
        except (KeyError, TypeError, ValueError, SpecError) as error:
            raise DataError(f"{where}: not a table of synapses ({error!r}); make it again") from error

    @property
    def grid(self) -> Grid:
        """The blocks."""
        return Grid(self.bounds, (self.block, self.block, self.block))

    def ids(self, voxels: Array) -> Array:
        """The ids, uint64, of the first thing at each voxel, integers [n, 3] in the volume's own numbers."""
        shape = self.bounds.shape
        return locations.locations(locations.codes(voxels - np.array(self.bounds.lo), shape))

    def voxels(self, ids: Array) -> Array:
        """The voxels, int64 [n, 3], that ids tell."""
        found: Array = locations.points(locations.codes_of(ids), self.bounds.shape) + np.array(self.bounds.lo)
        return found

    def blocks_of(self, ids: Array) -> Array:
        """The place, int64 [n, 3], of the block of each id."""
        found: Array = locations.points(locations.codes_of(ids), self.bounds.shape) // self.block
        return found


@dataclass(frozen=True)
class Synapses(Desk):
    """The table in the folder ``layer``."""

    again = "run `synapse assign` again"

    @property
    def url(self) -> str:
        """Where the folder is."""
        return self.layer

    @cached_property
    def frame(self) -> Frame:
        """Where the table is; DataError where there is no finished one."""
        raw = self.io.get_json(f"{self.url}/table.json")
        if raw is None:
            raise DataError(f"{self.url}: there is no table of synapses; run `synapse assign` or `synapse import`")
        return Frame.parse(raw, f"{self.url}/table.json")

    def finish(self, frame: Frame) -> None:
        """Let the table be found."""
        self.io.put_json(f"{self.url}/table.json", frame.to_json())

    def write(self, at: Vec3, rows: Mapping[str, Array]) -> None:
        """Write the rows of a block, ascending by id."""
        self.put("rows", at, {name: np.ascontiguousarray(rows[name], kind) for name, kind in COLUMNS.items()})

    def rows(self, at: Vec3, names: Sequence[str] | None = None) -> dict[str, Array]:
        """The rows of a block, ascending by id, or only the columns called ``names``."""
        return self.read("rows", at, names)

    def blocks(self) -> Iterator[Vec3]:
        """The places of all blocks, in Morton order."""
        grid = self.frame.grid
        shape = grid.counts
        places = np.array([grid.at(box) for box in grid]).reshape(-1, 3)
        for index in np.argsort(locations.codes(places, shape)):
            yield vec(places[index])


def empty(count: int = 0) -> dict[str, Array]:
    """So many rows of zeros."""
    return {name: np.zeros((count, 3) if name in WIDE else count, kind) for name, kind in COLUMNS.items()}
