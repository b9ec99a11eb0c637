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
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns
from igneous_ng.geometry import Box, Grid, Vec3, ceil_div, vec
from igneous_ng.hierarchy import Hierarchy
from igneous_ng.io import IO
from igneous_ng.kernels import supervoxel_ids

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Plan:
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
    def shape(self) -> Vec3:
        """Leaves along each axis."""
        return vec(ceil_div(n, c) for n, c in zip(self.bounds.shape, self.leaf, strict=True))

    @property
    def bits(self) -> int:
        """Bits of an id that tell the place of its leaf along one axis."""
        return supervoxel_ids.bits_for(self.shape)

    def at(self, leaf: Box) -> Vec3:
        """The place of a leaf in the grid."""
        return vec((a - o) // c for a, o, c in zip(leaf.lo, self.bounds.lo, self.leaf, strict=True))

    def box(self, at: Vec3) -> Box:
        """The leaf at a place of the grid."""
        lo = vec(o + i * c for o, i, c in zip(self.bounds.lo, at, self.leaf, strict=True))
        return Box.sized(lo, self.leaf) & self.bounds


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
class Supervoxels:
    """The folder ``LAYER/segment`` of a layer of supervoxels."""

    io: IO
    layer: str

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"{self.layer}/segment"

    def begin(self, plan: Plan) -> None:
        """Write the plan, or accept the same; SpecError says in what another one differs."""
        _agreed(self.io, f"{self.url}/plan.json", plan.to_json(), self.layer)

    @cached_property
    def plan(self) -> Plan:
        """The plan; DataError if there is none."""
        url = f"{self.url}/plan.json"
        raw = self.io.get_json(url)
        if raw is None:
            raise DataError(f"{self.layer}: there are no supervoxels here; run `segment watershed` first")
        return Plan.parse(raw, url)

    def agglomeration_url(self, name: str) -> str:
        """The folder of an agglomeration."""
        return f"{self.url}/agglomerations/{name}"

    def decide(self, made: Agglomeration) -> None:
        """Write the plan of an agglomeration, or accept the same."""
        url = self.agglomeration_url(made.name)
        _agreed(self.io, f"{url}/plan.json", made.to_json(), url)

    def agglomeration(self, name: str) -> Agglomeration:
        """The plan of an agglomeration; DataError if there is none."""
        url = f"{self.agglomeration_url(name)}/plan.json"
        raw = self.io.get_json(url)
        if raw is None:
            raise DataError(f"{url}: nothing is agglomerated under this name; run `segment agglomerate` first")
        return Agglomeration.parse(raw, url)

    def hierarchy(self, made: Agglomeration) -> Hierarchy:
        """The nodes over the leaves."""
        return Hierarchy(self.plan.shape, made.fan)

    def done(self, phase: str) -> None:
        """Enter that a phase is finished; phases are called as their folders."""
        self.io.put_json(f"{self.url}/done/{phase}.json", {})

    def need(self, phase: str, command: str) -> None:
        """DataError unless a phase is finished."""
        if not self.io.exists(f"{self.url}/done/{phase}.json"):
            raise DataError(f"{self.url}: `{command}` has not finished; wait for it, or run it")

    def put(self, what: str, at: Vec3, arrays: Mapping[str, Array]) -> None:
        """Write a table of a leaf or node at a place, in the folder ``what``."""
        self.io.put(self._name(what, at), columns.pack(arrays))

    def read(self, what: str, at: Vec3, names: tuple[str, ...] | None = None) -> dict[str, Array]:
        """What :meth:`put` wrote, or only the columns called ``names``; DataError if it is not there."""
        url = self._name(what, at)
        return columns.unpack(self._get(url), url, names)

    def size(self, what: str, at: Vec3) -> int:
        """Bytes of what :meth:`read` gives."""
        url = self._name(what, at)
        return columns.size(self._get(url, columns.HEAD_SPAN), url)

    def _get(self, url: str, span: tuple[int, int] | None = None) -> bytes:
        data = self.io.get(url, span)
        if data is None:
            raise DataError(f"{url} is missing; run the stages of `segment` again from the one that writes it")
        return data

    def _name(self, what: str, at: Vec3) -> str:
        return f"{self.url}/{what}/{'-'.join(map(str, at))}"


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """With lists in place of tuples, as JSON gives them back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _agreed(io: IO, url: str, new: dict[str, Any], where: str) -> None:
    old = io.get_json(url)
    if old is None:
        io.put_json(url, new)
    elif differing := [key for key in new if old.get(key) != new[key]]:
        said = "; ".join(f"{key} {old.get(key)} there, {new[key]} asked for" for key in differing)
        raise SpecError(f"{url}: it was begun otherwise ({said}); ask for the same, or remove {where}")
