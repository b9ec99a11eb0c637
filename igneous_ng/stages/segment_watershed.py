"""Supervoxels from affinities: the first stage of segmentation, `docs/design/025`."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import words
from igneous_ng.affinities import Affinities
from igneous_ng.errors import DataError, SpecError
from igneous_ng.figures import Figure
from igneous_ng.formats.info import SEGMENTATION, Info, new_info, round_to_chunks
from igneous_ng.geometry import Box, Grid, Vec3
from igneous_ng.io import IO
from igneous_ng.kernels import supervoxel_ids, watershed
from igneous_ng.kernels.components import global_index
from igneous_ng.masks import Masked
from igneous_ng.segmentation import Plan, Supervoxels
from igneous_ng.stage import LayerUrl, arg, opt, sampled
from igneous_ng.store import Compression

Array = npt.NDArray[Any]
_HELD = 3 + 16 + 9  # bytes of a voxel: affinities, runs and basins, where both are as small as in noise; then ids
_SMALL = 64_000_000  # bytes for chunks that are being written


@dataclass(frozen=True, kw_only=True)
class Watershed(Masked, name="segment watershed"):
    """Make supervoxels: each voxel joins over its best face, leaf by leaf.

    What joins across the faces of leaves is told by `segment graph`, so that segments do not depend on leaves. By
    default nearly every voxel is in a supervoxel: what is boundary is for the agglomeration to say, and a
    voxel that is left out here stays out. What a mask leaves out has affinity 0 with everything.
    """

    example = "./affinities ./supervoxels --low 0.05 -p 4"
    quality = MappingProxyType(
        {
            "supervoxels": Figure("supervoxels", counted=True),
            "median": Figure("voxels of the median supervoxel", of="supervoxels"),
            "background": Figure("share of voxels in no supervoxel"),
        }
    )

    affinities: LayerUrl = arg("Layer of affinities: 3 channels, or 1 of boundaries; uint8, or float32 from 0 to 1.")
    layer: LayerUrl = arg("Layer of supervoxels to create.")
    mip: int = opt(0, "Level of the affinities to read; it becomes level 0 of the new layer.")
    axes: Vec3 = opt((0, 1, 2), "Which channel joins along x, y and z; 2,1,0 where they are stored as z, y, x.")
    low: float = opt(0.01, "Faces of at most this affinity, of 0 to 1, join nothing; a voxel of only such faces is 0.")
    high: float = opt(0.99, "Faces from this affinity on always join.")
    leaf: Vec3 = opt((512, 512, 256), "Voxels of one task, rounded up to whole chunks; a supervoxel lies in one leaf.")
    chunk: Vec3 | None = opt(None, "Shape of a chunk in voxels; by default that of the affinities.")
    encoding: str = opt("compressed_segmentation", "Encoding of the layer; compresso is smaller and takes longer.")
    compress: Compression = opt("gzip", "How chunks are stored; none for readers that cannot undo it.")
    fill_missing: bool = opt(False, "Read missing chunks as affinities of 0 instead of failing.")

    def check(self) -> None:
        """Limits are in order, leaves and chunks real, and the result is elsewhere."""
        super().check()
        if not 0 <= self.low < self.high <= 1:
            raise SpecError(f"{self.name}: low {self.low:g} and high {self.high:g}; give 0 <= low < high <= 1")
        if min(self.leaf) < 1 or min(self.chunk or self.leaf) < 1:
            raise SpecError(f"{self.name}: leaf {self.leaf}, chunk {self.chunk}; each side must be at least 1 voxel")
        if self.affinities == self.layer:
            raise SpecError(f"{self.name}: {self.layer} holds the affinities; give another layer for the supervoxels")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def prepare(self, io: IO) -> None:
        """Write the plan that all stages follow, and the info of the layer."""
        Supervoxels(io, self.layer).begin(self._plan(io))
        io.create_layer(self.layer, self._made(io))

    def units(self, io: IO) -> Grid:
        """The leaves."""
        return self._plan(io).grid

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The affinities as they are read, or with the supervoxels."""
        read = self._source.peak_bytes(io, unit.grow((1, 1, 1), (2, 2, 2)))
        wide = unit.grow((2, 2, 2), (2, 2, 2))
        masking = self.mask_bytes(io, wide, self._source.volume(io).resolution)
        return _SMALL + max(read, unit.voxels * _HELD) + masking

    def execute(self, unit: Box, io: IO) -> None:
        """Make the supervoxels of one leaf."""
        plan = self._plan(io)
        at, within = plan.at(unit), watershed.limits(plan.low, plan.high)
        found = watershed.basins(self._read(io, unit), within, supervoxel_ids.first(at, plan.bits))
        ids = np.arange(1, len(found.size) + 1, dtype=np.uint64) + np.uint64(supervoxel_ids.first(at, plan.bits))
        if len(ids) > supervoxel_ids.most(plan.bits):
            raise DataError(f"{self.layer}: {len(ids)} supervoxels in {unit} are more than ids can tell; {_SMALLER}")
        self._write(io, unit, found)
        first = global_index(found.first, unit, plan.bounds).astype(np.int64)
        pieces = {"id": ids, "size": found.size, "faces": found.faces, "first": first}
        Supervoxels(io, self.layer).put("pieces", at, pieces)
        background = float(f"{1 - found.size.sum() / unit.voxels:.6g}")
        sizes = np.sort(found.size)
        median = int(sizes[(len(sizes) - 1) // 2]) if len(sizes) else 0
        io.note(supervoxels=len(ids), background=background, largest=int(sizes.max(initial=0)), median=median)

    def finish(self, io: IO) -> None:
        """Allow `segment graph`."""
        Supervoxels(io, self.layer).done("watershed")

    def said(self, io: IO) -> str:
        """How many supervoxels there are, and of what size; of some leaves where these are many."""
        plan, made, leaves = self._plan(io), Supervoxels(IO(io.store), self.layer), self.units(io)
        some = sampled(leaves)
        sizes = np.concatenate([made.read("pieces", plan.at(leaf), ("size",))["size"] for leaf in some])
        scope = f" in {len(some)} of {len(leaves)} leaves" if len(some) < len(leaves) else ""
        mean = f" of {sizes.mean():.3g} voxels, the largest of {sizes.max():,}" if len(sizes) else ""
        rest = 1 - sizes.sum() / sum(leaf.voxels for leaf in some)
        return f"{words.count(len(sizes), 'supervoxel')}{scope}{mean}; {rest:.1%} of voxels are in none"

    @property
    def _source(self) -> Affinities:
        return Affinities(self.affinities, self.mip, self.axes, self.fill_missing)

    def _read(self, io: IO, leaf: Box) -> Array:
        """The affinities of a leaf and around it, cut as the mask says; nothing is read where the leaf is all cut."""
        box, resolution = leaf.grow((1, 1, 1), (2, 2, 2)), self._source.volume(io).resolution
        left_out = self.excluded(io, box.grow((1, 1, 1), (0, 0, 0)), resolution)
        if left_out is None:
            return self._source.read(io, box)
        count = int(np.count_nonzero(left_out[2:-2, 2:-2, 2:-2]))
        io.note(masked_voxels=count)
        if count == leaf.voxels:
            return np.zeros((*box.shape, 3), np.uint8, order="F")
        affinities = self._source.read(io, box)
        watershed.cut(affinities, left_out)
        return affinities

    def _write(self, io: IO, leaf: Box, found: watershed.Basins) -> None:
        """Write the ids, one layer of chunks after the other: memory that is used again need not be cleared again."""
        volume = io.volume(self.layer, 0, info=self._made(io))
        deep = min(volume.chunk[2], leaf.shape[2])
        ids = np.empty((*leaf.shape[:2], deep, 1), np.uint64, order="F")
        with io.writing(volume, leaf, self.compress) as put:
            for z in range(leaf.lo[2], leaf.hi[2], deep):
                part = Box((*leaf.lo[:2], z), (*leaf.hi[:2], min(z + deep, leaf.hi[2])))
                slices = ids[:, :, : part.shape[2]]
                found.paint(z - leaf.lo[2], slices[..., 0])
                put(part, slices)

    def _made(self, io: IO) -> Info:
        """The new layer."""
        volume = self._source.volume(io)
        return new_info(
            kind=SEGMENTATION,
            dtype="uint64",
            channels=1,
            bounds=volume.bounds,
            resolution=volume.resolution,
            chunk=self.chunk or volume.chunk,
            encoding=self.encoding,
        )

    def _plan(self, io: IO) -> Plan:
        scale = self._made(io).scales[0]
        leaf, mask = round_to_chunks(scale, self.leaf), self.mask_parameters()
        plan = Plan(self._source, scale.bounds, leaf, self.low, self.high, mask)
        if 3 * scale.bounds.voxels >= 1 << 63:
            raise SpecError(f"{self.affinities}: {scale.bounds} has more faces than can be numbered; cut it in parts")
        most = supervoxel_ids.most(plan.bits)
        if plan.box((0, 0, 0)).voxels // 2 - 1 > most:  # each is of two voxels at least, but for some at the faces
            raise SpecError(
                f"{self.name}.leaf: leaves of {leaf} can hold more than {most:,} supervoxels, which is what ids have "
                f"room for in a grid of {plan.shape}; {_SMALLER}"
            )
        return plan


_SMALLER = "give a smaller --leaf"
