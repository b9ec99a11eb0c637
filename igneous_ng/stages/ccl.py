"""Connected components of a whole volume: cells are labelled, joined by a tree, numbered and written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from igneous_ng.climbing import SMALL, Joining, Spreading, over, settled
from igneous_ng.components import Desk, Plan, Ranks
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import SEGMENTATION, Info, new_info, round_to_chunks
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.kernels import components
from igneous_ng.kernels.components import Runs
from igneous_ng.masks import Masked
from igneous_ng.stage import Chain, LayerUrl, Stage, arg, opt
from igneous_ng.store import Compression
from igneous_ng.touching import face_name

_WIDE = 1 << 32
_RUN = 24  # bytes held per voxel while runs are made, if every voxel is one


@dataclass(frozen=True, kw_only=True)
class Labelling(Masked):
    """The fields that say what the components of a layer are."""

    source: LayerUrl = arg("Layer of labels, or of an image to be thresholded.")
    layer: LayerUrl = arg("Layer to create; what the phases tell each other is kept in its folder ccl.")
    mip: int = opt(0, "Mip level of the source.")
    cell: Vec3 = opt((256, 256, 256), "Voxels of one task, rounded up to whole chunks of the source.")
    connectivity: int = opt(6, "6, 18 or 26: neighbours of a voxel: by faces, also edges, also corners.")
    threshold_min: float | None = opt(None, "Lowest value of the foreground.")
    threshold_max: float | None = opt(None, "Highest value of the foreground.")
    fill_missing: bool = opt(False, "Read missing chunks as background.")

    def check(self) -> None:
        """Cells are real, limits in order, the result is elsewhere."""
        super().check()
        low, high = self.threshold_min, self.threshold_max
        if self.connectivity not in (6, 18, 26):
            raise SpecError(f"{self.name}.connectivity: {self.connectivity}; give 6, 18 or 26")
        if min(self.cell) < 1:
            raise SpecError(f"{self.name}.cell: {self.cell}; each side must be at least 1 voxel")
        if low is not None and high is not None and low > high:
            raise SpecError(f"{self.name}: nothing lies between threshold_min {low:g} and threshold_max {high:g}")
        if self.source == self.layer:
            raise SpecError(f"{self.name}: {self.layer} is the source; give another layer for the components")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer


@dataclass(frozen=True, kw_only=True)
class Label(Labelling, name="ccl label"):
    """Label the components of each cell: the first phase of connected components.

    Voxels of one value other than 0 are connected, or, with a threshold, all voxels within it. The phases are label,
    join (each level), spread (each level, downwards), rank (1, 2) and relabel; `ccl auto` runs them all. What a mask
    leaves out is background.
    """

    example = "./mask ./components --connectivity 26"

    def prepare(self, io: IO) -> None:
        """Write the plan that all phases follow."""
        Desk(io, self.layer).begin(self._plan(io))

    def units(self, io: IO) -> Sequence[Box]:
        """The cells."""
        return self._plan(io).grid

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The values, their components twice, and the runs."""
        volume = io.volume(self.source, self.mip)
        return unit.voxels * (2 * volume.voxel_bytes + 8 + _RUN) + self.mask_bytes(io, unit, volume.resolution)

    def execute(self, unit: Box, io: IO) -> None:
        """Label one cell; keep the labelling as runs, and what neighbours need."""
        plan, desk = self._plan(io), Desk(io, self.layer)
        at = plan.at(unit)
        volume = io.volume(self.source, self.mip, self.fill_missing)
        image, left_out = self.seen(io, volume.info, volume.mip, unit, partial(io.read, volume))
        labels = components.foreground(image[..., 0], *plan.limits)
        if left_out is not None:
            labels[left_out] = 0
        runs, parts = components.label(labels, plan.connectivity)
        shape = unit.shape
        faces = {face_name(axis, side): runs.face(shape, axis, side) for axis, side in components.FACES}
        desk.put("runs", at, {"lengths": runs.lengths, "ids": runs.ids})
        desk.put("faces", at, faces)
        keys = components.global_index(parts.first, unit, plan.bounds)
        value = labels.ravel(order="F")[parts.first]
        desk.put("parts", at, {"key": keys, "size": parts.size, "value": value})
        io.note(components=len(keys))

    def finish(self, io: IO) -> None:
        """Allow joining."""
        Desk(io, self.layer).done("label")

    def _plan(self, io: IO) -> Plan:
        info, volume = io.info(self.source), io.volume(self.source, self.mip)
        limits = self.threshold_min, self.threshold_max
        if volume.channels != 1:
            raise SpecError(f"ccl label: {self.source} has {volume.channels} channels; give a layer of one")
        if info.dtype.kind == "f" and limits == (None, None):
            raise SpecError(f"ccl label: {self.source} is {info.dtype.name}; give --threshold-min or --threshold-max")
        cell = round_to_chunks(volume.scale, self.cell)
        return Plan(
            source=self.source,
            mip=self.mip,
            bounds=volume.bounds,
            cell=cell,
            connectivity=self.connectivity,
            limits=limits,
            fill_missing=self.fill_missing,
            mask=self.mask_parameters(),
        )


