"""Clefts of synapses in a whole volume of evidence: cells are labelled, joined by a tree, judged and written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import clefts
from igneous_ng.clefts import Desk, Plan
from igneous_ng.climbing import SMALL, Joining, Rising, Spreading, over, settled
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import SEGMENTATION, Info, new_info, round_to_chunks
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import cleft_parts, components
from igneous_ng.kernels.cleft_parts import least, quantised
from igneous_ng.kernels.components import Runs
from igneous_ng.labelled import read_box
from igneous_ng.masks import Masked
from igneous_ng.stage import Chain, Layer, LayerUrl, Stage, arg, opt
from igneous_ng.touching import face_name
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_RUN = 24  # bytes held per voxel while runs are made, if every voxel is one
_PART = 400  # bytes held per part of a cell: what is known of it, twice, and packed
_PARTS = 100_000  # that a cell may have at any rate
_SPARSE = 8  # voxels for each further part: more parts are noise, and no clefts
_DTYPES = ("uint8", "uint16", "float32")


@dataclass(frozen=True, kw_only=True)
class Labelling(Masked):
    """The fields that say what clefts are."""

    evidence: LayerUrl = arg("Layer of evidence of clefts: uint8, uint16, or float32 from 0 to 1.")
    layer: LayerUrl = arg("Layer of clefts to create; its folder synapse holds what is known of them.")
    mip: int = opt(0, "Mip level of the evidence.")
    channel: tuple[int, ...] = opt((), "Channels of the evidence, of which the greatest counts; by default all.")
    threshold: float = opt(0.5, "Least evidence of a voxel of a cleft, as a fraction of the greatest possible.")
    connectivity: int = opt(26, "6, 18 or 26: neighbours of a voxel: by faces, also edges, also corners.")
    split_by: Layer | None = opt(
        None, "Segmentation whose segments no cleft leaves; 0, which is no segment, is taken for one."
    )
    fill_missing: bool = opt(False, "Read missing chunks as no evidence, and of segments as 0.")
    cell: Vec3 = opt((256, 256, 256), "Voxels of one task, rounded up to whole chunks of the evidence.")

    def check(self) -> None:
        """Cells, channels and the threshold are real, the result is elsewhere."""
        super().check()
        if self.connectivity not in (6, 18, 26):
            raise SpecError(f"{self.name}.connectivity: {self.connectivity}; give 6, 18 or 26")
        if min(self.cell) < 1:
            raise SpecError(f"{self.name}.cell: {self.cell}; each side must be at least 1 voxel")
        if not 0 < self.threshold <= 1:
            raise SpecError(f"{self.name}.threshold: {self.threshold:g}; give a fraction above 0, at most 1")
        if self.layer in (self.evidence, self.split_by):
            raise SpecError(f"{self.name}: {self.layer} is read; give another layer for the clefts")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer


@dataclass(frozen=True, kw_only=True)
class Label(Labelling, name="synapse label"):
    """Label the pieces of clefts in each cell: the first phase of `synapse detect`.

    A cleft is what is connected of the voxels of enough evidence and, where a segmentation splits them, of one
    segment. The phases are label, join (each level), spread (each level, downwards), relabel and tally (each level).
    What a mask leaves out is no evidence.
    """

    example = "./evidence ./clefts --threshold 0.5"
    local, quality = ("threshold",), clefts.PIECES

    def prepare(self, io: IO) -> None:
        """Write the plan that all phases follow."""
        Desk(io, self.layer).begin(self._plan(io))

    def units(self, io: IO) -> Sequence[Box]:
        """The cells."""
        return self._plan(io).grid

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The evidence, as it is read and quantised, runs, segments, and as many parts as a cell may have."""
        volume = io.volume(self.evidence, self.mip)
        voxel = 2 * volume.voxel_bytes + 4 * volume.dtype.itemsize + _RUN
        if self.split_by is not None:
            voxel += 2 * self._segments(io, volume).voxel_bytes + 16
        return SMALL + unit.voxels * voxel + _PART * _most(unit) + self.mask_bytes(io, unit, volume.resolution)

    def execute(self, unit: Box, io: IO) -> None:
        """Label one cell; keep the labelling as runs, what is known of its parts, and what neighbours need."""
        plan, desk = self._plan(io), Desk(io, self.layer)
        at = plan.at(unit)
        evidence, seen = self._evidence(io, plan, unit)
        labels = self._labels(io, plan, unit, evidence >= np.uint8(plan.least))
        start = vec(a - b for a, b in zip(unit.lo, plan.bounds.lo, strict=True))
        runs, parts, payload = cleft_parts.measured(labels, evidence, plan.connectivity, start)
        if len(parts.first) > _most(unit):
            raise DataError(
                f"{self.evidence} mip {self.mip}: {unit} holds {len(parts.first):,} pieces, which is noise; give a "
                f"higher --threshold than {self.threshold:g}"
            )
        desk.put("labels", at, {"lengths": runs.lengths, "ids": runs.ids})
        desk.put("faces", at, {face_name(*side): face for side, face in cleft_parts.faces(runs, unit.shape).items()})
        keys = components.global_index(parts.first, unit, plan.bounds)
        value = labels.ravel(order="F")[parts.first]
        desk.put("parts", at, {"key": keys, "value": value, "payload": payload, "seen": np.array([seen])})
        io.note(parts=len(keys))

    def finish(self, io: IO) -> None:
        """Allow joining."""
        Desk(io, self.layer).done("label")

    def _evidence(self, io: IO, plan: Plan, unit: Box) -> tuple[Array, int]:
        """The evidence of a cell, uint8 [x, y, z], and how many of its voxels no mask leaves out."""
        volume = io.volume(self.evidence, self.mip, self.fill_missing)
        image, left_out = self.seen(io, volume.info, volume.mip, unit, partial(io.read, volume))
        found = quantised(image[..., plan.channels[0]])
        for channel in plan.channels[1:]:
            found = np.maximum(found, quantised(image[..., channel]))
        return found, unit.voxels - (0 if left_out is None else int(np.count_nonzero(left_out)))

    def _labels(self, io: IO, plan: Plan, unit: Box, inside: Array) -> Array:
        """What is labelled: 1 where there is enough evidence, or one more than the segment; 0 elsewhere."""
        if plan.split_by is None or not inside.any():
            return inside.view(np.uint8)
        volume = io.volume(plan.split_by, plan.split_mip, self.fill_missing)
        labels = np.zeros(unit.shape, np.uint64, order="F")
        for part in (chunk & unit for chunk in volume.chunks(unit)):
            where = inside[part.slices(unit.lo)]
            if not where.any():
                continue
            found = np.where(where, read_box(io, volume, part).astype(np.uint64) + np.uint64(1), 0)
            if np.count_nonzero(found) < np.count_nonzero(where):
                raise DataError(f"{volume.path}: {part} has the label 2**64 - 1, which is none; renumber the segments")
            labels[part.slices(unit.lo)] = found
        return labels

    def _plan(self, io: IO) -> Plan:
        volume = io.volume(self.evidence, self.mip)
        if volume.dtype.name not in _DTYPES:
            raise SpecError(
                f"{self.name}: {self.evidence} holds {volume.dtype.name}; evidence is {', '.join(_DTYPES)}: give "
                "another layer, or convert it first"
            )
        channels = tuple(sorted(set(self.channel))) or tuple(range(volume.channels))
        if not 0 <= channels[0] <= channels[-1] < volume.channels:
            raise SpecError(
                f"{self.name}.channel: {list(self.channel)}; {self.evidence} has channels 0 to {volume.channels - 1}"
            )
        segments = self._segments(io, volume) if self.split_by is not None else None
        return Plan(
            evidence=self.evidence,
            mip=self.mip,
            channels=channels,
            least=least(self.threshold),
            bounds=volume.bounds,
            resolution=volume.resolution,
            chunk=volume.chunk,
            cell=round_to_chunks(volume.scale, self.cell),
            connectivity=self.connectivity,
            split_by=self.split_by,
            split_mip=segments.mip if segments else 0,
            fill_missing=self.fill_missing,
            mask=self.mask_parameters(),
        )

    def _segments(self, io: IO, volume: Volume) -> Volume:
        """The level of the segmentation that has the evidence's resolution; SpecError where none fits."""
        info = io.info(self.split_by or "")
        if info.dtype.kind not in "ui" or info.channels != 1:
            raise SpecError(
                f"{self.name}.split_by: {self.split_by} holds {info.channels} channel(s) of {info.dtype.name}; give a "
                "segmentation"
            )
        mip = next((n for n, scale in enumerate(info.scales) if scale.resolution == volume.resolution), None)
        if mip is None:
            raise SpecError(
                f"{self.name}.split_by: {self.split_by} has no level of {volume.resolution} nm, as {self.evidence} "
                f"mip {self.mip} is; give evidence, or a segmentation, of the other's resolution"
            )
        if volume.bounds not in info.scales[mip].bounds:
            raise SpecError(
                f"{self.name}.split_by: {self.split_by} mip {mip} is {info.scales[mip].bounds}, and the evidence "
                f"{volume.bounds}; give a segmentation of all of it"
            )
        return io.volume(self.split_by or "", mip, self.fill_missing, info)


