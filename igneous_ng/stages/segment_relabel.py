"""A layer of segments from supervoxels and what they were agglomerated to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import imaging, words
from igneous_ng.errors import DataError, SpecError
from igneous_ng.figures import Figure
from igneous_ng.formats.info import SEGMENTATION, new_info
from igneous_ng.geometry import Box, Grid, Vec3
from igneous_ng.io import IO
from igneous_ng.native.translate import translate
from igneous_ng.passes import Pass
from igneous_ng.segmentation import Supervoxels
from igneous_ng.stage import LayerUrl, Stage, arg, opt, sampled
from igneous_ng.store import Compression
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_COLUMNS = ("id", "segment", "size", "parts")
_COPIES = 2  # of the tables of leaves held at once: as stored and unpacked, what is kept of them
_SMALL = 1 << 18  # bytes that small lists and what was looked up lately may take
_LISTED = 100  # likely mergers of a task that its record names


@dataclass(frozen=True)
class _Segments:
    """The segments of an agglomeration, leaf by leaf; each table is read once."""

    known: Supervoxels
    agglomeration: str
    dust: int
    found: dict[Box, dict[str, Array]] = field(default_factory=dict)

    def leaves(self, box: Box) -> Grid:
        """The leaves that a box touches."""
        plan = self.known.plan
        return Grid(plan.bounds, plan.leaf, box)

    def bytes(self, leaf: Box) -> int:
        """What the table of a leaf takes."""
        return self.known.size(self._what, self.known.plan.at(leaf))

    def of(self, leaf: Box) -> dict[str, Array]:
        """The columns :data:`_COLUMNS` of a leaf, and ``label``: the segment, or 0 for dust."""
        if leaf not in self.found:
            self.found[leaf] = self.read(leaf)
        return self.found[leaf]

    def read(self, leaf: Box) -> dict[str, Array]:
        """As :meth:`of`, and not kept."""
        table = self.known.read(self._what, self.known.plan.at(leaf), _COLUMNS)
        label = np.where(table["size"] > self.dust, table["segment"], np.uint64(0))
        return {**table, "label": label}

    def rename(self, voxels: Array, box: Box, leaf: Box) -> None:
        """Make segments of the supervoxels of a leaf in ``voxels`` [x, y, z, 1], which are those of ``box``."""
        table, part = self.of(leaf), box & leaf
        own = voxels[part.slices(box.lo)][..., 0]
        unknown = own.copy(order="F")
        at = translate(unknown, table["id"], table["label"], own, False)
        if at >= 0:
            place = np.unravel_index(at, part.shape, order="F")
            where = tuple(int(a) + o for a, o in zip(place, part.lo, strict=True))
            raise DataError(
                f"{self.known.layer}: the supervoxel {unknown[place]} at {where} is not in the table of {leaf}; "
                "run `segment agglomerate` again if the supervoxels changed since"
            )

    @property
    def _what(self) -> str:
        return f"agglomerations/{self.agglomeration}/segments"


def _pieces(tables: Sequence[dict[str, Array]]) -> dict[str, Any]:
    """What leaves are in: supervoxels, how many are alone in their segment, segments, and the size of the median one.

    ``tables`` are of leaves; a segment counts once in each. Dust counts, too.
    """
    sizes, alone = [np.zeros(0, np.int64)], 0
    for table in tables:
        _, first = np.unique(table["segment"], return_index=True)
        sizes.append(table["size"][first])
        alone += int((table["parts"] == 1).sum())
    known, pieces = np.sort(np.concatenate(sizes)), sum(len(table["id"]) for table in tables)
    median = int(known[(len(known) - 1) // 2]) if len(known) else 0
    single = float(f"{alone / max(1, pieces):.6g}")
    return {"here": len(known), "median": median, "pieces": pieces, "single": single}


@dataclass(frozen=True, kw_only=True)
class Relabel(Stage, name="segment relabel"):
    """Write the segmentation: each supervoxel becomes its segment.

    A segment is called by its smallest supervoxel, so labels do not depend on the cells, nor on what was done in other
    places. Coarser levels are made by `image downsample`.
    """

    example = "./supervoxels ./seg -p 4"
    quality = MappingProxyType(
        {
            "here": Figure("segments in a leaf", counted=True),
            "median": Figure("voxels, in the whole volume, of the median segment of a leaf", of="here"),
            "single": Figure("share of supervoxels that were joined to no other", of="pieces"),
            "dust": Figure("segments dropped as dust", counted=True),
        }
    )

    supervoxels: LayerUrl = arg("Layer of supervoxels.")
    layer: LayerUrl = arg("Layer to create.")
    agglomeration: str = opt("default", "Name of the agglomeration whose segments are written.")
    dust: int = opt(0, "Drop segments of at most so many voxels, counted over the whole volume.")
    large: int = opt(0, "Tell segments of more voxels than this, which are likely mergers; 0 tells none.")
    chunk: Vec3 | None = opt(None, "Shape of a chunk in voxels; by default that of the supervoxels.")
    encoding: str = opt("compressed_segmentation", "Encoding of the layer; compresso is smaller and takes longer.")
    compress: Compression = opt("gzip", "How chunks are stored; none for readers that cannot undo it.")
    sharded: bool = opt(False, "Put chunks together in shards, as large as memory allows; by default one object each.")
    cell: Vec3 | None = opt(None, "How far a task goes along each axis, in voxels; by default as far as memory allows.")

    def check(self) -> None:
        """Numbers are real, and supervoxels are not written over."""
        super().check()
        for name in ("dust", "large"):
            if getattr(self, name) < 0:
                raise SpecError(f"{self.name}.{name}: {getattr(self, name)} voxels; give 0 or a positive number")
        for name in ("chunk", "cell"):
            if min(getattr(self, name) or (1,)) < 1:
                raise SpecError(f"{self.name}.{name}: {getattr(self, name)}; each side must be at least 1 voxel")
        if self.supervoxels == self.layer:
            raise SpecError(f"{self.name}: {self.layer} holds the supervoxels; give another layer for the segments")
        if self.sharded:
            imaging.packing_of(self.name, self.compress)

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def units(self, io: IO) -> Grid:
        """Cells of whole chunks, or of whole shards, once the segments are known."""
        known = Supervoxels(io, self.supervoxels)
        known.need(f"{self.agglomeration}/segments", f"segment agglomerate {self.supervoxels}")
        return self._pass(io).units()

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The supervoxels and the segments of a piece, chunks until shards are whole, and the tables of the leaves."""
        tables = self._segments(io)
        return _SMALL + self._pass(io).peak_bytes(unit) + _COPIES * sum(map(tables.bytes, tables.leaves(unit)))

    def execute(self, unit: Box, io: IO) -> None:
        """Write one cell."""
        volume, tables = self._volume(io), self._segments(io)

        def segments(box: Box) -> Array:
            voxels = io.read(volume, box)
            for leaf in tables.leaves(box):
                tables.rename(voxels, box, leaf)
            return voxels

        self._pass(io).make(io, unit, segments, self.compress)
        begun = (leaf for leaf in tables.leaves(unit) if Box.sized(leaf.lo, (1, 1, 1)) in unit)  # each in one task only
        found = [tables.of(leaf) for leaf in begun]
        io.note(**self._told(found), **_pieces(found))

    def finish(self, io: IO) -> None:
        """Show the layer."""
        io.create_layer(self.layer, self._pass(io).info)

    def said(self, io: IO) -> str:
        """How many segments there are, of all leaves or, where these are many, of some; and likely mergers."""
        tables = self._segments(IO(io.store))
        leaves = tables.known.plan.grid
        some = sampled(leaves)
        told = self._told(map(tables.read, some))
        scope = "" if len(some) == len(leaves) else f" begin in {len(some)} of {len(leaves):,} leaves"
        text = f"{words.count(told['segments'], 'segment')}{scope}, the largest of {told['largest']:,} voxels"
        text += f"; {told['dust']} are dust" if self.dust else ""
        return text + (f"; likely mergers: {words.listed(told['mergers']) or 'none'}" if self.large else "")

    def _told(self, tables: Iterable[dict[str, Array]]) -> dict[str, Any]:
        """Figures of the segments that are called by supervoxels of ``tables``."""
        found = {"segments": 0, "dust": 0, "largest": 0}
        mergers = list[str]()
        for table in tables:
            own = table["id"] == table["segment"]
            sizes, names = table["size"][own], table["id"][own]
            found["segments"] += int((sizes > self.dust).sum())
            found["dust"] += int((sizes <= self.dust).sum())
            found["largest"] = max(found["largest"], int(sizes.max(initial=0)))
            mergers += map(str, names[sizes > self.large].tolist() if self.large else ())
        return {**found, "likely_mergers": len(mergers), "mergers": mergers[:_LISTED]}

    def _segments(self, io: IO) -> _Segments:
        return _Segments(Supervoxels(io, self.supervoxels), self.agglomeration, self.dust)

    def _volume(self, io: IO) -> Volume:
        return io.volume(self.supervoxels, 0)

    def _pass(self, io: IO) -> Pass:
        volume = self._volume(io)
        info = new_info(
            kind=SEGMENTATION,
            dtype="uint64",
            channels=1,
            bounds=volume.bounds,
            resolution=volume.resolution,
            chunk=self.chunk or volume.chunk,
            encoding=self.encoding,
        )
        made = Pass(
            layer=self.layer,
            info=info,
            mip=0,
            count=0,
            factor=(2, 2, 1),
            method="mode",
            sparse=False,
            base=True,
            memory=self.memory // 2,  # the rest is for tables
            cell=self.cell,
        )
        if self.sharded:
            made = made.in_shards(0, imaging.packing_of(self.name, self.compress))
        return made.placed(io.info(self.layer)) if io.exists(f"{self.layer}/info") else made
