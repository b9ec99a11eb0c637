"""Sections compared anew, block by block, through the final maps: places between nodes, which no solver has seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.alignment import Round
from igneous_ng.checking.fields import spread
from igneous_ng.geometry import Box
from igneous_ng.kernels import align_quality as quality
from igneous_ng.windows import Window, Windows

Array = npt.NDArray[Any]
SIDE = 128
"""Pixels of the level along a side of a block."""
ALIKE = 0.15
"""A best correlation below this is what chance gives."""
CLEAR = 0.02
"""By how much the better place must be better, for its block to count as misaligned."""
CHANNELS = ("off", "gap", "strain")
"""Of the heat map: pixels of mip 0, correlation, share of a length."""
UNKNOWN = -1.0
"""What the heat map holds where there was nothing to measure."""
NAMED = 6
"""Places that are off the most, so many are told."""


@dataclass(frozen=True)
class Lattice:
    """Where blocks lie: one in the middle of each voxel of the heat map, which is midway between four nodes."""

    pitch: int
    """Pixels of mip 0 from block to block, an even multiple of the step of nodes."""
    box: Box
    """The voxels of the heat map."""

    @classmethod
    def of(cls, nodes: Round, most: int) -> Lattice:
        """The finest lattice that has at most so many blocks a section; around 0 there are always four."""
        step, multiple = nodes.step, 2
        pixels = nodes.box * (step, step, 1)
        while True:
            pitch = multiple * step
            found = cls(pitch, pixels // (pitch, pitch, 1))
            wide, high, _ = found.box.shape
            if wide * high <= most or pitch > max(pixels.shape[:2]):
                return found
            multiple += 2

    def middle(self, i: int, j: int) -> tuple[float, float]:
        """The middle of a block, pixels of mip 0."""
        return (i + 0.5) * self.pitch - 0.5, (j + 0.5) * self.pitch - 0.5

    def window(self, i: int, j: int, factor: int) -> Window:
        """A block and what is searched around it, pixels of a level."""
        half = SIDE // 2 + quality.REACH
        x, y = ((2 * n + 1) * self.pitch // (2 * factor) for n in (i, j))
        return x - half, y - half, x + half, y + half


@dataclass(frozen=True)
class Measured:
    """What the blocks of a section came to."""

    figures: dict[str, Any]
    off: Array
    """How far each block is off, pixels of mip 0, :data:`UNKNOWN` where that is not known, ``[x, y]``."""
    gap: Array
    """By how much its correlation would be better at the best place, or :data:`UNKNOWN`."""


def compare(windows: Windows, lattice: Lattice, sections: tuple[int, int], allowed: float) -> Measured:
    """A section and the one below, at each block; more than ``allowed`` pixels of mip 0 off is misaligned."""
    (x0, y0, _), (x1, y1, _) = lattice.box.lo, lattice.box.hi
    off, gap = (np.full((x1 - x0, y1 - y0), UNKNOWN, np.float32) for _ in range(2))
    found: list[tuple[int, int, quality.Likeness]] = []
    back: list[float] = []
    blocks = 0
    for j in range(y0, y1):
        for i in range(x0, x1):
            there = _both(windows, lattice.window(i, j, windows.factor), sections)
            if there is None:
                continue
            blocks += 1
            one, two = there
            if one.best < ALIKE:
                continue
            found.append((i, j, one))
            off[i - x0, j - y0] = math.hypot(*one.shift) * windows.factor
            gap[i - x0, j - y0] = one.gap
            if two.best >= ALIKE:
                back.append(math.hypot(one.shift[0] + two.shift[0], one.shift[1] + two.shift[1]) * windows.factor)
    return Measured(_figures(lattice, windows.factor, blocks, found, back, allowed), off, gap)


def _both(
    windows: Windows, window: Window, sections: tuple[int, int]
) -> tuple[quality.Likeness, quality.Likeness] | None:
    """How the second section lies on the first at a block, and the first on the second; None: too little to see."""
    first = windows.show(sections[0], window)
    if not first.tissue.any():
        return None
    second = windows.show(sections[1], window)
    if not second.tissue.any():
        return None
    one, other = (quality.even(seen.values, seen.tissue) for seen in (first, second))
    forth, back = quality.likeness(one, other), quality.likeness(other, one)
    return None if forth is None or back is None else (forth, back)


def _figures(
    lattice: Lattice,
    factor: int,
    blocks: int,
    found: list[tuple[int, int, quality.Likeness]],
    back: list[float],
    allowed: float,
) -> dict[str, Any]:
    shifts = np.array([one.shift for _, _, one in found]).reshape(-1, 2) * factor
    off = np.hypot(*shifts.T)
    gaps = np.array([one.gap for _, _, one in found])
    bad = (off > allowed) & (gaps > CLEAR)
    known = len(found) > 0
    order = np.flatnonzero(bad)[np.argsort(-off[bad], kind="stable")][:NAMED].tolist()
    return {
        "blocks": blocks,
        "alike": len(found) / blocks if blocks else None,
        **spread("held_out", off),
        **spread("back", np.array(back)),
        "misaligned": float(bad.mean()) if known else None,
        "shift_x": float(np.median(shifts[:, 0])) if known else None,
        "shift_y": float(np.median(shifts[:, 1])) if known else None,
        "correlation": float(np.median([one.here for _, _, one in found])) if known else None,
        **spread("gap", gaps),
        "worst": tuple((*lattice.middle(*found[n][:2]), float(off[n])) for n in order),
    }


def strains(parts: dict[Box, Array], lattice: Lattice, step: int) -> Array:
    """The largest strain in each voxel of the heat map, from that of cells by their boxes of nodes, ``[x, y]``."""
    (x0, y0, _), (x1, y1, _) = lattice.box.lo, lattice.box.hi
    found = np.full((x1 - x0, y1 - y0), UNKNOWN, np.float32)
    for nodes, strain in parts.items():
        # a cell lies around the place (i + 1) step - 1/2, and belongs to the voxel in which that is
        at = [
            (np.arange(n) + nodes.lo[k] + 1) * step // lattice.pitch - (x0, y0)[k] for k, n in enumerate(strain.shape)
        ]
        i, j = (np.clip(index, 0, size - 1) for index, size in zip(at, found.shape, strict=True))
        np.maximum.at(found, (i[:, np.newaxis], j[np.newaxis]), strain)
    return found
