"""The folder of the contacts of a graph's segments: versions, each with a plan, tables and a manifest, written last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from igneous_ng.desks import agreed
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Grid, Vec3, Vec3f, vec
from igneous_ng.graph_versions import Kept, folder
from igneous_ng.kernels import crofton
from igneous_ng.kernels.crofton import Measure
from igneous_ng.store import Store

KIND = "contacts"
"""The folder of a graph that has the versions."""
TABLES = ("contacts", "surfaces")
"""The tables of a version; each has a folder."""
_TYPE = "igneous_ng_contacts"


@dataclass(frozen=True)
class Plan:
    """What a version is made of: a segmentation, in cells of which contacts are counted, or ``base``, another version.

    ``base_parts`` are the parts of that one, or 0; ``remap`` is a table of labels; ``date`` the day that the request
    names; ``bounds`` are voxels of ``resolution`` nm; ``parts`` files by the hash of a segment.
    """

    segmentation: str
    mip: int
    fill_missing: bool
    base: str
    base_parts: int
    remap: str | None
    date: str
    cell: Vec3
    parts: int
    bounds: Box
    resolution: Vec3f

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        lists = {"cell": list(self.cell), "resolution": list(self.resolution)}
        return {"@type": _TYPE, **vars(self), **lists, "bounds": str(self.bounds)}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Plan:
        """What :meth:`to_json` gave, perhaps with more; DataError, naming ``where``, for another value."""
        try:
            if raw["@type"] != _TYPE:
                raise ValueError(raw["@type"])
            x, y, z = map(float, raw["resolution"])
            parts = {"bounds": Box.parse(raw["bounds"]), "resolution": (x, y, z), "cell": vec(map(int, raw["cell"]))}
            return cls(**{name: {**raw, **parts}[name] for name in cls.__dataclass_fields__})
        except (KeyError, TypeError, ValueError, SpecError) as error:
            raise DataError(f"{where}: not of contacts ({error!r}); run `graph contacts` again") from error

    @property
    def grid(self) -> Grid:
        """The cells."""
        return Grid(self.bounds, self.cell)

    @property
    def tasks(self) -> int:
        """What rows come from: parts of another version, or cells."""
        return self.base_parts or len(self.grid)

    @property
    def measure(self) -> Measure:
        """How areas are measured."""
        return crofton.measure(self.resolution)


@dataclass(frozen=True)
class Version(Kept):
    """A version of the contacts of the graph's segments."""

    kind = KIND
    again = "run `graph contacts` again"

    @cached_property
    def plan(self) -> Plan:
        """What it is made of; DataError where it was not begun."""
        url = f"{self.home}/plan.json"
        missing = f"{url}: there is none; run `graph contacts SEGMENTATION {self.layer} --tag {self.tag}`"
        return agreed(self.io, url, Plan.parse, missing)


def views(store: Store, graph: str, tag: str) -> dict[str, str]:
    """The folders of the tables of a finished version, by the names that queries have for them; none without one."""
    home = folder(graph, KIND, tag)
    return {name: f"{home}/{name}" for name in TABLES} if store.exists(f"{home}/manifest.json") else {}


def local(folders: Mapping[str, str]) -> dict[str, str]:
    """The paths of folders by name; SpecError unless all are on this machine."""
    if away := [url for url in folders.values() if not url.startswith("file://")]:
        raise SpecError(f"{away[0]}: SQL reads local tables; copy the version to a folder")
    return {name: url.removeprefix("file://") for name, url in folders.items()}
