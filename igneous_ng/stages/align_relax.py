"""Displacements of all sections from measured ones: how sure these are, few nodes, all nodes, and the way back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng import linkage, relaxing
from igneous_ng.alignment import CHUNK, Alignment, Round
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.sections import name
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.kernels import elastic_report, fields, inverting, loops
from igneous_ng.linkage import Linkage
from igneous_ng.relaxing import Material
from igneous_ng.stage import Chain, Layer, LayerUrl, Stage, arg, opt, sampled
from igneous_ng.volume import Volume
from igneous_ng.warps import Field
from igneous_ng.words import count

Array = npt.NDArray[Any]
_BASE = 150_000_000
_PLANE_BYTES = 400  # for each node of a section, while its links are made
_COARSE_BYTES = 1_600  # for each node of all sections
_NODE_BYTES = 900  # for each node of a subdomain
_MARGIN = 8  # nodes around a chunk, that its inverse may come from at first
_MISSED = 0.02  # pixels
_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class Relaxing(Stage):
    """What the stages of a round share."""

    alignment: LayerUrl = arg("Folder of the alignment.")
    round: int = opt(1, "Number of the round.")

    def check(self) -> None:
        """Rounds are counted from 1."""
        if self.round < 1:
            raise SpecError(f"{self.name}.round: {self.round}; rounds are counted from 1")

    def home(self) -> str:
        """The alignment keeps the records."""
        return self.alignment

    def links(self, io: IO) -> Linkage:
        """What the round measured."""
        at = Alignment.open(io, self.alignment)
        return Linkage(io, at, at.round(io, self.round))

    def folder(self, what: str) -> str:
        """What the round keeps under a name."""
        return f"{self.alignment}/rounds/{self.round}/{what}"

    def needs(self, io: IO, what: str, stage: str) -> None:
        """Refuse where a layer of the round is not there yet."""
        if not io.exists(f"{self.folder(what)}/info"):
            raise DataError(f"{self.folder(what)}: is not there yet; run `{stage} --round {self.round}` first")


@dataclass(frozen=True, kw_only=True)
class Solving(Relaxing):
    """What the stages that solve share."""

    strain: float = opt(0.035, "How much sections are bent before that weighs as a measurement that is off by sigma.")
    stiffness: float = opt(1.0, "How many times as stiff sections are as strain says.")
    anchor: float = opt(100.0, "How far displacements are expected to lead from the rough maps, in pixels of mip 0.")
    anchors: Layer | None = opt(
        None, "File of known places, a line of JSON each: z, section [x, y], volume [x, y], sigma; pixels of mip 0."
    )

    def check(self) -> None:
        """Springs are springs."""
        super().check()
        if min(self.strain, self.stiffness, self.anchor) <= 0:
            raise SpecError(f"{self.name}: strain, stiffness and anchor must be positive")

    def prepare(self, io: IO) -> None:
        """Anchors can be read."""
        linkage.anchors(io, self.anchors)

    def material(self, step: int) -> Material:
        """Of a lattice with ``step`` pixels between nodes."""
        return Material(self.stiffness / (step * self.strain) ** 2, self.anchor**-2.0)


@dataclass(frozen=True, kw_only=True)
class Weigh(Relaxing, name="align weigh"):
    """Find out how sure the displacements of a round are, section by section.

    Three displacements go round: to the section before, from there on to the one before that, and back at once; by how
    much they do not close says what each is off. Never less than tissue moves between sections. Where `locked` holds
    weights of this round these are taken instead.
    """

    example = "./alignment --round 1"

    motion: float = opt(0.3, "How far processes move between sections, as a share of the distance.")

    def check(self) -> None:
        """Nothing moves backwards."""
        super().check()
        if self.motion < 0:
            raise SpecError(f"align weigh.motion: {self.motion}; give a share of the distance, 0 or more")

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of weights."""
        return (self.folder("weights"),)

    def prepare(self, io: IO) -> None:
        """Something was measured."""
        self.needs(io, "flow/1", "align flow")

    def units(self, io: IO) -> range:
        """The sections, by their numbers."""
        box = self.links(io).lattice.box
        return range(box.lo[2], box.hi[2])

    def peak_bytes(self, unit: int, io: IO) -> int:
        """What grows with the nodes of a section."""
        nx, ny, _ = self.links(io).lattice.box.shape
        return _BASE + nx * ny * _PLANE_BYTES

    def execute(self, unit: int, io: IO) -> None:
        """One section."""
        locked = io.get_json(f"{self.alignment}/locked/rounds/{self.round}/weights/{name(unit)}.json")
        if locked is not None:
            io.put_json(f"{self.folder('weights')}/{name(unit)}.json", locked)
            io.note(locked=True)
            return
        links = self.links(io)
        box = links.lattice.box
        first, before, second = (links.measured(z, k, box) for z, k in ((unit, 1), (unit - 1, 1), (unit, 2)))
        found = None
        if first and before and second:
            low = box.lo[0], box.lo[1]
            found = loops.spread(first[0], before[0], second[0], low, links.lattice.step)
        least = self.motion * links.alignment.resolution[2] / links.alignment.resolution[0]
        own = 0.0 if first is None or not np.isfinite(first[1]).any() else float(np.nanmedian(first[1]))
        measured = [found.at(k) if found else own * math.sqrt(k) for k in range(1, loops.DISTANCES + 1)]
        sigma = {k: round(max(m, least * k, loops.LEAST), 4) for k, m in enumerate(measured, 1)}
        told = {key: round(value, 4) for key, value in vars(found).items()} if found else {"loops": 0}
        io.put_json(links.alignment.url(self.folder("weights")[len(self.alignment) + 1 :], unit, ".json"),
                    {"z": unit, **told, "sigma": sigma})  # fmt: skip
        io.note(loops=told["loops"], sigma=sigma[1])

    def said(self, io: IO) -> str:
        """How sure displacements are, and by how much loops do not close."""
        links = self.links(io)
        urls = [links.alignment.url(f"rounds/{self.round}/weights", z, ".json") for z in sampled(self.units(io))]
        told = [one for one in io.store.map(io.store.get_json, urls) if one is not None]
        closed = [one["median"] for one in told if one["loops"]]
        words = f"displacements are sure to {np.median([one['sigma']['1'] for one in told]):.2f} px (an axis)"
        return f"{words}; loops close to {np.median(closed):.2f} px" if closed else f"{words}; there are no loops"


