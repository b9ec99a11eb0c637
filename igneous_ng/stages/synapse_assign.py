"""Partners of clefts: which segments lie near each cleft, which of them are its partners, and the table of synapses."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import duplicates, side_network, siding
from igneous_ng import words as texts
from igneous_ng.assigning import Choice, Plan
from igneous_ng.clefts import Clefts
from igneous_ng.climbing import SMALL, Climbing, Joining, Spreading, over, settled
from igneous_ng.duplicates import Desk
from igneous_ng.errors import SpecError
from igneous_ng.figures import Figure
from igneous_ng.geometry import Box, Grid, Vec3, Vec3f, exactly
from igneous_ng.io import IO
from igneous_ng.kernels import contacts
from igneous_ng.kernels.contacts import Labels
from igneous_ng.side_network import Looking
from igneous_ng.siding import Sided
from igneous_ng.stage import Chain, LayerUrl, Stage, arg, opt, sampled
from igneous_ng.synapses import AUTAPSE, DUPLICATE, LEFT_OUT, NO_POST, NO_PRE, UNORIENTED, UNSURE, Synapses
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
_LABEL = 8
_DISTANCES = 12  # bytes held per voxel while distances to one cleft are found, if it fills the cell
_FLAGS = {"no_pre": NO_PRE, "no_post": NO_POST, "autapse": AUTAPSE, "unsure": UNSURE, "unoriented": UNORIENTED,
          "duplicate": DUPLICATE}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Nearing(Sided):
    """The fields that say what is near a cleft."""

    clefts: LayerUrl = arg("Layer of clefts that `synapse detect` made.")
    segmentation: LayerUrl = arg("Layer of segments, uint32 or uint64; its level of the clefts' resolution is read.")
    table: LayerUrl = arg("Folder of the table to make.")
    radius: float = opt(80.0, "How far from a cleft a voxel counts for its segment, in nm.")
    cell: Vec3 = opt((256, 256, 256), "Voxels of one task of contacts.")

    def check(self) -> None:
        """Distances and cells are real, the table is in a place of its own."""
        super().check()
        if min(self.cell) < 1:
            raise SpecError(f"{self.name}.cell: {self.cell}; each side must be at least 1 voxel")
        if not 0 < self.radius < 1e6:
            raise SpecError(f"{self.name}.radius: {self.radius:g} nm; give a positive number, less than 1 mm")
        if self.table in (self.clefts, self.segmentation):
            raise SpecError(f"{self.name}: {self.table} is a layer that is read; give another folder for the table")

    def home(self) -> str:
        """Records lie with the table."""
        return self.table


@dataclass(frozen=True, kw_only=True)
class Contacts(Nearing, name="synapse contacts"):
    """Find which segments lie near each cleft, and sum what evidence says of the sides: the first phase of partners.

    Each cell sums over its own voxels, so that the sums over cells are those of whole clefts. The phases are contacts,
    partners, merge join and merge spread (where duplicates are looked for) and table; `synapse assign` runs them all.
    """

    example = "./clefts ./seg ./synapses"

    def places(self, io: IO) -> tuple[str, ...]:
        """The contacts."""
        url = Desk(io, self.table).url
        return f"{url}/contacts", f"{url}/done/contacts.json"

    def prepare(self, io: IO) -> None:
        """Write the plan that all phases follow, if clefts and segments are there and lie over each other."""
        plan = self.plan(io)
        Clefts(io, self.clefts).ready()
        self.sources(io, plan.resolution)
        if self.model is not None:
            self._looking(io, plan).peak_bytes()
        Desk(io, self.table).begin(plan)

    def units(self, io: IO) -> Grid:
        """The cells."""
        return self.plan(io).grid

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """Clefts, segments and evidence, and distances to one cleft."""
        plan = self.plan(io)
        around = siding.around(unit, plan.near.margin, plan.bounds).voxels
        far = self.far(plan.resolution)
        segments = unit.grow(far, far).voxels * self._segments(io).voxel_bytes
        read = 2 * _LABEL * around
        held = _LABEL * around + segments + max(segments, self.known_bytes(io, unit, plan.resolution))
        patch = self._looking(io, plan).peak_bytes() if self.model is not None else 0
        return SMALL + max(read, held + around * _DISTANCES) + patch

    def execute(self, unit: Box, io: IO) -> None:
        """Find the contacts of one cell."""
        plan, desk = self.plan(io), Desk(io, self.table)
        box = siding.around(unit, plan.near.margin, plan.bounds)
        ids = io.read(io.volume(self.clefts, 0), box)[..., 0]
        found = self._found(io, plan, Labels(box, ids), unit if ids.any() else Box(unit.lo, unit.lo))
        if self.model is not None:
            known = Clefts(io, self.clefts)
            found = side_network.together(found, self._looking(io, plan).contacts(known, unit))
        desk.put("contacts", plan.at(unit), found)
        io.note(contacts=len(found["object"]), clefts=len(np.unique(found["object"])))

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        Desk(io, self.table).done("contacts")

    def plan(self, io: IO) -> Plan:
        """What is asked for; SpecError where layers do not fit."""
        if not io.exists(f"{self.clefts}/synapse/plan.json"):
            raise SpecError(
                f"{self.name}: {self.clefts} was not made by `synapse detect`: of its labels nobody knows places and "
                "sizes; run `synapse detect` on the evidence, or on a layer of uint8 that is 255 where these labels are"
            )
        volume = io.volume(self.clefts, 0)
        segments = siding.level(io, self.segmentation, volume.resolution)
        if segments.dtype.name not in ("uint32", "uint64") or segments.channels != 1:
            raise SpecError(
                f"{self.name}: {self.segmentation} holds {segments.channels} channel(s) of {segments.dtype.name}; "
                "give a segmentation of uint32 or uint64"
            )
        if not (segments.bounds & volume.bounds).voxels:
            raise SpecError(
                f"{self.name}: {self.segmentation} is at {segments.bounds} and the clefts are at {volume.bounds}: they "
                "have no voxel in common; give the segmentation of this volume"
            )
        return Plan(
            clefts=self.clefts,
            segmentation=self.segmentation,
            mip=segments.mip,
            bounds=volume.bounds,
            resolution=volume.resolution,
            cell=self.cell,
            radius=self.radius,
            fill_missing=self.fill_missing,
            sided=self.told(),
        )

    def _segments(self, io: IO) -> Volume:
        return siding.level(io, self.segmentation, io.volume(self.clefts, 0).resolution, self.fill_missing)

    def _found(self, io: IO, plan: Plan, ids: Labels, cell: Box) -> dict[str, Array]:
        far = self.far(plan.resolution)
        box = cell.grow(far, far) if cell.voxels else cell
        segments = siding.read(io, self._segments(io), box)[..., 0]
        known = self.known(io, cell, plan.resolution)
        found = contacts.contacts(ids, Labels(box, segments), cell, plan.bounds, known, plan.near)
        return contacts.evidence(found, self.sides in ("channels", "proximity"))

    def _looking(self, io: IO, plan: Plan) -> Looking:
        level = siding.level(io, str(self.evidence), plan.resolution, self.fill_missing)
        image = siding.fitting(self.name, "image", level, (1,))
        ids = io.volume(self.clefts, 0)
        return Looking(io, str(self.model), image, ids, self._segments(io), plan.near)


@dataclass(frozen=True, kw_only=True)
class Choosing(Stage):
    """The fields that say which segments are partners, and where rows lie."""

    block: int = opt(512, "Voxels along each side of a block of the table, a power of two.")
    polyadic: float = opt(
        0.0, "Keep all postsynaptic partners with so much of the best one's evidence, 0.001 to 1; 0: only the best."
    )
    merge_distance: float = opt(0.0, "Synapses of equal partners nearer than this, in nm, are one; 0: none are.")
    kind_curve: tuple[float, float] = opt(
        (8.0, 6.0), "Kind by the image: difference of density, in grey values, that tells nothing, and the width."
    )

    def check(self) -> None:
        """Numbers are possible ones."""
        super().check()
        if self.block < 1 or self.block & self.block - 1:
            raise SpecError(f"{self.name}.block: {self.block} voxels; give a power of two")
        if not 0 <= self.polyadic <= 1 or (exactly(self.polyadic) * 1000).denominator > 1:
            raise SpecError(f"{self.name}.polyadic: {self.polyadic:g}; give 0 to 1, of at most three decimals")
        if self.merge_distance < 0:
            raise SpecError(f"{self.name}.merge_distance: {self.merge_distance:g} nm; give 0 or a positive number")
        if self.kind_curve[1] <= 0:
            raise SpecError(f"{self.name}.kind_curve: a width of {self.kind_curve[1]:g}; give a positive one")

    def choice(self) -> Choice:
        """What is asked for."""
        return Choice(self.block, int(exactly(self.polyadic) * 1000), self.merge_distance, self.kind_curve)


@dataclass(frozen=True, kw_only=True)
class Phase(Stage):
    """What later phases have in common: they follow the plan of `synapse contacts`."""

    table: LayerUrl = arg("Folder of the table, as `synapse contacts` was given.")

    def home(self) -> str:
        """Records lie with the table."""
        return self.table

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The clefts."""
        return (Desk(io, self.table).plan.clefts,)


