"""The steps from a table of synapses to a version of a graph: what its stages (`graph build`) share.

A row of the table becomes part of an edge or not (:func:`fates`); what does travels short (:func:`narrow`) through the
shuffle to the parts of its segments.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.census import Shuffle
from igneous_ng.connectome import Plan, Version, flat
from igneous_ng.desks import Desk
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import remaps
from igneous_ng.geometry import Box, Grid
from igneous_ng.graph_versions import Kept, check_tag
from igneous_ng.io import IO
from igneous_ng.kernels.edges import ROW, Side
from igneous_ng.renaming import Renaming
from igneous_ng.shuffled_rows import Portions
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.store import digest
from igneous_ng.synapses import AUTAPSE, LEFT_OUT, Frame

Array = npt.NDArray[Any]
SIDES: tuple[Side, ...] = ("pre", "post")
FATES = ("synapses", "autapses", "flagged", "outside", "weak")
"""What becomes of a row: of an edge, of one segment only, without a partner or double, left out by roi or filters."""


@dataclass(frozen=True, kw_only=True)
class Versioned(Stage):
    """A stage that makes a version of what a graph keeps."""

    graph: LayerUrl = arg("Folder of the graph.")
    tag: str = opt("1", "Name of the version; a graph can have several.")

    def check(self) -> None:
        """A name is one of a folder."""
        super().check()
        check_tag(f"{self.name}.tag", self.tag)

    def home(self) -> str:
        """Records lie with the graph."""
        return self.graph

    def places(self, io: IO) -> tuple[str, ...]:
        """The folder of the version."""
        return (self.made(io).home,)

    @abstractmethod
    def made(self, io: IO) -> Kept:
        """The version."""


def blocks(frame: Frame, box: Box) -> Grid:
    """The blocks of a cell."""
    return Grid(frame.bounds, (frame.block,) * 3, box)


def shuffle_of(plan: Plan) -> Shuffle:
    """How rows come from cells to parts."""
    return Shuffle(len(plan.grid), plan.parts)


def portions_of(made: Version, side: Side) -> Portions:
    """The rows on their way by the segments of one side."""
    return Portions(made.io, f"{made.url}/{side}", shuffle_of(made.plan), "synapses", made.again)


def check_remap(io: IO, remap: str | None) -> None:
    """DataError unless a table of labels, if one is named, is there."""
    if remap is not None:
        if remap.endswith(remaps.SUFFIXES):
            if not io.exists(remap):
                raise DataError(f"{remap}: this table of labels is missing; name a file that is there")
        else:
            _ = Renaming(io, remap).facts


def labels(io: IO, remap: str | None, where: str) -> tuple[Array, Array]:
    """A file of labels: old ones, ascending, and what they become; SpecError, naming ``where``, if it is no file."""
    if remap is None or not remap.endswith(remaps.SUFFIXES):
        raise SpecError(f"{where}: {remap}; give a file that ends in {', '.join(remaps.SUFFIXES)}")
    data = io.get(remap)
    if data is None:
        raise DataError(f"{remap}: this table of labels is missing; name a file that is there")
    return remaps.parse(data, remap)


def labels_bytes(io: IO, remap: str | None) -> int:
    """The most bytes that :func:`labels` holds."""
    data = io.peek(remap or "")
    return 0 if data is None else remaps.held_bytes(data, remap or "")


def renaming_bytes(io: IO, made: Desk, remap: str | None) -> int:
    """The most bytes that renaming holds; of a file that is not in parts yet, 0: it is not when a chain is planned."""
    table = renaming(io, made, remap)
    return 4 * table.facts.bytes if table is not None and io.exists(f"{table.url}/table.json") else 0


def renaming(io: IO, made: Desk, remap: str | None) -> Renaming | None:
    """The table of labels, in parts."""
    if remap is None:
        return None
    return Renaming(io, f"{made.url}/remap" if remap.endswith(remaps.SUFFIXES) else remap)


def renamed(renaming: Renaming | None, rows: dict[str, Array]) -> dict[str, Array]:
    """The segments of rows under their new names."""
    if renaming is None:
        return {}
    return dict(zip(SIDES, renaming.renamed(*(rows[side] for side in SIDES)), strict=True))


def fates(rows: dict[str, Array], plan: Plan) -> Array:
    """The number in :data:`FATES` of each row; the last reason of several is told first."""
    pre, post = rows["pre"], rows["post"]
    fate: Array = (pre == post).astype(np.int64)
    fate[(rows["confidence"] < plan.min_confidence) | (rows["voxels"] < plan.min_voxels)] = FATES.index("weak")
    if plan.roi is not None:
        lo, hi = (np.array(corner) * plan.resolution for corner in (plan.roi.lo, plan.roi.hi))
        fate[((rows["place"] < lo) | (rows["place"] >= hi)).any(axis=1)] = FATES.index("outside")
    fate[((rows["flags"] & (LEFT_OUT & ~AUTAPSE)) > 0) | (pre == 0) | (post == 0)] = FATES.index("flagged")
    return fate


def narrow(rows: dict[str, Array], kept: Array, side: Side) -> tuple[Array, dict[str, Array]]:
    """The segments that rows go by, and the rows, as short as they travel; flags say which are autapses now."""
    found = {name: column[kept] for name, column in flat(rows).items() if name in ROW}
    same = found["pre"] == found["post"]
    found["flags"] = np.where(same, found["flags"] | AUTAPSE, found["flags"] & ~np.uint16(AUTAPSE)).astype(ROW["flags"])
    return found[side], {name: found[name] for name in ROW}


def reach(frame: Frame, rows: dict[str, Array]) -> list[int]:
    """How far, in nm, middles lie at most below and above the first voxel's corner: x, y, z and x, y, z."""
    if not len(rows["id"]):
        return [0] * 6
    corner = np.floor(frame.voxels(rows["id"]) * np.array(frame.resolution)).astype(np.int64)
    away = rows["place"].astype(np.int64) - corner
    return [*np.maximum(-away, 0).max(axis=0).tolist(), *np.maximum(away, 0).max(axis=0).tolist()]


def together(portions: Portions, level: int, which: int) -> dict[str, Array]:
    """What the level below has for a task."""
    found = list(portions.below(level, which))
    return {name: np.concatenate([one[name] for one in found]) for name in ROW}


def total(made: Version, level: int, group: int) -> dict[str, Any]:
    """The counts of a group of a level, from those of its 64 groups of the level below."""
    shuffle = shuffle_of(made.plan)
    below = [one for _, one, _, _ in shuffle.below(level, group << shuffle.depth(level))]
    found = [made.counts(f"sums/{level - 1}/{one}") for one in below]
    return {
        **{name: sum(one[name] for one in found) for name in FATES},
        "reach": np.max([one["reach"] for one in found], axis=0).tolist(),
        "digest": digest("".join(one["digest"] for one in found).encode()),
    }


def identity(renaming: Renaming | None) -> str | None:
    """The digest of a table of labels, whatever file it came from."""
    if renaming is None:
        return None
    parts = [renaming.read(part) for part in range(renaming.facts.parts)]
    return digest("".join(digest(part["old"].tobytes() + part["new"].tobytes()) for part in parts).encode())