@dataclass(frozen=True, kw_only=True)
class Settle(Solving, name="align settle"):
    """Find displacements of all sections at once, on few nodes. One task.

    Sections that no link connects are told in ``report.json``; each such piece stays where the rough maps have it.
    Where ``locked`` holds displacements of this round these are taken instead.
    """

    example = "./alignment --round 1"

    coarsening: int = opt(4, "Nodes along x and y that become one.")

    def check(self) -> None:
        """Some nodes become one."""
        super().check()
        if self.coarsening < 1:
            raise SpecError(f"align settle.coarsening: {self.coarsening}; give 1 or more")

    def places(self, io: IO) -> tuple[str, ...]:
        """The layer of coarse displacements, and what is said of them."""
        return self.folder("coarse"), self.folder("report.json")

    def prepare(self, io: IO) -> None:
        """All sections are weighed; make the layer."""
        super().prepare(io)
        links = self.links(io)
        self.needs(io, "flow/1", "align flow")
        there = set(io.store.list(self.folder("weights")))
        box = links.lattice.box
        if missing := [z for z in range(box.lo[2], box.hi[2]) if f"{name(z)}.json" not in there]:
            raise DataError(f"{self.folder('weights')}/{name(missing[0])}.json: is not there; run `align weigh` first")
        info = io.info(self._locked) if self._is_locked(io) else links.alignment.field(self._lattice(io), 2)
        io.create_layer(self.folder("coarse"), info)

    def units(self, io: IO) -> range:
        """All at once."""
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """What grows with the coarse nodes of all sections, and with the nodes of one."""
        nx, ny, _ = self.links(io).lattice.box.shape
        return _BASE + self._lattice(io).box.voxels * _COARSE_BYTES + nx * ny * _PLANE_BYTES

    def execute(self, unit: int, io: IO) -> None:
        """All sections."""
        volume = io.volume(self.folder("coarse"), 0)
        if self._is_locked(io):
            _write(io, volume, volume.bounds, io.read(io.volume(self._locked, 0), volume.bounds), 16)
            io.put_json(self.folder("report.json"), {"locked": True})
            return
        links, lattice = self.links(io), self._lattice(io)
        points = linkage.anchors(io, self.anchors)
        found = relaxing.settled(links, self.coarsening, self.material(links.lattice.step), points)
        _write(io, volume, lattice.box, found.solved.u.transpose(1, 2, 0, 3), 16)
        told = elastic_report.report(found.solved, found.rows, lattice.box)
        io.put_json(self.folder("report.json"), told)
        io.note(**{key: told[key] for key in ("p50", "p95", "doubted", "steps")}, pieces=len(told["pieces"]))

    def said(self, io: IO) -> str:
        """Into how many pieces sections fall, and where links are worst."""
        told = io.store.get_json(self.folder("report.json"))
        if told is None or "locked" in told:
            return "locked displacements were taken" if told else ""
        lines = [f"links are off by {told['p50']:.2f} px, 1 in 20 by more than {told['p95']:.2f}; worst at sections "
                 f"{', '.join(str(z) for z in told['worst'])}"]  # fmt: skip
        if len(told["pieces"]) > 1:
            begins = ", ".join(str(one["first"]) for one in told["pieces"][:_NAMED])
            lines.append(f"nothing connects {count(len(told['pieces']), 'piece')}, which begin at sections {begins}")
        if told["unlinked"]:
            lines.append(f"{count(len(told['unlinked']), 'section')} without links go with their neighbours")
        return "\n".join(lines)

    @property
    def _locked(self) -> str:
        return f"{self.alignment}/locked/rounds/{self.round}/coarse"

    def _is_locked(self, io: IO) -> bool:
        return io.exists(f"{self._locked}/info")

    def _lattice(self, io: IO) -> Round:
        return relaxing.coarse_lattice(self.links(io).lattice, self.coarsening)


