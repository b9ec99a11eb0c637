"""Clefts of synapses: what the phases of `synapse detect` share, and what later stages read of them.

The key of a cleft is the place of its first voxel in the volume, x fastest; its id, which is its label in the layer of
clefts, is the location of that voxel (:mod:`igneous_ng.kernels.locations`). All that is known of a cleft is a sum, a
minimum or a maximum of integers over its voxels, so it does not depend on the cells. Sums of places are exact below
2**63: a cleft may have 2**43 voxels where the volume is 2**20 wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import desks, touching
from igneous_ng.desks import agree, agreed
from igneous_ng.errors import DataError
from igneous_ng.figures import Figure
from igneous_ng.geometry import Box, Grid, Vec3, Vec3f, vec
from igneous_ng.kernels import locations
from igneous_ng.kernels.cleft_parts import least
from igneous_ng.kernels.unions import Reduction
from igneous_ng.touching import FAN, Cells
from igneous_ng.tree import Tree

Array = npt.NDArray[Any]

COLUMNS: dict[str, str] = {
    "id": "<u8",  # the label of the cleft in the layer
    "key": "<u8",  # the linear index of its first voxel in the bounds, x fastest
    "voxels": "<i8",
    "sum": "<i8",  # of the evidence of its voxels, each 0 to 255
    "peak": "|u1",  # the greatest evidence of a voxel
    "places": "<i8",  # [3] sums of x, y, z of its voxels, counted from the first voxel of the bounds
    "lo": "<i4",  # [3] its box, voxels of the volume's own numbers, hi excluded
    "hi": "<i4",
}
"""The columns of a row of a cleft, and their types; those of places and boxes are [n, 3]. The centroid is at
``bounds.lo + places / voxels + 0.5`` voxels, the mean evidence is ``sum / voxels``."""
WIDE = ("places", "lo", "hi")
PAYLOAD: tuple[Reduction, ...] = ("sum", "sum", "max", "sum", "sum", "sum", "min", "min", "min", "max", "max", "max")
"""What a tree knows of a cleft: voxels, sum, peak, places, lo and hi, these two also from the first voxel on."""
COUNTS = ("clefts", "small", "large", "faint", "low", "means", "seen")
"""What is counted: clefts, how many of them are left out for what reason, the sum of the means of those kept, and
voxels that no mask leaves out."""
PIECES = {"parts": Figure("pieces of what may be clefts", counted=True)}
WHOLE = {
    "kept": Figure("clefts", counted=True),
    "mean": Figure("mean evidence of clefts, of 1", of="kept"),
    "size": Figure("voxels of the median cleft", of="kept"),
}
"""What units note of the pieces that they find, and of whole clefts that begin in them (:func:`figures`)."""
_COPIES = 4  # of rows while they are put together


@dataclass(frozen=True)
class Plan(Cells):
    """What all phases follow, as `synapse label` wrote it; ``least`` evidence, 1 to 255, is that of a cleft."""

    evidence: str
    mip: int
    channels: tuple[int, ...]
    least: int
    bounds: Box
    resolution: Vec3f
    chunk: Vec3
    cell: Vec3
    connectivity: int
    split_by: str | None
    split_mip: int
    fill_missing: bool
    mask: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        lists = {name: list(getattr(self, name)) for name in ("channels", "resolution", "chunk", "cell")}
        return {**vars(self), **lists, "bounds": str(self.bounds)}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Plan:
        """The plan that :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            x, y, z = map(float, raw["resolution"])
            vectors = {name: vec(raw[name]) for name in ("chunk", "cell")}
            more = {"bounds": Box.parse(raw["bounds"]), "channels": tuple(raw["channels"]), "resolution": (x, y, z)}
            return cls(**{**raw, **vectors, **more})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: not a plan of clefts ({error!r}); remove its folder and detect again") from error

    @property
    def grid(self) -> Grid:
        """All cells."""
        return Grid(self.bounds, self.cell)

    def voxels(self, keys: Array) -> Array:
        """The first voxels, int64 [n, 3] in the volume's own numbers, of clefts by their keys, uint64."""
        wide, deep, _ = (np.uint64(n) for n in self.bounds.shape)
        places = np.stack([keys % wide, keys // wide % deep, keys // (wide * deep)], axis=1).astype(np.int64)
        found: Array = places + np.array(self.bounds.lo)
        return found

    def ids(self, keys: Array) -> Array:
        """The ids, uint64, of clefts by their keys."""
        shape = self.bounds.shape
        return locations.locations(locations.codes(self.voxels(keys) - np.array(self.bounds.lo), shape))


@dataclass(frozen=True)
class Clefts(desks.Desk):
    """The clefts of ``layer``: rows in its folder ``synapse``, by the cell that their first voxel lies in."""

    again = "run `synapse detect` again"

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"{self.layer}/synapse"

    @cached_property
    def plan(self) -> Plan:
        """How clefts were detected: bounds, resolution, cells; DataError if they were not."""
        missing = f"{self.url}: no clefts are labelled here; run `synapse detect` with this layer first"
        return agreed(self.io, f"{self.url}/plan.json", Plan.parse, missing)

    def ready(self) -> None:
        """DataError unless all clefts are found."""
        if not self.io.exists(f"{self.url}/clefts.json"):
            raise DataError(f"{self.url}: clefts are not all found; let `synapse detect` finish with this layer first")

    @property
    def told(self) -> dict[str, Any]:
        """What :func:`summary` says of all clefts; DataError unless all are found."""
        self.ready()
        return dict(self.io.get_json(f"{self.url}/clefts.json") or {})

    def within(self, box: Box) -> dict[str, Array]:
        """The rows (:data:`COLUMNS`) of clefts whose first voxel lies in ``box``, ascending by id.

        All cells that touch the box are read; a box beyond the bounds has none.
        """
        found = [empty(), *(self.rows(self.plan.at(cell)) for cell in self._cells(box))]
        rows = {name: np.concatenate([one[name] for one in found]) for name in COLUMNS}
        first = self.plan.voxels(rows["key"])
        inside = np.flatnonzero(((first >= box.lo) & (first < box.hi)).all(axis=1))
        order = inside[np.argsort(rows["id"][inside])]
        return {name: column[order] for name, column in rows.items()}

    def within_bytes(self, box: Box) -> int:
        """The most bytes that :meth:`within` holds."""
        return _COPIES * sum(self.size("clefts", self.plan.at(cell)) for cell in self._cells(box))

    def rows(self, at: Vec3) -> dict[str, Array]:
        """The rows of clefts whose first voxel lies in a cell, ascending by key."""
        return self.read("clefts", at)

    def write(self, at: Vec3, rows: Mapping[str, Array]) -> None:
        """Write the rows of a cell."""
        self.put("clefts", at, {name: np.ascontiguousarray(rows[name], kind) for name, kind in COLUMNS.items()})

    def _cells(self, box: Box) -> Iterator[Box]:
        return iter(Grid(self.plan.bounds, self.plan.cell, box))


def empty() -> dict[str, Array]:
    """No rows."""
    return {name: np.zeros((0, 3) if name in WIDE else 0, kind) for name, kind in COLUMNS.items()}


@dataclass(frozen=True)
class Desk(touching.Desk):
    """The folder ``LAYER/synapse/work``, where the phases leave what the next ones need."""

    again = "run the phases of `synapse detect` again, from `synapse label` on"

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"{self.clefts.url}/work"

    @cached_property
    def clefts(self) -> Clefts:
        """What stays."""
        return Clefts(self.io, self.layer)

    def begin(self, plan: Plan) -> None:
        """Write the plan, or accept the same; SpecError says in what another one differs."""
        url = self.clefts.url
        agree(self.io, f"{url}/plan.json", plan.to_json(), "clefts were labelled", f"remove {url}")

    @property
    def plan(self) -> Plan:
        """The plan; DataError if there is none."""
        return self.clefts.plan

    @property
    def tree(self) -> Tree:
        """The tree over the cells."""
        return Tree(self.plan.shape, FAN, f"{self.url}/tree", PAYLOAD)

    def payload(self, parts: Mapping[str, Array]) -> Array:
        """What is known of each part."""
        return parts["payload"]

    # Counts of all clefts: of cells (level 0), of nodes, of all.

    def count(self, level: int, at: Vec3, counts: Mapping[str, int]) -> None:
        """Write the counts of a cell or node."""
        self.io.put_json(f"{self.url}/counts-{level}/{'-'.join(map(str, at))}", dict(counts))

    def counts(self, level: int, at: Vec3) -> dict[str, int]:
        """What :meth:`count` wrote; DataError if it is not there."""
        url = f"{self.url}/counts-{level}/{'-'.join(map(str, at))}"
        found = self.io.get_json(url)
        if found is None:
            raise DataError(f"{url} is missing; {self.again}")
        return dict(found)

    def tally(self, level: int, at: Vec3) -> dict[str, int]:
        """The counts of a node: those of its children."""
        found = [self.counts(level - 1, child) for child in self.tree.children(level, at)]
        return {name: sum(one[name] for one in found) for name in COUNTS}


def rows_of(plan: Plan, keys: Array, payload: Array) -> dict[str, Array]:
    """The rows of clefts from their keys and what a tree knows of them."""
    return {
        "id": plan.ids(keys),
        "key": keys,
        "voxels": payload[:, 0],
        "sum": payload[:, 1],
        "peak": payload[:, 2],
        "places": payload[:, 3:6],
        "lo": payload[:, 6:9] + np.array(plan.bounds.lo),
        "hi": payload[:, 9:12] + np.array(plan.bounds.lo),
    }


def judged(payload: Array, sizes: tuple[int, int], min_score: float, min_peak: float) -> dict[str, Array]:
    """Which whole clefts are left out, by the first reason that each has.

    ``sizes`` are the fewest and the most voxels (0: any number); scores are fractions of the greatest evidence.
    """
    voxels, total, peak = payload[:, 0], payload[:, 1], payload[:, 2]
    found = {
        "small": voxels < sizes[0],
        "large": voxels > (sizes[1] or np.iinfo(np.int64).max),
        "faint": total / (255.0 * voxels) < min_score,
        "low": peak < least(min_peak),
    }
    out = np.zeros(len(voxels), bool)
    for name, reason in found.items():
        found[name], out = reason & ~out, out | reason
    return found


def counted(rows: Mapping[str, Array], reasons: Mapping[str, Array]) -> dict[str, int]:
    """The counts (:data:`COUNTS`, but for what is seen) of a cell, from kept ``rows`` and what :func:`judged` says."""
    left_out = {name: int(np.count_nonzero(found)) for name, found in reasons.items()}
    found = len(rows["id"]) + sum(left_out.values())
    return {"clefts": found, **left_out, "means": int(means(rows["sum"], rows["voxels"]).sum())}


def figures(rows: Mapping[str, Array]) -> dict[str, float]:
    """Of kept ``rows`` how many there are, the mean of their mean evidence, of 1, and the size of the median one."""
    count, sizes = len(rows["id"]), np.sort(rows["voxels"])
    mean = int(means(rows["sum"], rows["voxels"]).sum()) / max(1, count) / 255
    return {"kept": count, "mean": float(f"{mean:.6g}"), "size": int(sizes[(count - 1) // 2]) if count else 0}


def summary(plan: Plan, counts: Mapping[str, int]) -> dict[str, Any]:
    """What is told of all clefts: how many, left out by reason, density in tissue that no mask leaves out, mean."""
    left_out = {name: counts[name] for name in ("small", "large", "faint", "low")}
    kept = counts["clefts"] - sum(left_out.values())
    volume = counts["seen"] * float(np.prod(plan.resolution)) / 1e9
    return {
        "found": counts["clefts"],
        "kept": kept,
        "left_out": left_out,
        "per_um3": float(f"{kept / volume:.6g}") if volume else 0.0,
        "mean": float(f"{counts['means'] / kept / 255:.6g}") if kept else 0.0,
    }


def means(sums: Array, voxels: Array) -> Array:
    """The mean evidence of clefts, int64 of 255, halves up."""
    found: Array = (2 * sums + voxels) // (2 * voxels)
    return found
