"""The map that brings a volume to another: affine, and a smooth field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.coregistration import GRAIN, Coregistration, Round, Through
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.kernels import bending, node_fields, space_maps
from igneous_ng.kernels.space_maps import Affine
from igneous_ng.kernels.volume_matching import Status
from igneous_ng.stage import LayerUrl, Stage, arg, opt

Array = npt.NDArray[Any]
CHUNK = 32
"""Nodes along each side of an object of a field."""
_BASE = 150_000_000
_NODE = 2_500  # bytes of each node: the matrix of the plate, and what makes it
_SLACK = 1.0  # voxels: neighbours may differ by so much
_FLOOR = 0.1  # voxels: no displacement is surer
_LEAST = 8  # blocks from which a map is made


@dataclass(frozen=True, kw_only=True)
class Fit(Stage, name="coregister fit"):
    """Make a map of the matches of a round: an affine one, robustly, and a smooth field of what is left.

    Matches that are unlike their neighbours are dropped; those that the others do not bear out lose their say. The
    field is that of a thin plate: it passes matches by as little as they are sure, and is smooth where there are none.
    It holds displacements at the nodes, in voxels of mip 0 of FIXED, to be applied before the affine part.
    """

    example = "./to-light --round 1"

    folder: LayerUrl = arg("Folder of the two volumes.")
    round: int = opt(1, "Which round's matches.")
    bend: float = opt(0.3, "How much the field bends from node to node, in voxels of FIXED; less is stiffer.")

    def check(self) -> None:
        """A round, and some stiffness."""
        if self.round < 1:
            raise SpecError(f"coregister fit.round: {self.round}; rounds are counted from 1")
        if not 1e-3 <= self.bend <= 1e3:
            raise SpecError(f"coregister fit.bend: {self.bend} voxels; give 0.001 to 1000")

    def home(self) -> str:
        """The folder keeps the map."""
        return self.folder

    def places(self, io: IO) -> tuple[str, ...]:
        """The two parts of the map."""
        folder = Coregistration.open(io, self.folder).folder(self.round)
        return f"{folder}/affine.json", f"{folder}/field"

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The folder alone."""
        return (self.folder,)

    def prepare(self, io: IO) -> None:
        """Write the info of the field."""
        known, lattice = self._round(io)
        io.create_layer(f"{known.folder(self.round)}/field", known.layer(io.info(known.fixed), lattice, 3, CHUNK))

    def units(self, io: IO) -> Sequence[int]:
        """One."""
        self._round(io)
        return range(1)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """What grows with the nodes."""
        return _BASE + self._round(io)[1].box.voxels * _NODE

    def execute(self, unit: int, io: IO) -> None:
        """Fit the map, and write both parts."""
        known, lattice = self._round(io)
        rows = io.read(io.volume(f"{known.folder(self.round)}/matches", 0), lattice.box).astype(np.float64)
        voxel = np.array(io.info(known.fixed).scales[0].resolution)
        nodes, shift, sigma = node_fields.points(lattice.box, lattice.step), rows[..., :3], rows[..., 5]
        good = rows[..., 6] == Status.GOOD
        odd = bending.unlike(shift, sigma, good, _SLACK)
        used = good & ~odd
        if used.sum() < _LEAST:
            raise DataError(
                f"{known.folder(self.round)}/matches: {int(used.sum())} blocks of {used.size} are matched and agree; "
                f"{_LEAST} are needed. Match larger blocks, search wider, at a coarser --mip, or begin nearer"
            )
        before = Through(io, known, self.round - 1)
        points, aims = (nodes[used] + 0.5) * voxel, before.moving((nodes[used] + shift[used] + 0.5) * voxel)
        weight = np.where(used, 1 / (sigma**2 + _FLOOR**2), 0)
        affine = self._affine(before.affine, points, aims, weight[used], lattice, voxel)
        wanted = np.zeros_like(shift)
        wanted[used] = (affine.inverse(aims) - points) / voxel
        field = np.round(bending.smooth(wanted, weight, self.bend) * GRAIN) / GRAIN
        left = np.sqrt((((field - wanted)[used] * voxel) ** 2).sum(axis=-1))
        figures = _figures(good, odd, field, left, voxel)
        target = io.volume(f"{known.folder(self.round)}/field", 0)
        io.write(target, lattice.box, np.asfortranarray(field, np.float32))
        io.put_json(f"{known.folder(self.round)}/affine.json", {"matrix": affine.to_json(), "figures": figures})
        io.note(**figures)

    def said(self, io: IO) -> str:
        """How good the matches are, and the affine map in words."""
        known = Coregistration.open(io, self.folder)
        raw = io.store.get_json(f"{known.folder(self.round)}/affine.json")
        if raw is None:
            return ""
        told, affine = raw["figures"], Affine.parse(raw["matrix"])
        old = Affine.parse((io.store.get_json(f"{known.folder(0)}/affine.json") or raw)["matrix"])
        scale = io.info(known.fixed).scales[0]
        middle = np.add(scale.bounds.lo, scale.bounds.hi) / 2 * np.array(scale.resolution)
        x, y, z = affine(middle) - old(middle)
        return (
            f"{told['used']:,} of {told['blocks']:,} blocks used, {told['unlike']:,} unlike their neighbours; they are "
            f"left {told['residual_p50']:.3g} nm off, 95 % less than {told['residual_p95']:.3g} nm\n"
            f"MOVING is {space_maps.words(affine)}, and its middle lies {x:+.3g}, {y:+.3g}, {z:+.3g} nm from the first "
            f"guess; the field moves by {told['field_rms']:.3g} nm (rms) beyond that"
        )

    def _round(self, io: IO) -> tuple[Coregistration, Round]:
        known = Coregistration.open(io, self.folder)
        return known, known.round(io, self.round)

    def _affine(
        self, old: Affine, points: Array, aims: Array, weight: Array, lattice: Round, voxel: Array
    ) -> Affine:  # fmt: skip
        """The new affine part, in few digits."""
        fitted = space_maps.refitted(old, points, aims, weight, float(voxel.min()))
        ends = np.array([lattice.box.lo, lattice.box.hi]) * np.array(lattice.step) * voxel
        corners = np.stack(np.meshgrid(*ends.T, indexing="ij"), axis=-1).reshape(-1, 3)
        return space_maps.rounded(fitted, corners, float(voxel.min()) / GRAIN)


def _figures(good: Array, odd: Array, field: Array, left: Array, voxel: Array) -> dict[str, Any]:
    moved = (field * voxel) ** 2
    return {
        "blocks": good.size,
        "used": int((good & ~odd).sum()),
        "unlike": int(odd.sum()),
        "residual_p50": round(float(np.percentile(left, 50)), 4),
        "residual_p95": round(float(np.percentile(left, 95)), 4),
        "field_rms": round(float(np.sqrt(moved.sum(axis=-1).mean())), 4),
    }
