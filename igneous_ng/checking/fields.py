"""What the fields of a round say of a section: what is left of its displacements, loops, strain, drift."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.alignment import CHUNK, Alignment, Round
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.kernels import align_quality as quality
from igneous_ng.kernels import fields
from igneous_ng.warps import Field, Warp
from igneous_ng.windows import CRACK, FOLD, Windows

Array = npt.NDArray[Any]
SPAN = 4 * CHUNK
"""Nodes along each side that are looked at together."""
DISTANCES = (1, 2, 3, 4)
GOOD, VOID = 0, 1
"""Statuses of a displacement; there are five."""
MOVES = 0.3
"""Processes move so much sideways from section to section, as a share of how far these are apart."""
_STATUS = 5  # the channel of a flow layer
_LOOKED_AT = 4096  # folded cells whose mask is read; of more, something else is wrong


@dataclass(frozen=True)
class Stack:
    """The files of a round of an alignment."""

    io: IO
    alignment: Alignment
    lattice: Round

    def url(self, what: str) -> str:
        """A layer of the round."""
        return f"{self.alignment.home}/rounds/{self.lattice.number}/{what}"

    def flow(self, distance: int) -> Field:
        """The displacements measured to the section so far below."""
        return Field(self.io, self.url(f"flow/{distance}"), self.lattice.step)

    @cached_property
    def forward(self) -> Field:
        """Where the nodes of each section go."""
        return Field(self.io, self.url("forward"), self.lattice.step)

    def moves(self, distance: int = 1) -> float:
        """What processes move in so many sections, pixels of mip 0."""
        return MOVES * self.alignment.resolution[2] / self.alignment.resolution[0] * distance

    @cached_property
    def distances(self) -> tuple[int, ...]:
        """Those to which displacements were measured at all."""
        return tuple(k for k in DISTANCES if self.io.exists(f"{self.url(f'flow/{k}')}/info"))

    def below(self, z: int) -> int | None:
        """The nearest section below that is shown, at most four away."""
        known = (z - k for k in DISTANCES if z - k in self.alignment.zs)
        return next((n for n in known if self.alignment.rough(self.io, n).source >= 0), None)

    def cells(self, z: int) -> Iterator[Box]:
        """The nodes of a section, part by part."""
        (x0, y0, _), (x1, y1, _) = self.lattice.box.lo, self.lattice.box.hi
        return iter(Grid(Box((x0, y0, z), (x1, y1, z + 1)), (SPAN, SPAN, 1)))

    def grown(self, box: Box, low: int, high: int) -> Box:
        """A box of nodes with so many more before and after it along x and y, as far as there are."""
        whole = self.lattice.box
        x0, y0 = (max(box.lo[n] - low, whole.lo[n]) for n in (0, 1))
        x1, y1 = (min(box.hi[n] + high, whole.hi[n]) for n in (0, 1))
        return Box((x0, y0, box.lo[2]), (x1, y1, box.hi[2]))

    def points(self, box: Box) -> Array:
        """Where the nodes of a box lie, ``[nx, ny, 2]``."""
        (x0, y0, _), (x1, y1, _) = box.lo, box.hi
        return fields.points((x0, y0), (x1, y1), self.lattice.step)


def links(stack: Stack, z: int) -> dict[str, Any]:
    """What became of the displacements of a section: figures of a :class:`~igneous_ng.formats.checks.Check`."""
    found = _Links()
    for cell in stack.cells(z):
        _measure(stack, cell, found)
    residual = np.concatenate([np.zeros(0), *found.residual])
    loop = np.concatenate([np.zeros(0), *found.loop])
    used = sum(found.used)
    return {
        "statuses": tuple(found.statuses.tolist()),
        "links": tuple(found.used),
        "good": used / found.seen if found.seen else None,
        **spread("residual", residual),
        "residual_max": float(residual.max()) if used else None,
        "loops": len(loop),
        **spread("loop", loop),
    }


def spread(what: str, values: Array) -> dict[str, float | None]:
    """Median and 95th percentile, as two figures; None of nothing."""
    if not len(values):
        return {f"{what}_p50": None, f"{what}_p95": None}
    p50, p95 = np.percentile(values.astype(np.float64), (50, 95)).tolist()
    return {f"{what}_p50": p50, f"{what}_p95": p95}


@dataclass
class _Links:
    """What is gathered over the parts of a section."""

    statuses: Array = field(default_factory=lambda: np.zeros(5, np.int64))
    used: list[int] = field(default_factory=lambda: [0] * len(DISTANCES))
    seen: int = 0
    residual: list[Array] = field(default_factory=list)
    loop: list[Array] = field(default_factory=list)


def _measure(stack: Stack, cell: Box, found: _Links) -> None:
    """Take the displacements of the nodes of ``cell``: at each node the nearest that is good, as they were solved."""
    z, points = cell.lo[2], stack.points(cell)
    taken, seen = np.zeros(points.shape[:2], bool), np.zeros(points.shape[:2], bool)
    flows: dict[int, Array] = {}
    for k in stack.distances:
        if z - k not in stack.alignment.zs:
            continue
        flows[k] = values = stack.flow(k).nodes(cell)[:, :, 0]
        status = values[..., _STATUS]
        good = (status == GOOD) & np.isfinite(values[..., :2]).all(axis=-1)
        seen |= status != VOID
        new, taken = good & ~taken, taken | good
        found.used[k - 1] += int(new.sum())
        if k == 1:
            found.statuses += np.bincount(np.clip(status, 0, 4).astype(np.int64).ravel(), minlength=5)
        if new.any():
            found.residual.append(_left(stack, z, k, points[new], values[new][:, :2]))
    found.seen += int((seen | taken).sum())
    if 1 in flows and 2 in flows:
        found.loop.append(_loops(stack, z, points, flows[1], flows[2]))


def _left(stack: Stack, z: int, distance: int, points: Array, moved: Array) -> Array:
    """What is left of displacements between the two places to which the solution brings their ends, float32 ``[n]``.

    They were measured through the maps of the round before.
    """
    before = stack.lattice.number - 1
    ends = []
    for section, at in ((z, points), (z - distance, points + moved)):
        straight = Warp(stack.io, stack.alignment, section, before).straight(at)
        ends.append(straight + stack.forward.at(section, straight))
    off: Array = np.hypot(*(ends[0] - ends[1]).T)
    return off.astype(np.float32)


def _loops(stack: Stack, z: int, points: Array, one: Array, two: Array) -> Array:
    """Lengths of d(z, z-1) + d(z-1, z-2) - d(z, z-2) where all of them are good, float32 ``[n]``."""
    good = (one[..., _STATUS] == GOOD) & (two[..., _STATUS] == GOOD)
    if not good.any():
        return np.zeros(0, np.float32)
    between = one[good][:, :2]
    next_ = stack.flow(1).at(z - 1, points[good] + between)
    closure: Array = np.hypot(*(between + next_[:, :2] - two[good][:, :2]).T)
    found: Array = closure[(next_[:, _STATUS] == GOOD) & np.isfinite(closure)]
    return found.astype(np.float32)


def shape(stack: Stack, z: int, mip: int) -> tuple[dict[str, Any], dict[Box, Array]]:
    """What the elastic map does to a section, as figures, and the strain of its cells, by their boxes of nodes."""
    motion, parts, areas = quality.Motion(), dict[Box, Array](), list[tuple[float, float]]()
    folded, known = 0, list[tuple[int, int]]()
    middle = (stack.points(stack.lattice.box)[0, 0] + stack.points(stack.lattice.box)[-1, -1]) / 2
    for cell in stack.cells(z):
        around = stack.grown(cell, 0, 1)
        values = stack.forward.nodes(around)[:, :, 0]
        inner = values[: cell.shape[0], : cell.shape[1]]
        motion.add((stack.points(cell) - middle).reshape(-1, 2), inner.reshape(-1, 2))
        cells = quality.cells(values, stack.lattice.step)
        if cells.strain.size:
            parts[around] = cells.strain.astype(np.float32)
            areas.append((float(cells.least.min()), float(cells.most.max())))
            over = np.argwhere(cells.least <= 0)
            folded += len(over)
            known += [(cell.lo[0] + i, cell.lo[1] + j) for i, j in over[: _LOOKED_AT - len(known)].tolist()]
    torn = _torn(stack, z, mip, known)
    strain = np.concatenate([np.zeros(0, np.float32), *(part.ravel() for part in parts.values())])
    drift = motion.found() or (None, None, None)
    figures = {
        "strain_p95": spread("", strain)["_p95"],
        "strain_max": float(strain.max()) if len(strain) else None,
        "area_min": min((low for low, _ in areas), default=None),
        "area_max": max((high for _, high in areas), default=None),
        "folded": folded - torn,
        "torn": torn,
        **dict(zip(("drift_x", "drift_y", "turn"), drift, strict=True)),
    }
    return figures, parts


def _torn(stack: Stack, z: int, mip: int, folded: list[tuple[int, int]]) -> int:
    """How many cells lie upside down at folds and cracks of the mask, where springs are soft or there are none."""
    if not stack.alignment.mask:
        return 0
    windows, step, count = Windows(stack.io, stack.alignment, mip, 0), stack.lattice.step, 0
    for i, j in folded:
        x0, y0, x1, y1 = (round((n + 0.5) * step / windows.factor) for n in (i, j, i + 1, j + 1))
        codes = windows.mask(z, (x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))
        count += bool(np.isin(codes, (FOLD, CRACK)).any())
    return count


def jitter(stack: Stack, z: int, below: int) -> dict[str, Any]:
    """How much neighbouring sections differ from node to node, and in units of how sure that can be."""
    square, count = 0.0, 0
    for cell in stack.cells(z):
        around = stack.grown(cell, 1, 1)
        one, other = (stack.forward.nodes(around.shift((0, 0, n - z)))[:, :, 0] for n in (z, below))
        rough = quality.rough(one - other)
        square, count = square + float((rough**2).sum()), count + rough.size
    if not count:
        return {"jitter": None, "jitter_ratio": None}
    rms = float(np.sqrt(square / count))
    sure = _sure(stack, z, z - below)
    return {"jitter": rms, "jitter_ratio": rms / sure if sure > 0 else None}


def _sure(stack: Stack, z: int, distance: int) -> float:
    """How sure displacements to the section so far below are, along an axis: what loops say, or what processes move."""
    lattice = f"rounds/{stack.lattice.number}/weights"
    raw = stack.io.get_json(stack.alignment.url(lattice, z, ".json"))
    said = (raw or {}).get("sigma", {}).get(str(distance))
    return max(said, stack.moves(distance)) if said else stack.moves(distance)
