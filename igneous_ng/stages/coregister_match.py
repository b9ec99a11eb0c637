"""Where blocks of a volume lie in another that is brought to it, by their voxels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import moved
from igneous_ng.coregistration import Coregistration, Round, Through
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import likeness, volume_matching
from igneous_ng.kernels.likeness import Measure
from igneous_ng.kernels.volume_matching import Found, Status, Sure
from igneous_ng.moved import Moved
from igneous_ng.stage import LayerUrl, Stage, arg, opt, sampled
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
CHUNK = 6
"""Nodes along each side of a task."""
CHANNELS = 7  # x, y, z, peak, ratio, sigma, status
_BASE = 60_000_000
_GREY = 40  # bytes of each voxel that is measured
_BLOCK = 120  # bytes of each voxel of a window that is correlated


@dataclass(frozen=True, kw_only=True)
class Matching(Stage, name="coregister match"):
    """Find out where blocks of one volume lie in another, and how sure that is; those that show nothing are left out.

    Blocks lie on a lattice over FIXED that is anchored to its voxel 0. MOVING is seen through the map of the round
    before, and for each block the displacement is found with which it shows the same: masked normalised correlation,
    its peak to a part of a voxel. Each task matches 6 x 6 x 6 blocks.
    """

    example = "./to-light --round 1 --mip 1"

    folder: LayerUrl = arg("Folder of the two volumes, where `coregister rough` has begun.")
    round: int = opt(1, "Which round this is; it goes on from the map of the one before.")
    mip: int = opt(0, "Level of FIXED at which they are compared.")
    block: Vec3 = opt((40, 40, 40), "Voxels of a block, at that level.")
    step: Vec3 = opt((20, 20, 20), "Voxels between blocks; along each axis both even, or both odd.")
    search: Vec3 = opt((8, 8, 8), "How far blocks may lie from where they are expected, in voxels.")
    measure: Measure = opt("edges", "What is compared: edges, which serve for any contrast, or values.")

    def check(self) -> None:
        """Blocks hold something, and lie around nodes."""
        if self.round < 1:
            raise SpecError(f"coregister match.round: {self.round}; rounds are counted from 1, 0 is the first guess")
        if min(self.block) < 4 or min(self.step) < 1 or min(self.search) < 2:
            raise SpecError(
                f"coregister match: blocks of {self.block} voxels, {self.step} apart, searched for by {self.search}; "
                "give at least 4, 1 and 2 along each axis"
            )
        if any((a - b) % 2 for a, b in zip(self.block, self.step, strict=True)):
            raise SpecError(
                f"coregister match: blocks of {self.block} every {self.step} voxels do not lie on whole voxels; along "
                "each axis give two even numbers, or two odd ones"
            )

    def home(self) -> str:
        """The folder keeps what is found."""
        return self.folder

    def places(self, io: IO) -> tuple[str, ...]:
        """What the round is, and its matches."""
        known = Coregistration.open(io, self.folder)
        return f"{known.folder(self.round)}/round.json", self._url(known)

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The folder and both volumes."""
        known = Coregistration.open(io, self.folder)
        return tuple(sorted({self.folder, known.moving, known.fixed}))

    def prepare(self, io: IO) -> None:
        """Say what the round is, and write the info of its matches."""
        known, lattice, info = self._round(io)
        known.affine(io, self.round - 1)
        io.create_layer(self._url(known), known.layer(info, lattice, CHANNELS, CHUNK))
        io.put_json(f"{known.folder(self.round)}/round.json", lattice.to_json())

    def units(self, io: IO) -> Grid:
        """Boxes of nodes."""
        _, lattice, _ = self._round(io)
        return Grid(lattice.box, (CHUNK,) * 3)

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """Both windows of all blocks, as read and as measured, and one correlation."""
        known, _, info = self._round(io)
        volume = io.volume(known.fixed, self.mip, info=info)
        inner, outer = self._windows(unit)
        shown = self._moved(IO(io.store), known, volume)
        read = shown.reads(outer).voxels * (shown.volume.voxel_bytes + 3) + inner.voxels * (volume.voxel_bytes + 2)
        one = np.prod([b + 2 * s for b, s in zip(self.block, self.search, strict=True)], dtype=np.int64)
        return int(_BASE + read + (inner.voxels + outer.voxels) * _GREY + one * _BLOCK)

    def execute(self, unit: Box, io: IO) -> None:
        """Match the blocks around some nodes."""
        known, lattice, info = self._round(io)
        volume = io.volume(known.fixed, self.mip, known.fill_missing, info)
        inner, outer = self._windows(unit)
        still = likeness.measured(*moved.fixed(io, volume, known.to_channel, inner), self.measure)
        shown = likeness.measured(*self._moved(io, known, volume).seen(outer), self.measure)
        factor = [a // b for a, b in zip(lattice.step, self.step, strict=True)]
        out = np.zeros((*unit.shape, CHANNELS), np.float32, order="F")
        for index in np.ndindex(*unit.shape):
            block = self._block(vec(np.add(index, unit.lo)))
            wide = block.grow(self.search, self.search)
            parts = (block.slices(inner.lo), wide.slices(outer.lo))
            pair = tuple((both[0][part], both[1][part]) for both, part in zip((still, shown), parts, strict=True))
            out[index] = _row(volume_matching.matched(pair[0], pair[1], Sure()), factor)
        target = io.volume(self._url(known), 0, info=known.layer(info, lattice, CHANNELS, CHUNK))
        io.write(target, unit, out)
        io.note(**_told(out))

    def said(self, io: IO) -> str:
        """How many blocks were matched, of all or, where these are many, of some."""
        known, lattice, info = self._round(io)
        target = io.volume(self._url(known), 0, info=known.layer(info, lattice, CHANNELS, CHUNK))
        units = self.units(io)
        count = Counter[str]()
        for unit in sampled(units):
            count.update(_told(target.read(unit)[0]))
        total = sum(count.values())
        scope = " looked at" if len(units) > len(sampled(units)) else ""
        return (
            f"{count['good']:,} of {total:,} blocks{scope} matched; {count['nothing']:,} with nothing to see, "
            f"{count['weak']:,} weak, {count['end']:,} at the end of the search"
        )

    def _round(self, io: IO) -> tuple[Coregistration, Round, Info]:
        known = Coregistration.open(io, self.folder)
        info = io.info(known.fixed)
        return known, known.new_round(info, self.round, self.mip, self.step), info

    def _url(self, known: Coregistration) -> str:
        return f"{known.folder(self.round)}/matches"

    def _moved(self, io: IO, known: Coregistration, volume: Volume) -> Moved:
        return Moved(Through(io, known, self.round - 1), known.moving, volume.resolution)

    def _block(self, node: Vec3) -> Box:
        """The voxels of the block around a node."""
        sides = zip(node, self.step, self.block, strict=True)
        return Box.sized(vec(n * s + (s - b) // 2 for n, s, b in sides), self.block)

    def _windows(self, unit: Box) -> tuple[Box, Box]:
        """The voxels of both volumes that say what the blocks around some nodes show."""
        hull = self._block(unit.lo) | self._block(vec(n - 1 for n in unit.hi))
        inner = hull.grow((likeness.REACH,) * 3, (likeness.REACH,) * 3)
        return inner, inner.grow(self.search, self.search)


def _row(found: Found, factor: Sequence[int]) -> Array:
    """As the layer holds it: in voxels of mip 0."""
    shift = np.multiply(found.shift, factor)
    return np.array([*shift, found.peak, found.ratio, found.sigma * max(factor), found.status], np.float32)


def _told(rows: Array) -> dict[str, int]:
    """How many blocks came to what."""
    return {kind.name.lower(): int((rows[..., 6] == kind).sum()) for kind in Status if kind != Status.UNLIKE}
