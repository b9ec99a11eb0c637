"""What a reconstructed volume really shows of a synthetic specimen: any point of it, through all maps that are known.

A place of the volume is, by the alignment, a place of the mosaic; by the tile that shows it, a place of the section
that was cut into tiles; and by the section's own bends, a place of the specimen. None of these is guessed: what
stitching and alignment got wrong moves the truth with the picture, and is measured on its own (`eval stitch`,
`eval align`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.alignment import Alignment
from igneous_ng.cuts import Cuts
from igneous_ng.io import IO
from igneous_ng.kernels import fields
from igneous_ng.truths import Truth
from igneous_ng.warps import Warp

Array = npt.NDArray[Any]
STEP = 8
"""Pixels between the nodes at which maps are followed; between them they are bilinear."""
_ROUNDS = 12  # towards the place that shows a point; each makes the error smaller by the slope of the bends
_SURE = 0.05  # pixels by which a place that was found may show another point
_START = 33  # nodes along each axis, among which the first guess is sought


@dataclass(frozen=True)
class Shown:
    """The volume of ``alignment`` after round ``number``; points are ``[n, 2]``, pixels of mip 0."""

    io: IO
    alignment: Alignment
    number: int
    truth: Truth
    cuts: Cuts | None = None
    """None: the sections were not cut into tiles."""

    def slice(self, z: int) -> int | None:
        """Which slice of the specimen, counted from its first, is shown at ``z``; None where nothing is."""
        source = self._source(z)
        return None if source < 0 else self.truth.sections[source].slice

    def places(self, z: int, points: Array) -> tuple[Array, Array]:
        """Where in its slice lies what is shown at ``points``, and where that is tissue."""
        source = self._source(z)
        at, there = Warp(self.io, self.alignment, z, self.number).section(points), np.ones(len(points), bool)
        if self.cuts is not None:
            at, there = self.cuts.section(source, at)
        found = self.truth.places(source, at)
        return found, there & self.truth.tissue(source, at, found)

    def window(self, z: int, low: tuple[int, int], high: tuple[int, int]) -> tuple[Array, Array]:
        """The same of all pixels from ``low`` to ``high``, ``[nx, ny, 2]``: followed at nodes, bilinear between.

        Where a node around a pixel is no tissue, neither is the pixel.
        """
        first = (low[0] // STEP - 1, low[1] // STEP - 1)
        last = (high[0] // STEP + 2, high[1] // STEP + 2)
        shape = (last[0] - first[0], last[1] - first[1])
        places, there = self.places(z, fields.points(first, last, STEP).reshape(-1, 2))
        values = np.concatenate([places, there[:, np.newaxis]], axis=1).reshape(*shape, 3)
        x, y = (np.arange(a, b, dtype=np.float64) for a, b in zip(low, high, strict=True))
        at = fields.places(np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1), STEP)
        found = fields.bilinear(values, first, at)
        return found[..., :2], found[..., 2] > 1 - 1e-9

    def volume(self, z: int, places: Array) -> tuple[Array, Array]:
        """Where ``places`` of the slice at ``z`` are shown, and which are shown as tissue of the volume."""
        if not len(places):
            return np.zeros((0, 2)), np.zeros(0, bool)
        at = self._guessed(z, places)
        for _ in range(_ROUNDS):
            at = at - (self.places(z, at)[0] - places)
        seen, there = self.places(z, at)
        return at, there & (np.hypot(*(seen - places).T) < _SURE) & self._inside(at)

    def shown(self) -> Iterator[tuple[int, int]]:
        """All places where something is shown, with its slice."""
        for z in self.alignment.zs:
            if (which := self.slice(z)) is not None:
                yield z, which

    def _guessed(self, z: int, places: Array) -> Array:
        """The nodes of a coarse lattice that show what is nearest to ``places``."""
        lo, hi = self._box
        axes = (np.linspace(a, b - 1, _START) for a, b in zip(lo, hi, strict=True))
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        seen, _ = self.places(z, nodes)
        nearest = [int(np.argmin(((seen - one) ** 2).sum(axis=1))) for one in places]
        found: Array = nodes[nearest] + (places - seen[nearest])
        return found

    def _inside(self, points: Array) -> Array:
        lo, hi = self._box
        return np.asarray(((points >= np.array(lo) - 0.5) & (points < np.array(hi) - 0.5)).all(axis=1))

    def _source(self, z: int) -> int:
        return self.alignment.rough(self.io, z).source

    @cached_property
    def _box(self) -> tuple[tuple[int, int], tuple[int, int]]:
        box = self.alignment.extent(self.io)
        return box.lo[:2], box.hi[:2]
