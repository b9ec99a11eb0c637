"""What the steps of an evaluation share: the plan, cells, blocks, and the tables of overlaps.

Blocks are voxels of the map of errors: `block` voxels of the segmentation each, counted from the common origin, so that
the map lies exactly over what it tells of. Cells are whole chunks of the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.census import Shuffle
from igneous_ng.contingencies import Contingency
from igneous_ng.desks import Desk, agree, agreed
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns
from igneous_ng.formats.info import IMAGE, Info, new_info, round_to_chunks
from igneous_ng.geometry import Box, Grid, Vec3, Vec3f, ceil_div, vec
from igneous_ng.kernels import partition_scores
from igneous_ng.kernels.partition_scores import Sums

Array = npt.NDArray[Any]
SIDES = ("objects", "segments")
"""The two tables: pairs by the label of the truth, and by that of the segmentation."""
FAN = 64
"""Sums that a task adds up."""
_CHUNK = (8, 8, 8)  # blocks: of the map, and so of a cell, the least


@dataclass(frozen=True)
class Plan:
    """What all steps follow, as `eval overlaps` wrote it; ``cell`` is in blocks."""

    segmentation: str
    mip: int
    truth: str
    truth_mip: int
    fill_missing: bool
    bounds: Box
    resolution: Vec3f
    block: Vec3
    cell: Vec3
    border: float
    ignore: tuple[int, ...]
    mask: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        lists = {name: list(getattr(self, name)) for name in ("resolution", "block", "cell", "ignore")}
        return {**vars(self), **lists, "bounds": str(self.bounds)}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Plan:
        """The plan that :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            x, y, z = raw["resolution"]
            parts = {"bounds": Box.parse(raw["bounds"]), "resolution": (float(x), float(y), float(z)),
                     "block": vec(raw["block"]), "cell": vec(raw["cell"]), "ignore": tuple(raw["ignore"])}  # fmt: skip
            return cls(**{**raw, **parts})
        except (KeyError, TypeError, ValueError, SpecError) as error:
            raise DataError(f"{where}: not a plan of an evaluation ({error}); evaluate anew") from error

    @property
    def blocks(self) -> Box:
        """All blocks."""
        return self.bounds // self.block

    @property
    def grid(self) -> Grid:
        """The cells, in blocks."""
        return Grid(self.blocks, round_to_chunks(self.info.scales[0], self.cell))

    def voxels(self, blocks: Box) -> Box:
        """The voxels of blocks that are evaluated."""
        return blocks * self.block & self.bounds

    def places(self, cell: Box) -> list[Array]:
        """For each axis, which block of a cell each of its voxels lies in."""
        box = self.voxels(cell)
        axes = zip(box.lo, box.hi, self.block, cell.lo, strict=True)
        return [np.arange(a, b) // n - first for a, b, n, first in axes]

    def numbers(self, cell: Box) -> Array:
        """The numbers of the blocks of a cell, in their order, x fastest."""
        x, y, z = (np.arange(a - o, b - o) for a, b, o in zip(cell.lo, cell.hi, self.blocks.lo, strict=True))
        nx, ny, _ = self.blocks.shape
        found: Array = (x + nx * (y[:, None] + ny * z[:, None, None])).ravel()
        return found

    def centre(self, number: int) -> list[int]:
        """The voxel in the middle of a block."""
        nx, ny, _ = self.blocks.shape
        at = vec(
            a + i for a, i in zip(self.blocks.lo, (number % nx, number // nx % ny, number // (nx * ny)), strict=True)
        )
        box = self.voxels(Box.sized(at, (1, 1, 1)))
        return [(a + b) // 2 for a, b in zip(box.lo, box.hi, strict=True)]

    @property
    def info(self) -> Info:
        """The map of errors: split, then merge, in bits."""
        x, y, z = (r * b for r, b in zip(self.resolution, self.block, strict=True))
        return new_info(kind=IMAGE, dtype="float32", channels=2, bounds=self.blocks, resolution=(x, y, z),
                        chunk=_CHUNK, encoding="raw")  # fmt: skip


@dataclass(frozen=True)
class Evaluation(Desk):
    """A layer, the map of errors, with the scores, and its folder `eval`, where steps leave what the next ones need."""

    again = "run the steps of the evaluation again, from `eval overlaps` on"

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"{self.layer}/eval"

    def begin(self, plan: Plan) -> None:
        """Write the plan, or accept the same; SpecError says in what another one differs."""
        agree(self.io, f"{self.url}/plan.json", plan.to_json(), "evaluated", "name another layer")

    @cached_property
    def plan(self) -> Plan:
        """The plan; DataError if there is none."""
        missing = f"{self.layer}: nothing is evaluated here; run `eval overlaps` first"
        return agreed(self.io, f"{self.url}/plan.json", Plan.parse, missing)

    @property
    def shuffle(self) -> Shuffle:
        """How overlaps of cells become tables."""
        return Shuffle(len(self.plan.grid))

    def side(self, name: str) -> Contingency:
        """One of the two tables."""
        return Contingency(self.io, f"{self.url}/{name}", self.shuffle)

    def put_blocks(self, unit: int, table: dict[str, Array]) -> None:
        """Write the pairs of each block of a cell."""
        self.io.put(self._blocks(unit), columns.pack(table))

    def blocks(self, unit: int) -> dict[str, Array]:
        """What :meth:`put_blocks` wrote."""
        return columns.unpack(self.get(self._blocks(unit)), self._blocks(unit))

    def blocks_bytes(self, unit: int) -> int:
        """Bytes of what :meth:`blocks` gives."""
        return columns.size(self.get(self._blocks(unit), columns.HEAD_SPAN), self._blocks(unit))

    @property
    def scores(self) -> dict[str, Any]:
        """The scores of the whole; DataError before they are known."""
        found = self.io.get_json(f"{self.layer}/scores.json")
        if found is None:
            raise DataError(f"{self.layer}: there are no scores yet; run `eval scores {self.layer}`")
        return dict(found)

    def put_unassigned(self, voxels: int) -> None:
        """Write how many voxels lie in no segment: alone, for maps depend on it and not on other scores."""
        self.io.put_json(f"{self.url}/unassigned.json", voxels)

    @property
    def unassigned(self) -> int:
        """What :meth:`put_unassigned` wrote."""
        return int(self.get(f"{self.url}/unassigned.json"))

    def _blocks(self, unit: int) -> str:
        return f"{self.url}/blocks/{unit}"


def rounded(cell: Vec3, block: Vec3) -> Vec3:
    """A cell of voxels in blocks."""
    return vec(ceil_div(n, b) for n, b in zip(cell, block, strict=True))


def tops(parts: int) -> list[int]:
    """Tasks of each level that adds up so many parts."""
    found = [parts]
    while found[-1] > 1:
        found.append(-(-found[-1] // FAN))
    return found


def scored(found: Any, plan: Plan) -> dict[str, Any]:
    """What `scores.json` tells."""
    sums = Sums(**found["sums"])
    worst = {side: [_object(one, sums.voxels, plan) for one in found[side]] for side in ("split", "merged")}
    counts = {name: getattr(sums, name) for name in ("voxels", "unassigned", "objects", "segments")}
    ignored = plan.bounds.voxels - sums.voxels
    return {"bounds": str(plan.bounds), **counts, "ignored": ignored, **partition_scores.scores(sums), **worst}


def _object(one: dict[str, Any], voxels: int, plan: Plan) -> dict[str, Any]:
    parts = [{**part, "place": plan.centre(part["place"])} for part in one["parts"]]
    return {"label": one["label"], "voxels": one["voxels"], "bits": partition_scores.bits(one["loss"], voxels),
            "of": one["of"], "parts": parts}  # fmt: skip