def _most(unit: Box) -> int:
    """How many parts a cell may have."""
    return _PARTS + unit.voxels // _SPARSE


@dataclass(frozen=True, kw_only=True)
class Phase(Stage):
    """What the later phases have in common: they follow the plan of `synapse label`."""

    layer: LayerUrl = arg("Layer of clefts that `synapse label` was given to create.")

    def home(self) -> str:
        """Records lie with the new layer."""
        return self.layer

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The layer whose clefts they are."""
        return (self.desk(io).plan.evidence,)

    def desk(self, io: IO) -> Desk:
        """Where the phases leave what they know."""
        return Desk(io, self.layer)


@dataclass(frozen=True, kw_only=True)
class Join(Phase, Joining, name="synapse join"):
    """Join the pieces of clefts of neighbouring cells, one level of the tree at a time, upwards from 1.

    A node keeps only what touches its outer faces, so no task ever holds a list of all clefts.
    """

    example = "./clefts --level 1"
    first = "label"


@dataclass(frozen=True, kw_only=True)
class Spread(Phase, Spreading, name="synapse spread"):
    """Tell the nodes of the tree what became of their clefts, one level at a time, downwards to 1.

    It begins below the top; a tree of one level needs none.
    """

    example = "./clefts --level 1"


@dataclass(frozen=True, kw_only=True)
class Judging(Phase):
    """The fields that say which clefts are kept; whole clefts are judged."""

    min_size: int = opt(0, "Leave out clefts of fewer voxels.")
    max_size: int = opt(0, "Leave out clefts of more voxels; 0 keeps them.")
    min_score: float = opt(0.0, "Leave out clefts of less mean evidence, as a fraction.")
    min_peak: float = opt(0.0, "Leave out clefts without a voxel of so much evidence, as a fraction.")

    def check(self) -> None:
        """Sizes and fractions are real."""
        super().check()
        if self.min_size < 0 or self.max_size < 0:
            raise SpecError(f"{self.name}: sizes of {self.min_size} to {self.max_size} voxels; give none below 0")
        if 0 < self.max_size < self.min_size:
            raise SpecError(
                f"{self.name}: no cleft has at least {self.min_size} voxels and at most {self.max_size}; give others"
            )
        for name in ("min_score", "min_peak"):
            if not 0 <= getattr(self, name) <= 1:
                raise SpecError(f"{self.name}.{name}: {getattr(self, name):g}; give a fraction from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Relabel(Judging, name="synapse relabel"):
    """Write the layer of clefts, and rows of those that begin in each cell: what is known of whole clefts.

    Labels are locations of first voxels, uint64: they depend neither on the cells nor on other clefts.
    """

    example = "./clefts --min-size 50"
    quality = clefts.WHOLE

    def prepare(self, io: IO) -> None:
        """Refuse to begin before the tree is done; write the info of the layer."""
        settled(self.desk(io), "synapse", self.layer)
        io.create_layer(self.layer, self._info(io))

    def units(self, io: IO) -> Sequence[Box]:
        """The cells."""
        return self.desk(io).plan.grid

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The runs, what is known of parts and of clefts that lead out, the labels and their chunks."""
        desk = self.desk(io)
        at = desk.plan.at(unit)
        lists = desk.size("labels", at) + desk.size("parts", at) + desk.tree.answer_bytes(io, desk.tree.parent(at))
        return SMALL + 4 * lists + 4 * unit.voxels * self._info(io).dtype.itemsize

    def execute(self, unit: Box, io: IO) -> None:
        """Judge and write the clefts of one cell."""
        desk, plan = self.desk(io), self.desk(io).plan
        at = plan.at(unit)
        own, keys, payload = desk.wholes(at, desk.tree.answer(io, desk.tree.parent(at)))
        reasons = clefts.judged(payload, (self.min_size, self.max_size), self.min_score, self.min_peak)
        kept = ~np.any(list(reasons.values()), axis=0)
        labels = np.zeros(len(keys) + 1, np.uint64)
        labels[1:][kept] = plan.ids(keys[kept])
        io.write(io.volume(self.layer, 0, info=self._info(io)), unit, self._painted(desk, unit, labels))
        begins = own == keys
        whole = clefts.rows_of(plan, keys[begins & kept], payload[begins & kept])
        desk.clefts.write(at, whole)
        counts = clefts.counted(whole, {name: found[begins] for name, found in reasons.items()})
        desk.count(0, at, {**counts, "seen": int(desk.read("parts", at, ["seen"])["seen"][0])})
        io.note(**counts, **clefts.figures(whole))

    def finish(self, io: IO) -> None:
        """Allow counting."""
        self.desk(io).done("relabel")

    def _painted(self, desk: Desk, unit: Box, labels: Array) -> Array:
        """The voxels of a cell, [x, y, z, 1]; nothing is made of the many that have no cleft."""
        if not labels.any():
            return np.broadcast_to(labels[:1], (*unit.shape, 1))
        return Runs(**desk.read("labels", desk.plan.at(unit))).paint(labels, unit.shape)[..., None]

    def _info(self, io: IO) -> Info:
        plan = self.desk(io).plan
        return new_info(
            kind=SEGMENTATION,
            dtype="uint64",
            channels=1,
            bounds=plan.bounds,
            resolution=plan.resolution,
            chunk=plan.chunk,
            encoding="compressed_segmentation",
        )