@dataclass(frozen=True, kw_only=True)
class Phase(Stage):
    """What the later phases have in common: they follow the plan of `ccl label`."""

    layer: LayerUrl = arg("Layer that `ccl label` was given to create.")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The layer whose components they are."""
        return (self.desk(io).plan.source,)

    def desk(self, io: IO) -> Desk:
        """Where the phases leave what they know."""
        return Desk(io, self.layer)


@dataclass(frozen=True, kw_only=True)
class Join(Phase, Joining, name="ccl join"):
    """Join the components of neighbouring cells, one level of the tree at a time, upwards from 1.

    A node keeps only what touches its outer faces, so no task ever holds a list of all components.
    """

    example = "./components --level 1"
    first = "label"


@dataclass(frozen=True, kw_only=True)
class Spread(Phase, Spreading, name="ccl spread"):
    """Tell the nodes of the tree what became of their components, one level at a time, downwards to 1.

    It begins below the top; a tree of one level needs none.
    """

    example = "./components --level 1"


@dataclass(frozen=True, kw_only=True)
class Dusting(Phase):
    """What the phases have in common that know which components are kept."""

    dust: int = opt(0, "Drop components of at most so many voxels, counted over the whole volume.")

    def check(self) -> None:
        """Dust is a number of voxels."""
        super().check()
        if self.dust < 0:
            raise SpecError(f"{self.name}.dust: {self.dust} voxels; give 0 or a positive number")

    def ranks(self, io: IO) -> Ranks:
        """The numbering of what is kept."""
        return Ranks(self.desk(io), self.dust)


@dataclass(frozen=True, kw_only=True)
class Rank(Dusting, name="ccl rank"):
    """Number the components by their first voxels: level 1 along lines of cells, level 2 across slabs of lines.

    Numbers are 1, 2, 3 ... in the order of first voxels, x fastest, whatever the cells were.
    """

    example = "./components --level 1"

    level: int = opt(1, "1 for lines, then 2 for slabs.")

    def check(self) -> None:
        """There are two levels."""
        super().check()
        if self.level not in (1, 2):
            raise SpecError(f"ccl rank.level: {self.level}; give 1, then 2")

    def prepare(self, io: IO) -> None:
        """Refuse to begin before the tree is done, or the lines."""
        desk = self.desk(io)
        if self.level == 2:
            desk.need(f"rank-{self.dust}", f"ccl rank {self.layer} --dust {self.dust} --level 1")
        else:
            settled(desk, "ccl", self.layer)

    def units(self, io: IO) -> Sequence[int]:
        """The lines, or the slabs."""
        _, ny, nz = self.desk(io).plan.shape
        return range(ny * nz if self.level == 1 else nz)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """The keys of a line, or the counts of a slab."""
        desk, ranks = self.desk(io), self.ranks(io)
        nx, ny, _ = desk.plan.shape
        if self.level == 2:
            return SMALL + 6 * 8 * ny * (ranks.planes(unit) + 1)
        y, z = unit % ny, unit // ny
        return SMALL + 3 * sum(desk.size("parts", (x, y, z)) for x in range(nx))

    def execute(self, unit: int, io: IO) -> None:
        """Number one line or slab."""
        ny = self.desk(io).plan.shape[1]
        if self.level == 2:
            self.ranks(io).rank_slab(unit)
        else:
            self.ranks(io).rank_line(unit % ny, unit // ny)

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        if self.level == 2:
            self.ranks(io).close()
        else:
            self.desk(io).done(f"rank-{self.dust}")


@dataclass(frozen=True, kw_only=True)
class Writing(Dusting):
    """The fields that say how the layer of components is stored."""

    chunk: Vec3 | None = opt(None, "Shape of a chunk in voxels, by default the source's; cells must be whole chunks.")
    encoding: str = opt("compressed_segmentation", "Encoding of the layer; compresso is smaller and takes longer.")
    compress: Compression = opt("gzip", "How chunks are stored; none for readers that cannot undo it.")

    def check(self) -> None:
        """Chunks are real."""
        super().check()
        if self.chunk is not None and min(self.chunk) < 1:
            raise SpecError(f"{self.name}.chunk: {self.chunk}; each side must be at least 1 voxel")


@dataclass(frozen=True, kw_only=True)
class Relabel(Writing, name="ccl relabel"):
    """Write the layer of components: the last phase.

    Labels are those of `ccl rank`, as uint32, or as uint64 where there are more than that can count.
    """

    example = "./components --dust 100"

    def prepare(self, io: IO) -> None:
        """Write the info of the layer."""
        io.create_layer(self.layer, self._info(io))

    def units(self, io: IO) -> Sequence[Box]:
        """The cells."""
        self._info(io)
        return self.desk(io).plan.grid

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The runs, the labels and their chunks."""
        desk = self.desk(io)
        runs = desk.size("runs", desk.plan.at(unit))
        return SMALL + 4 * runs + 4 * unit.voxels * self._info(io).dtype.itemsize

    def execute(self, unit: Box, io: IO) -> None:
        """Write the components of one cell."""
        desk, info = self.desk(io), self._info(io)
        at = desk.plan.at(unit)
        _, keys, sizes = desk.wholes(at, desk.tree.answer(io, desk.tree.parent(at)))
        kept = sizes[:, 0] > self.dust
        wanted, which = np.unique(keys[kept], return_inverse=True)
        labels = np.zeros(len(keys) + 1, info.dtype)
        labels[1:][kept] = self.ranks(io).of(wanted)[which] + 1
        voxels = Runs(**desk.read("runs", at)).paint(labels, unit.shape)
        io.write(io.volume(self.layer, 0, info=info), unit, voxels[..., None], self.compress)

    def spent(self, io: IO) -> tuple[str, ...]:
        """All that the phases told each other."""
        return (self.desk(io).url,)

    def _info(self, io: IO) -> Info:
        plan = self.desk(io).plan
        source = io.info(plan.source).scales[plan.mip]
        chunk = self.chunk or source.chunk
        if any(c % k and c < n for c, k, n in zip(plan.cell, chunk, plan.bounds.shape, strict=True)):
            raise SpecError(f"ccl relabel.chunk: cells of {plan.cell} are not whole chunks of {chunk}; give others")
        return new_info(
            kind=SEGMENTATION,
            dtype="uint32" if self.ranks(io).starts[-1] < _WIDE else "uint64",
            channels=1,
            bounds=plan.bounds,
            resolution=source.resolution,
            chunk=chunk,
            encoding=self.encoding,
        )


@dataclass(frozen=True, kw_only=True)
class Auto(Writing, Labelling, Chain, name="ccl auto"):
    """Connected components of a whole layer: all phases, one after the other.

    Voxels of one value other than 0 are connected, or, with a threshold, all voxels within it. Components are
    numbered 1, 2, 3 ... by their first voxels, x fastest: the labels do not depend on the cells. What a mask leaves
    out is background.
    """

    example = "./mask ./components --connectivity 26 -p 4"

    layer: LayerUrl = arg("Layer to create.")

    def check(self) -> None:
        """Cells are whole chunks: the last stage would find otherwise, when all others are done."""
        super().check()
        if self.chunk is not None and any(c % k for c, k in zip(self.cell, self.chunk, strict=True)):
            raise SpecError(f"ccl auto.chunk: cells of {self.cell} are not whole chunks of {self.chunk}; give others")

    def steps(self, io: IO) -> Iterator[Stage]:
        """Label, join upwards, spread downwards, rank, relabel."""
        yield self.step(Label)
        yield from over(self, self.desk(io).tree, Join, Spread)
        for level in (1, 2):
            yield self.step(Rank, level=level)
        yield self.step(Relabel)
