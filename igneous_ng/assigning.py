"""What the phases of `synapse assign` share: what was asked for, contacts by cell, and rows made of them by block.

``TABLE/work`` holds what later phases need: ``plan.json`` and ``contacts/``, by `synapse contacts`; ``choice.json``,
``rows/`` and ``places/``, by `synapse partners`; ``tree/``, by `synapse merge`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import desks
from igneous_ng.clefts import Clefts
from igneous_ng.desks import Gridded, agree
from igneous_ng.errors import DataError
from igneous_ng.geometry import Box, Grid, Vec3, Vec3f, vec
from igneous_ng.kernels.contacts import Radius, summed
from igneous_ng.partner_rows import Rules, rows
from igneous_ng.synapses import Frame, empty

Array = npt.NDArray[Any]
_GROWTH = 8  # bytes held per byte of contacts: sorted copies and lists


@dataclass(frozen=True)
class Plan(Gridded):
    """What all phases follow, as `synapse contacts` wrote it; ``sided`` is how the sides and the kind are told."""

    clefts: str
    segmentation: str
    mip: int
    bounds: Box
    resolution: Vec3f
    cell: Vec3
    radius: float
    fill_missing: bool
    sided: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        return {**vars(self), "bounds": str(self.bounds), "cell": list(self.cell), "resolution": list(self.resolution)}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Plan:
        """The plan that :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            x, y, z = map(float, raw["resolution"])
            parts = {"bounds": Box.parse(raw["bounds"]), "cell": vec(raw["cell"]), "resolution": (x, y, z)}
            return cls(**{**raw, **parts})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}: not a plan of partners ({error!r}); remove its folder and begin again"
            ) from error

    @property
    def grid(self) -> Grid:
        """The cells of contacts."""
        return Grid(self.bounds, self.cell)

    @property
    def near(self) -> Radius:
        """How near is near."""
        return Radius(self.radius, self.resolution)


@dataclass(frozen=True)
class Choice:
    """What `synapse partners` was asked for.

    ``block``: voxels along each side of a block. ``polyadic``: thousandths of the best evidence that further partners
    have, 0: there are none. ``distance``: nm that duplicates are less apart, 0: none are looked for. ``curve``: of
    :func:`igneous_ng.partners.by_density`.
    """

    block: int
    polyadic: int
    distance: float
    curve: tuple[float, float]


@dataclass(frozen=True)
class Desk(desks.Desk):
    """The folder ``TABLE/work``; ``layer`` is the table's."""

    again = "run the phases of `synapse assign` again, from `synapse contacts` on"

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"{self.layer}/work"

    def begin(self, plan: Plan) -> None:
        """Write the plan, or accept the same; SpecError says in what another one differs."""
        agree(self.io, f"{self.url}/plan.json", plan.to_json(), "contacts were found", f"remove {self.url}")

    def choose(self, choice: Choice) -> None:
        """Write what partners are wanted, or accept the same; SpecError says in what another one differs."""
        made = {**vars(choice), "curve": list(choice.curve)}
        agree(self.io, f"{self.url}/choice.json", made, "partners were found", f"remove {self.url}/choice.json")

    @cached_property
    def plan(self) -> Plan:
        """The plan; DataError if there is none."""
        raw = self._json("plan.json", "synapse contacts")
        return Plan.parse(raw, f"{self.url}/plan.json")

    @cached_property
    def choice(self) -> Choice:
        """What partners are wanted; DataError if nobody said."""
        raw = self._json("choice.json", "synapse partners")
        try:
            low, wide = raw["curve"]
            return Choice(**{**raw, "curve": (float(low), float(wide))})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.url}/choice.json is damaged ({error!r}); {self.again}") from error

    @cached_property
    def frame(self) -> Frame:
        """Where the table is."""
        return self.framed(self.choice)

    def framed(self, choice: Choice) -> Frame:
        """Where a table is of which this is wanted."""
        plan = self.plan
        made = {
            "clefts": plan.clefts,
            "radius": plan.radius,
            **plan.sided,
            "polyadic": choice.polyadic / 1000,
            "merge_distance": choice.distance,
            "kind_curve": list(choice.curve),
        }
        return Frame(plan.bounds, plan.resolution, choice.block, plan.segmentation, plan.mip, made)

    @cached_property
    def clefts(self) -> Clefts:
        """The clefts."""
        return Clefts(self.io, self.plan.clefts)

    def touched(self, found: dict[str, Array]) -> list[Vec3]:
        """The cells that clefts are near to, in order."""
        plan, cells = self.plan, set[Vec3]()
        margin = plan.near.margin
        for lo, hi in zip(found["lo"].tolist(), found["hi"].tolist(), strict=True):
            reached = Box(vec(lo), vec(hi)).grow(margin, margin) & plan.bounds
            there = reached.shift(vec(-first for first in plan.bounds.lo)) // plan.cell
            cells.update(vec(at) for at in product(*map(range, there.lo, there.hi)))
        return sorted(cells, key=lambda at: at[::-1])

    def contacts(self, found: dict[str, Array]) -> dict[str, Array]:
        """The contacts of whole clefts, by cleft, then label; nothing where there are no clefts."""
        parts = []
        for at in self.touched(found):
            some = self.read("contacts", at)
            kept = np.isin(some["object"], found["id"])
            parts.append({name: column[kept] for name, column in some.items()})
        return summed(parts) if parts else {}

    def made(self, box: Box) -> dict[str, Array]:
        """The rows of a block of the table, ascending by id, none merged yet."""
        found = self.clefts.within(box)
        near = self.contacts(found)
        return rows(found, near, self.rules, self.plan.bounds, self.plan.resolution) if near else empty()

    def made_bytes(self, box: Box) -> int:
        """The most bytes that :meth:`made` holds."""
        found = self.clefts.within(box)
        cells = sum(self.size("contacts", at) for at in self.touched(found))
        return self.clefts.within_bytes(box) + _GROWTH * cells

    @property
    def rules(self) -> Rules:
        """How partners are chosen."""
        plan, choice = self.plan, self.choice
        kind = plan.sided["kind_from"] if plan.sided["kind"] else ""
        return Rules(plan.sided["sides"] != "nearest", kind, choice.polyadic, choice.curve)

    def _json(self, name: str, command: str) -> Any:
        raw = self.io.get_json(f"{self.url}/{name}")
        if raw is None:
            raise DataError(f"{self.url}: there is no {name}; run `{command} ... {self.layer}` first")
        return raw