@dataclass(frozen=True, kw_only=True)
class Loosen(Solving, name="align loosen"):
    """Find displacements at all nodes, a subdomain a task: 64 by 64 nodes of some sections, and what is around them.

    The border is held as `align settle` found it (sweep 1), or as the sweep before did (sweep 2, whose subdomains lie
    between those of sweep 1 along z). Where tissue would fold, sections are made stiffer.
    """

    example = "./alignment --round 1 --sweep 2"

    sweep: Literal[1, 2] = opt(1, "Which of the two sweeps.")
    sections: int = opt(16, "Sections of a subdomain.")

    def check(self) -> None:
        """A subdomain has some."""
        super().check()
        if self.sections < 1:
            raise SpecError(f"align loosen.sections: {self.sections}; give 1 or more")

    def places(self, io: IO) -> tuple[str, ...]:
        """The layer of this sweep."""
        return (self.folder(self._made),)

    def prepare(self, io: IO) -> None:
        """What came before is there; make the layer."""
        super().prepare(io)
        self.needs(io, self._before, "align loosen" if self.sweep == 2 else "align settle")
        links = self.links(io)
        io.create_layer(self.folder(self._made), links.alignment.field(links.lattice, 2))

    def units(self, io: IO) -> Sequence[Box]:
        """Subdomains, as boxes of nodes."""
        box = self.links(io).lattice.box
        ahead = self.sections // 2 if self.sweep == 2 else 0
        return [part & box for part in Grid(box.grow((0, 0, ahead), (0, 0, 0)), (CHUNK, CHUNK, self.sections))]

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """What grows with the nodes of a subdomain and of those around it."""
        return _BASE + relaxing.region(unit, self.links(io).lattice.box)[1].voxels * _NODE_BYTES

    def execute(self, unit: Box, io: IO) -> None:
        """One subdomain."""
        links = self.links(io)
        _, box = relaxing.region(unit, links.lattice.box)
        start = self._start(links, box)
        points = linkage.anchors(io, self.anchors)
        found = relaxing.loosened(links, unit, start, self.material(links.lattice.step), points)
        x, y, z = unit.slices(box.lo)
        u = found.solved.u[z, x, y]
        _write(io, io.volume(self.folder(self._made), 0), unit, u.transpose(1, 2, 0, 3), 64)
        moved = np.abs(u - start[z, x, y])
        io.note(
            **elastic_report.figures(found.solved, found.rows),
            stiffened=found.guarded,
            strain=elastic_report.strain(u, links.lattice.step),
            moved=round(float(moved.max()), 3),
            border=round(elastic_report.border(moved), 3),
        )

    @property
    def _made(self) -> str:
        return "forward" if self.sweep == 2 else "sweep1"

    @property
    def _before(self) -> str:
        return "sweep1" if self.sweep == 2 else "coarse"

    def _start(self, links: Linkage, box: Box) -> Array:
        """Displacements from before, ``[z, x, y, 2]``."""
        info = links.io.info(self.folder(self._before))
        step = round(info.scales[0].resolution[0] / links.alignment.resolution[0])
        before = Field(links.io, self.folder(self._before), step)
        if step == links.lattice.step:
            return before.nodes(box).transpose(2, 0, 1, 3)
        nodes = fields.points((box.lo[0], box.lo[1]), (box.hi[0], box.hi[1]), links.lattice.step)
        return np.stack([before.at(z, nodes) for z in range(box.lo[2], box.hi[2])])