@dataclass(frozen=True, kw_only=True)
class Partners(Phase, Choosing, name="synapse partners"):
    """Choose the partners of each cleft, from its contacts in all cells.

    The presynaptic one has the most evidence for that side; postsynaptic are others that have the most for theirs.
    """

    example = "./synapses"

    def places(self, io: IO) -> tuple[str, ...]:
        """The rows, and where duplicates of them would be."""
        url = Desk(io, self.table).url
        return f"{url}/rows", f"{url}/places", f"{url}/done/partners.json"

    def prepare(self, io: IO) -> None:
        """Write what is wanted; refuse to begin before contacts are known."""
        desk = Desk(io, self.table)
        duplicates.check(desk.framed(self.choice()), self.merge_distance)
        desk.choose(self.choice())

    def units(self, io: IO) -> Grid:
        """The blocks of the table."""
        return Desk(io, self.table).framed(self.choice()).grid

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The clefts of a block, and the contacts of all cells that they reach."""
        desk = Desk(io, self.table)
        desk.need("contacts", f"synapse contacts ... {self.table}")
        return SMALL + desk.made_bytes(unit)

    def execute(self, unit: Box, io: IO) -> None:
        """Choose the partners of the clefts that begin in one block."""
        desk = Desk(io, self.table)
        at, rows = desk.frame.grid.at(unit), desk.made(unit)
        desk.put("rows", at, rows)
        if desk.looked_for:
            desk.leave(at, rows)
        io.note(rows=len(rows["id"]))

    def finish(self, io: IO) -> None:
        """Allow what comes next."""
        Desk(io, self.table).done("partners")


@dataclass(frozen=True, kw_only=True)
class Merging(Climbing):
    """What the phases of the tree have in common."""

    layer: LayerUrl = arg("Folder of the table, as `synapse contacts` was given.")

    def desk(self, io: IO) -> Desk:
        """Where the phases leave what they know."""
        return Desk(io, self.layer)

    def places(self, io: IO) -> tuple[str, ...]:
        """The tree."""
        url = self.desk(io).url
        return f"{url}/tree", *(f"{url}/done/{phase}-{self.level}.json" for phase in ("join", "spread"))

    def command(self, phase: str) -> str:
        """The name of another stage of the group."""
        return "synapse partners" if phase == "partners" else f"synapse merge {phase}"


@dataclass(frozen=True, kw_only=True)
class Join(Merging, Joining, name="synapse merge join"):
    """Find synapses that are one, one level of the tree at a time, upwards from 1: equal partners, and near.

    A node passes on only those that lie near its outer faces.
    """

    example = "./synapses --level 1"
    first = "partners"


@dataclass(frozen=True, kw_only=True)
class Spread(Merging, Spreading, name="synapse merge spread"):
    """Tell the nodes of the tree which synapses are one, one level at a time, downwards to 1.

    It begins below the top; a tree of one level needs none.
    """

    example = "./synapses --level 1"


@dataclass(frozen=True, kw_only=True)
class Table(Phase, name="synapse table"):
    """Write the table of synapses: the last phase. No row is dropped: flags say what is odd."""

    example = "./synapses"
    quality = MappingProxyType(
        {
            "synapses": Figure("synapses", counted=True),
            "confidence": Figure("how sure their partners are, of 1", of="synapses"),
            "no_pre": Figure("share without a presynaptic segment", of="synapses"),
            "no_post": Figure("share without a postsynaptic segment", of="synapses"),
            "unsure": Figure("share whose partner is in doubt", of="synapses"),
        }
    )

    def places(self, io: IO) -> tuple[str, ...]:
        """The table."""
        return f"{self.table}/rows", f"{self.table}/table.json"

    def prepare(self, io: IO) -> None:
        """Refuse to begin before partners are known, and duplicates where they are looked for."""
        self._ready(Desk(io, self.table))

    def units(self, io: IO) -> Grid:
        """The blocks."""
        return Desk(io, self.table).frame.grid

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """The rows, and what became of them."""
        desk = Desk(io, self.table)
        self._ready(desk)
        at = desk.frame.grid.at(unit)
        return SMALL + 6 * desk.size("rows", at) + desk.merged_bytes(at)

    def execute(self, unit: Box, io: IO) -> None:
        """Write the rows of one block."""
        desk = Desk(io, self.table)
        at = desk.frame.grid.at(unit)
        rows = desk.read("rows", at)
        if desk.looked_for:
            rows = desk.merged(rows)
        Synapses(io, self.table).write(at, rows)
        io.note_place(unit, desk.plan.resolution)
        io.note(**_figures(rows, unit, desk.plan.resolution))

    def finish(self, io: IO) -> None:
        """Let the table be found."""
        Synapses(io, self.table).finish(Desk(io, self.table).frame)

    def spent(self, io: IO) -> tuple[str, ...]:
        """All that the phases told each other."""
        return (Desk(io, self.table).url,)

    def said(self, io: IO) -> str:
        """How many synapses there are and how many have two partners; of some blocks where these are many."""
        known, blocks = Synapses(IO(io.store), self.table), self.units(io)
        some = sampled(blocks)
        flags = np.concatenate([known.rows(blocks.at(block), ["flags"])["flags"] for block in some])
        scope = f" in {len(some)} of {len(blocks)} blocks" if len(some) < len(blocks) else ""
        whole = int((flags & LEFT_OUT == 0).sum())
        doubts = ", ".join(
            f"{count:,} {name.replace('_', ' ')}"
            for name, flag in _FLAGS.items()
            if (count := int((flags & flag > 0).sum()))
        )
        return f"{texts.count(len(flags), 'synapse')}{scope}, {whole:,} with two partners" + (
            f" ({doubts})" if doubts else ""
        )

    def _ready(self, desk: Desk) -> None:
        desk.need("partners", f"synapse partners {self.table}")
        if desk.looked_for:
            settled(desk, "synapse merge", self.table)


@dataclass(frozen=True, kw_only=True)
class Assign(Nearing, Choosing, Chain, name="synapse assign"):
    """Make a table of synapses: clefts with their presynaptic and postsynaptic segments.

    The table is the same whatever the cells. `graph build` makes a connectome of it.
    """

    example = "./clefts ./seg ./synapses -p 4"

    def steps(self, io: IO) -> Iterator[Stage]:
        """Contacts, partners, duplicates where they are looked for, table."""
        yield self.step(Contacts)
        yield self.step(Partners)
        if self.merge_distance > 0:
            yield from over(self, Desk(io, self.table).tree, Join, Spread, layer=self.table)
        yield self.step(Table)


def _figures(rows: dict[str, Array], block: Box, resolution: Vec3f) -> dict[str, float]:
    """What the record of a block says: synapses, their density, how sure partners are, shares of flags."""
    count = len(rows["id"])
    volume = block.voxels * float(np.prod(resolution)) / 1e9
    shares = {name: int((rows["flags"] & flag > 0).sum()) / max(1, count) for name, flag in _FLAGS.items()}
    mean = rows["confidence"].mean() / contacts.FULL if count else 0.0
    figures = {"per_um3": count / volume, "confidence": float(mean), **shares}
    return {"synapses": count, **{name: float(f"{value:.6g}") for name, value in figures.items()}}
