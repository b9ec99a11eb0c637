"""Alignment measured against the truth of synthetic sections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.alignment import CHUNK, Alignment
from igneous_ng.cuts import Cuts
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.kernels import fields
from igneous_ng.kernels.align_scores import Gauge, spread
from igneous_ng.stage import Layer, LayerUrl, Stage, arg, opt
from igneous_ng.truths import Truth
from igneous_ng.warps import Warp

Array = npt.NDArray[Any]
Columns = dict[str, Array]
_BLOCK = 128  # points a side that are looked at together
_POINT_BYTES, _SMALL = 100, 60_000_000
_DISTANCES = (1, 2, 3, 4)
_GOOD = 0
_WHOLE = ("inverted", "turned", "flipped", "swapped")
"""Faults of a section as a whole."""
_BESIDE, _ALONG = 2.0, 8.0  # pixels from what is masked at a tear, and along it, where its jump is measured
_CELL = 2**0.5  # as many steps from a tear no cell of nodes holds some of it, in which a field smears the jump
_FAR = 5.0  # pixels: a displacement so wrong does harm


@dataclass(frozen=True, kw_only=True)
class EvalAlign(Stage, name="eval align"):
    """Measure the maps of a round, and its displacements, against the truth that `synth sections` wrote.

    At points r of the volume, section z shows the place P_z(r) of the registered stack. Writes `scores/ROUND/` of the
    alignment: neighbour errors |(P_z - r) - (P_z' - r)| of sections that follow each other; errors |P_z - r| beside
    the one affine map that fits all; errors of displacements; by how much the jump across folds and cracks is missed.
    All are in pixels, of all tissue and of that which no fault is near.
    """

    example = "./alignment ./truth --round 1"
    makes_data = False

    alignment: LayerUrl = arg("Folder of the alignment.")
    truth: LayerUrl = arg("Folder that `synth sections` wrote.")
    tiles: Layer | None = opt(
        None, "Folder that `synth tiles` wrote, where the layer is a mosaic of tiles that were cut from the sections."
    )
    montage: Layer | None = opt(None, "The montage of these tiles, solved.")
    round: int = opt(0, "The round whose maps are measured; 0: rough maps alone.")
    spacing: int = opt(16, "Pixels between points at which maps are measured.")
    margin: int = opt(0, "Pixels at the border of sections, and of the stack, that are left out.")
    near: int = opt(100, "What is less than so many pixels from a fault is near it.")

    def check(self) -> None:
        """There is a round, and there are points."""
        if min(self.round, self.margin, self.near) < 0 or self.spacing < 1:
            raise SpecError("eval align: round, margin and near cannot be negative, and spacing is at least 1")
        if bool(self.tiles) != bool(self.montage):
            raise SpecError("eval align: give both --tiles and --montage, or neither")

    def home(self) -> str:
        """Records lie with the alignment."""
        return self.alignment

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the scores."""
        return (self._folder,)

    def prepare(self, io: IO) -> None:
        """There is a truth of as many sections."""
        told, made = Truth(io, self.truth).sections, Alignment.open(io, self.alignment)
        if made.zs != range(len(told)):
            raise SpecError(f"{self.truth}: tells of {len(told)} sections, and {made.layer} has {made.bounds}")

    def units(self, io: IO) -> range:
        """Sections."""
        return Alignment.open(io, self.alignment).zs

    def peak_bytes(self, unit: int, io: IO) -> int:
        """All points of a section, and a block of them with what is read around it."""
        return _SMALL + self._points(io).voxels * _POINT_BYTES

    def execute(self, unit: int, io: IO) -> None:
        """Measure one section."""
        cuts = Cuts.open(io, self.montage, self.tiles)
        one = _Measured(io, Alignment.open(io, self.alignment), Truth(io, self.truth), cuts, self, unit)
        found = one.columns(self._points(io)) if one.shown else {}
        io.put(self._url(unit), columns.pack(found))
        if len(found):
            io.note(neighbour=spread(_apart(found)))

    def finish(self, io: IO) -> None:
        """Put the figures of all sections together."""
        truth, tables = Truth(io, self.truth), {z: self._table(io, z) for z in self.units(io)}
        shown = {z: found for z, found in tables.items() if found}
        raw = {
            "round": self.round,
            "shown": len(shown),
            "hidden": [z for z in tables if z not in shown],
            "disorder": [z for z, found in shown.items() if found["slice"][0] < found["slice"][1]],
            "neighbour": {k: spread(_all(_apart(t, k == "elsewhere") for t in shown.values())) for k in _SCOPES},
            "absolute": self._absolute(shown, self._points(io)),
            "flow": {str(d): _flow(shown, d) for d in _DISTANCES if any(f"flow{d}" in t for t in shown.values())},
            "tears": {str(z): _jumps(found) for z, found in shown.items() if "jump" in found},
            "sections": {
                str(z): {"fault": truth.sections[z].fault, **spread(_apart(found))} for z, found in shown.items()
            },
        }
        io.put_json(f"{self._folder}/scores.json", raw)

    def said(self, io: IO) -> str:
        """The figures of the whole stack, and of sections with faults."""
        raw: Any = io.get_json(f"{self._folder}/scores.json")
        lines = [
            f"{what} error, {scope}: median {one['p50']} px, p95 {one['p95']}, at most {one['max']}"
            for what in ("neighbour", "absolute")
            for scope, one in raw[what].items()
            if one["count"]
        ]
        lines += [
            f"displacements over {d}: median {one['p50']} px, p95 {one['p95']}; {one['good']:.1%} good, "
            f"{one['far']:.2%} of them off by more than {_FAR:g} px"
            for d, one in raw["flow"].items()
            if one["count"]
        ]
        lines += [
            f"section {z}, {one['fault']}: median {one['p50']} px, p95 {one['p95']}"
            for z, one in raw["sections"].items()
            if one["fault"] and one["count"]
        ]
        lines += [
            f"section {z}: jump missed {where} by {t['p50']} px, p95 {t['p95']}"
            for z, one in raw["tears"].items()
            for where, t in (("at its borders", one), ("a cell of nodes farther on", one["beyond"]))
            if t["count"]
        ]
        hidden = f"; not shown: {', '.join(map(str, raw['hidden']))}" if raw["hidden"] else ""
        wrong = f"; out of order: {', '.join(map(str, raw['disorder']))}" if raw["disorder"] else ""
        return "\n".join([f"round {self.round}: {raw['shown']} sections shown{hidden}{wrong}", *lines])

    @property
    def _folder(self) -> str:
        return f"{self.alignment}/scores/{self.round}"

    def _url(self, z: int) -> str:
        return f"{self._folder}/z{z:06d}.cols"

    def _points(self, io: IO) -> Box:
        """The lattice of points, and sections."""
        return Alignment.open(io, self.alignment).extent(io) // (self.spacing, self.spacing, 1)

    def _table(self, io: IO, z: int) -> Columns:
        data = io.get(self._url(z))
        if data is None:
            raise DataError(f"{self._url(z)}: is not there; run `eval align` again")
        return columns.unpack(data, self._url(z))

    def _absolute(self, shown: dict[int, Columns], points: Box) -> dict[str, Any]:
        """Errors beside the gauge."""
        low, high = (np.array(corner[:2]) * float(self.spacing) for corner in (points.lo, points.hi))
        gauge = Gauge((low + high) / 2, float((high - low).max()))
        for found in shown.values():
            gauge.add(found["point"], found["error"])
        left = {z: np.hypot(*gauge.left(found["point"], found["error"]).T) for z, found in shown.items()}
        clean = (left[z][found["touched"] == 0] for z, found in shown.items())
        return {"all": spread(_all(left.values())), "elsewhere": spread(_all(clean))}


_SCOPES = ("all", "elsewhere")


@dataclass(frozen=True)
class _Measured:
    """The figures of section ``z``."""

    io: IO
    alignment: Alignment
    truth: Truth
    cuts: Cuts | None
    stage: EvalAlign
    z: int

    @property
    def shown(self) -> bool:
        """Whether there is a section here."""
        return self._source(self.z) >= 0

    def columns(self, points: Box) -> Columns:
        """Points, errors, those against the section before, what is near a fault; displacements; the jump of a tear."""
        before = self._before()
        source = self._source(self.z)
        slices = [self.truth.sections[n].slice for n in (source, source if before is None else self._source(before))]
        found = _joined([self._block(part, before) for part in _blocks(points, self.z)])
        found["slice"] = np.array(slices)
        for distance in _DISTANCES if self.stage.round else ():
            found |= self._flow(distance)
        if self.truth.sections[source].tear is not None:
            found["jump"], found["jump_beyond"] = (self._jump(source, away) for away in (_BESIDE, self._beyond))
        return found

    def _block(self, part: Box, before: int | None) -> Columns:
        """Columns of a block of points."""
        points = fields.points(part.lo[:2], part.hi[:2], self.stage.spacing).reshape(-1, 2)
        error, there, touched = self._seen(self.z, self.stage.round, points)
        apart, near = np.full(len(points), np.nan), touched
        if before is not None:
            other, both, also = self._seen(before, self.stage.round, points)
            apart = np.where(there & both, np.hypot(*(error - other).T), np.nan)
            near = touched | also | (before != self.z - 1)
        return {
            "point": points[there].astype(np.float32),
            "error": error[there],
            "touched": touched[there].astype(np.uint8),
            "apart": apart[there].astype(np.float32),
            "beside": near[there].astype(np.uint8),
        }

    def _seen(self, z: int, number: int, points: Array) -> tuple[Array, Array, Array]:
        """At ``points`` of the volume: P - r, whether there is tissue, and whether a fault is near."""
        source = self._source(z)
        at, inside = Warp(self.io, self.alignment, z, number).section(points), np.ones(len(points), bool)
        if self.cuts is not None:
            at, inside = self.cuts.section(source, at)
        places = self.truth.places(source, at)
        there = inside & self.truth.tissue(source, at, places, self.stage.margin)
        section = self.truth.sections[source]
        touched = (section.beside(at) < self.stage.near) | (section.fault in _WHOLE)
        return places - points, there, touched

    def _flow(self, distance: int) -> Columns:
        """Errors of the good displacements over ``distance`` sections, and at how many nodes there is tissue."""
        url = f"{self.alignment.home}/rounds/{self.stage.round}/flow/{distance}"
        other = self.z - distance
        if other not in self.alignment.zs or self._source(other) < 0 or not self.io.exists(f"{url}/info"):
            return {}
        lattice = self.alignment.round(self.io, self.stage.round)
        volume, parts = self.io.volume(url, 0), []
        for part in _blocks(lattice.box, self.z, CHUNK):
            nodes = self.io.read(volume, part)[:, :, 0].reshape(-1, volume.channels).astype(np.float64)
            points = fields.points(part.lo[:2], part.hi[:2], lattice.step).reshape(-1, 2)
            parts.append(self._flow_block(other, nodes, points))
        found = _joined(parts)
        return {f"{key}{distance}": column for key, column in found.items()}

    def _flow_block(self, other: int, nodes: Array, points: Array) -> Columns:
        number = self.stage.round - 1
        error, there, touched = self._seen(self.z, number, points)
        good = nodes[:, 5] == _GOOD
        sought = np.isfinite(nodes[:, 0]) | (self.z - other == 1)  # farther ones are measured at some nodes only
        end = points + np.where(good[:, np.newaxis], nodes[:, :2], 0)
        beyond, both, also = self._seen(other, number, end)
        off = np.hypot(*(beyond + end - error - points).T)
        kept = good & there & both
        return {
            "flow": off[kept].astype(np.float32),
            "flowed": (touched | also)[kept].astype(np.uint8),
            "nodes": np.array([(there & both & sought).sum()]),
        }

    @property
    def _beyond(self) -> float:
        """Pixels from what is masked at a tear, from where on displacements are not smeared across it."""
        number = self.stage.round
        return _CELL * self.alignment.round(self.io, number).step if number else _BESIDE

    def _jump(self, source: int, away: float) -> Array:
        """By how much the jump across a tear is missed, at points along it, so far from what is masked."""
        section, warp = self.truth.sections[source], Warp(self.io, self.alignment, self.z, self.stage.round)
        errors, there = [], []
        for side in section.across(_ALONG, away):
            places = self.truth.places(source, side)
            errors.append(places - warp.volume(side if self.cuts is None else self.cuts.mosaic(source, side)[0]))
            there.append(self.truth.tissue(source, side, places, self.stage.margin))
        found: Array = np.hypot(*(errors[1] - errors[0])[there[0] & there[1]].T).astype(np.float32)
        return found

    def _before(self) -> int | None:
        """The place of the section that is shown before this one."""
        return next((z for z in range(self.z - 1, self.alignment.zs[0] - 1, -1) if self._source(z) >= 0), None)

    def _source(self, z: int) -> int:
        return self.alignment.rough(self.io, z).source


def _blocks(box: Box, z: int, side: int = _BLOCK) -> Iterator[Box]:
    """Section ``z`` of a lattice, block by block."""
    section = Box((*box.lo[:2], z), (*box.hi[:2], z + 1))
    return iter(Grid(section, (side, side, 1)))


def _joined(parts: Sequence[Columns]) -> Columns:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _apart(found: Columns, clean: bool = False) -> Array:
    """Neighbour errors, of points without a fault near if so asked."""
    kept = ~np.isnan(found["apart"])
    if clean:
        kept &= found["beside"] == 0
    return found["apart"][kept]


def _jumps(found: Columns) -> dict[str, Any]:
    """By how much the jump of a section is missed at its borders, and beyond the nodes at both sides."""
    return {**spread(found["jump"]), "beyond": spread(found["jump_beyond"])}


def _flow(shown: dict[int, Columns], distance: int) -> dict[str, Any]:
    tables = [found for found in shown.values() if f"flow{distance}" in found]
    errors = _all(found[f"flow{distance}"] for found in tables)
    clean = _all(found[f"flow{distance}"][found[f"flowed{distance}"] == 0] for found in tables)
    nodes = sum(int(found[f"nodes{distance}"].sum()) for found in tables)
    return {
        **spread(errors),
        "elsewhere": spread(clean),
        "good": round(len(errors) / max(nodes, 1), 4),
        "far": round(float((errors > _FAR).mean()), 5) if len(errors) else 0.0,
    }


def _all(parts: Any) -> Array:
    return np.concatenate([np.zeros(0, np.float32), *parts])
