"""A layer of supervoxels and the folder in it where all is kept that is known of them: `docs/design/025`.

The plan is what `segment watershed` was asked for; the graph of each leaf is what `segment graph` found; each
agglomeration has a name, a plan and the tables of its steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy.typing as npt

from igneous_ng.affinities import Affinities
from igneous_ng.desks import Desk, Gridded, agree, agreed
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.hierarchy import Hierarchy
from igneous_ng.kernels import supervoxel_ids

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Plan(Gridded):
    """What all stages of a layer of supervoxels follow. ``low`` and ``high`` are affinities from 0 to 1."""

    affinities: Affinities
    bounds: Box
    leaf: Vec3
    low: float
    high: float
    mask: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        parts = {"bounds": str(self.bounds), "leaf": list(self.leaf), "low": self.low, "high": self.high}
        return {"affinities": plain(vars(self.affinities)), **parts, "mask": self.mask}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Plan:
        """The plan that :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            given = raw["affinities"]
            source = Affinities(**{**given, "axes": vec(given["axes"])})
            parts = {"bounds": Box.parse(raw["bounds"]), "leaf": vec(raw["leaf"]), "affinities": source}
            return cls(**{**raw, **parts})
        except (KeyError, TypeError, ValueError, SpecError) as error:
            raise DataError(f"{where}: not a plan of supervoxels ({error}); run `segment watershed` again") from error

    @property
    def grid(self) -> Grid:
        """All leaves."""
        return Grid(self.bounds, self.leaf)

    @property
    def bits(self) -> int:
        """Bits of an id that tell the place of its leaf along one axis."""
        return supervoxel_ids.bits_for(self.shape)


@dataclass(frozen=True)
class Agglomeration:
    """How supervoxels become segments; see `segment agglomerate`, whose fields these are."""

    name: str
    thresholds: tuple[float, ...]
    linkage: str = "mean"
    guard_size: int = 0
    guard_threshold: float = 0.0
    small_size: int = 0
    small_threshold: float = 0.0
    fan: int = 2

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        return plain(vars(self))

    @classmethod
    def parse(cls, raw: Any, where: str) -> Agglomeration:
        """What :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            return cls(**{**raw, "thresholds": tuple(raw["thresholds"])})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: not a plan of an agglomeration ({error}); agglomerate again") from error


@dataclass(frozen=True)
class Supervoxels(Desk):
    """The folder ``LAYER/segment`` of a layer of supervoxels."""

    again = "run the stages of `segment` again from the one that writes it"

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"{self.layer}/segment"

    def begin(self, plan: Plan) -> None:
        """Write the plan, or accept the same; SpecError says in what another one differs."""
        agree(self.io, f"{self.url}/plan.json", plan.to_json(), "it was begun", f"remove {self.layer}")

    @cached_property
    def plan(self) -> Plan:
        """The plan; DataError if there is none."""
        url = f"{self.url}/plan.json"
        missing = f"{self.layer}: there are no supervoxels here; run `segment watershed` first"
        return agreed(self.io, url, Plan.parse, missing)

    def agglomeration_url(self, name: str) -> str:
        """The folder of an agglomeration."""
        return f"{self.url}/agglomerations/{name}"

    def decide(self, made: Agglomeration) -> None:
        """Write the plan of an agglomeration, or accept the same."""
        url = self.agglomeration_url(made.name)
        agree(self.io, f"{url}/plan.json", made.to_json(), "it was begun", f"remove {url}")

    def agglomeration(self, name: str) -> Agglomeration:
        """The plan of an agglomeration; DataError if there is none."""
        url = f"{self.agglomeration_url(name)}/plan.json"
        missing = f"{url}: nothing is agglomerated under this name; run `segment agglomerate` first"
        return agreed(self.io, url, Agglomeration.parse, missing)

    def hierarchy(self, made: Agglomeration) -> Hierarchy:
        """The nodes over the leaves."""
        return Hierarchy(self.plan.shape, made.fan)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """With lists in place of tuples, as JSON gives them back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