@dataclass(frozen=True, kw_only=True)
class Invert(Relaxing, name="align invert"):
    """Turn displacements round: for each node of the volume, from where what is there came. A chunk a task."""

    example = "./alignment --round 1"

    def places(self, io: IO) -> tuple[str, ...]:
        """The layer of inverse displacements."""
        return (self.folder("inverse"),)

    def prepare(self, io: IO) -> None:
        """There are displacements; make the layer."""
        self.needs(io, "forward", "align loosen --sweep 2")
        links = self.links(io)
        io.create_layer(self.folder("inverse"), links.alignment.field(links.lattice, 2))

    def units(self, io: IO) -> Sequence[Box]:
        """Chunks of nodes."""
        return Grid(self.links(io).lattice.box, (CHUNK, CHUNK, 1))

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """Little, unless displacements are very large."""
        return _BASE

    def execute(self, unit: Box, io: IO) -> None:
        """One chunk."""
        links = self.links(io)
        step, whole = links.lattice.step, links.lattice.box
        points = fields.points((unit.lo[0], unit.lo[1]), (unit.hi[0], unit.hi[1]), step)
        forward, margin = Field(io, self.folder("forward"), step), _MARGIN
        while True:
            box = unit.grow((margin, margin, 0), (margin, margin, 0)) & whole
            nodes = forward.nodes(box)[:, :, 0]
            margin = math.ceil(float(np.abs(nodes).max()) / step) + 2
            if (unit.grow((margin, margin, 0), (margin, margin, 0)) & whole) in box:
                break
        found, missed = inverting.inverse(nodes, (box.lo[0], box.lo[1]), step, points)
        _write(io, io.volume(self.folder("inverse"), 0), unit, found[:, :, np.newaxis], 64)
        io.note(missed=round(float(missed.max()), 4), unsolved=int((missed > _MISSED).sum()))


@dataclass(frozen=True, kw_only=True)
class Relax(Solving, Chain, name="align relax"):
    """Find the displacements of a round from what `align flow` measured: weigh, settle, loosen twice, invert."""

    example = "./alignment --round 1 -p 4"

    motion: float = opt(0.3, "How far processes move between sections, as a share of the distance.")
    coarsening: int = opt(4, "Nodes along x and y that become one where all sections are solved at once.")
    sections: int = opt(16, "Sections of a subdomain.")

    def steps(self, io: IO) -> Iterator[Stage]:
        """One after the other."""
        yield self.step(Weigh)
        yield self.step(Settle)
        yield self.step(Loosen, sweep=1)
        yield self.step(Loosen, sweep=2)
        yield self.step(Invert)


def _write(io: IO, volume: Volume, box: Box, values: Array, grain: int) -> None:
    """Values ``[x, y, z, channel]``, rounded to 1 / ``grain`` pixels."""
    rounded = np.round(values * grain) / grain + 0.0  # no zero is negative
    io.write(volume, box, np.asfortranarray(rounded, np.float32))
