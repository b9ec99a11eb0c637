"""The folder of a connectome graph: versions, each with a plan, tables and a manifest, which is written last."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy.typing as npt

from igneous_ng.desks import agreed
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Grid, Vec3, Vec3f
from igneous_ng.graph_versions import Kept
from igneous_ng.kernels.edges import PLACE, Side
from igneous_ng.store import Store

Array = npt.NDArray[Any]
KIND = "versions"
"""The folder of a graph that has the versions of its edges."""
COLUMNS = ("keys", "starts", "partners", "counts", "voxels")
"""Of compressed sparse rows."""
WAYS: dict[str, Side] = {"out": "pre", "in": "post"}
"""On which side of a synapse a segment is whose partners are asked for."""
_TYPE = "igneous_ng_graph"


@dataclass(frozen=True)
class Plan:
    """What a version is made of. ``bounds`` and ``roi`` are voxels of ``resolution`` nm, as in the table.

    ``remap`` is a table of labels; ``date`` the day that the request names; ``cell`` voxels along each side of the
    files of places, ``parts`` those by the hash of a segment.
    """

    table: str
    date: str
    remap: str | None
    min_confidence: int
    min_voxels: int
    roi: Box | None
    cell: int
    parts: int
    bounds: Box
    resolution: Vec3f
    segmentation: str | None
    mip: int

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        boxes = {"roi": None if self.roi is None else str(self.roi), "bounds": str(self.bounds)}
        return {"@type": _TYPE, **vars(self), **boxes, "resolution": list(self.resolution)}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Plan:
        """What :meth:`to_json` gave, perhaps with more; DataError, naming ``where``, for another value."""
        try:
            if raw["@type"] != _TYPE:
                raise ValueError(raw["@type"])
            x, y, z = map(float, raw["resolution"])
            roi = None if raw["roi"] is None else Box.parse(raw["roi"])
            parts = {"bounds": Box.parse(raw["bounds"]), "resolution": (x, y, z), "roi": roi}
            return cls(**{name: {**raw, **parts}[name] for name in cls.__dataclass_fields__})
        except (KeyError, TypeError, ValueError, SpecError) as error:
            raise DataError(f"{where}: not of a graph ({error!r}); build it again") from error

    @property
    def grid(self) -> Grid:
        """The cells."""
        return Grid(self.bounds, (self.cell, self.cell, self.cell))


@dataclass(frozen=True)
class Version(Kept):
    """A version of the graph."""

    kind = KIND
    again = "run `graph build` again"

    @cached_property
    def plan(self) -> Plan:
        """What it is made of; DataError where it was not begun."""
        url = f"{self.home}/plan.json"
        missing = f"{url}: this version was not begun; run `graph build TABLE {self.layer} --tag {self.tag}`"
        return agreed(self.io, url, Plan.parse, missing)

    def counts(self, name: str) -> dict[str, Any]:
        """What a stage counted; DataError where it did not."""
        found: dict[str, Any] | None = self.io.get_json(f"{self.url}/{name}.json")
        if found is None:
            raise DataError(f"{self.url}/{name}.json is missing; {self.again}")
        return found


def flat(rows: Mapping[str, Array]) -> dict[str, Array]:
    """Rows of a table of synapses with a column for each axis: `x`, `pre_x`, `lo_x`, ..."""
    found: dict[str, Array] = {}
    for name, column in rows.items():
        if column.ndim == 1:
            found[name] = column
        else:
            stem = name.removesuffix("place")
            joint = "_" if stem and not stem.endswith("_") else ""
            found |= {f"{stem}{joint}{axis}": column[:, number] for number, axis in enumerate(PLACE)}
    return found


def cell_name(at: Vec3) -> str:
    """The table of the synapses of a cell."""
    return f"synapses/{'-'.join(map(str, at))}.parquet"


def part_name(what: str, part: int) -> str:
    """A part of the tables called ``what``: by_pre, by_post, edges_pre, edges_post, nodes."""
    return f"{what}/part-{part}.parquet"


def column_name(way: str, part: int, column: str) -> str:
    """A column of the compressed sparse rows of a part; ``way`` is out or in."""
    return f"csr/{way}/part-{part}/{column}.npy"


def versions(store: Store, graph: str, kind: str = KIND) -> list[dict[str, Any]]:
    """The manifests of the finished versions of a graph, the oldest first: by date, then by name, numbers as such.

    ``kind`` is the folder of the graph that they are in.
    """
    found = [store.get_json(f"{graph}/{kind}/{tag}/manifest.json") for tag in store.list(f"{graph}/{kind}")]
    return sorted((raw for raw in found if raw is not None), key=lambda raw: (raw["date"], _natural(raw["version"])))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