@dataclass(frozen=True, kw_only=True)
class Tally(Phase, Rising, name="synapse tally"):
    """Count the clefts of all cells, one level of the tree at a time, upwards from 1: the last phase.

    The top leaves LAYER/synapse/clefts.json: how many were found, kept, and left out for what reason, how many are
    kept in a cubic micrometre that no mask leaves out, and the mean of their mean evidence.
    """

    example = "./clefts --level 1"

    verb, first = "tally", "relabel"

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A few numbers."""
        return SMALL

    def execute(self, unit: int, io: IO) -> None:
        """Count for one node."""
        desk = self.desk(io)
        at = desk.tree.at(self.level, unit)
        counts = desk.tally(self.level, at)
        desk.count(self.level, at, counts)
        told = clefts.summary(desk.plan, counts)
        if self.level == desk.tree.top:
            io.put_json(f"{desk.clefts.url}/clefts.json", told)
        io.note(clefts=told["kept"], per_um3=told["per_um3"], mean=told["mean"])

    def said(self, io: IO) -> str:
        """How many clefts there are, and why others are none."""
        desk = self.desk(IO(io.store))
        if self.level < desk.tree.top:
            return ""
        told = desk.clefts.told
        reasons = ", ".join(f"{count:,} {name}" for name, count in told["left_out"].items() if count)
        less = f"; left out: {reasons}" if reasons else ""
        return f"{told['kept']:,} clefts, {told['per_um3']:g} per um^3, mean evidence {told['mean']:.3g}{less}"

    def spent(self, io: IO) -> tuple[str, ...]:
        """All that the phases told each other; the rows stay."""
        desk = self.desk(io)
        return (desk.url,) if self.level == desk.tree.top else ()


@dataclass(frozen=True, kw_only=True)
class Detect(Judging, Labelling, Chain, name="synapse detect"):
    """Find the clefts of synapses in a layer of evidence: all phases, one after the other.

    A cleft is what is connected of the voxels of enough evidence, over the whole volume, and, where a segmentation
    splits them, of one segment. Its label tells the place of its first voxel and depends on nothing else. Clefts are
    kept by their size, mean and greatest evidence; what is known of each is in the folder synapse/clefts of the layer,
    for `synapse assign`. What a mask leaves out is no evidence.
    """

    example = "./evidence ./clefts --threshold 0.5 -p 4"

    layer: LayerUrl = arg("Layer of clefts to create.")

    def steps(self, io: IO) -> Iterator[Stage]:
        """Label, join upwards, spread downwards, relabel, tally upwards."""
        yield self.step(Label)
        yield from over(self, self.desk(io).tree, Join, Spread)
        yield self.step(Relabel)
        for level in range(1, self.desk(io).tree.top + 1):
            yield self.step(Tally, level=level)
