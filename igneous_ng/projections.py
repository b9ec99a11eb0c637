"""Sections as the volume shows them: any window, from their layer or from the tiles of a montage, interpolated once.

Where the pixels of a window lie is known at points of a lattice (:mod:`~igneous_ng.kernels.warping`), in pixels of the
picture, rounded to :data:`STEP` of one: what is computed from such numbers is exact, so a voxel is the same, to the
last bit, whatever part of a picture is read with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from igneous_ng import imaging, mosaics
from igneous_ng.geometry import Box, Grid, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import blending, picking, warping
from igneous_ng.mapping import Stack
from igneous_ng.montage import Montage
from igneous_ng.mosaics import Boxes, Gallery, Kept, Manner, Sheet
from igneous_ng.volume import Volume
from igneous_ng.warps import Warp
from igneous_ng.windows import around

Array = npt.NDArray[Any]
Window = tuple[int, int, int, int]
STEP = 2.0**-16
"""What places are rounded to, in pixels."""
_BLOCK = 2**20  # voxels that are read at once, if whole chunks allow: several chunks are decoded side by side
_MARGIN = 8  # pixels that are read around what a window shows, at most, and a little
_PLACES = 400  # bytes of a point of the lattice while its place is computed


@dataclass(frozen=True)
class Frames:
    """Pixels of mip 0 of an alignment, along x and y, in a pixel of the volume shown, and in one of its pictures."""

    volume: float
    picture: float

    def points(self, window: Window) -> Array:
        """The points of the window's lattice, in pixels of mip 0."""
        found: Array = (warping.points(window) + 0.5) * self.volume - 0.5
        return found

    def pixels(self, points: Array) -> Array:
        """Points of a section as places in its picture, rounded."""
        found: Array = np.round(((points + 0.5) / self.picture - 0.5) / STEP) * STEP
        return found

    def hull(self, warp: Warp, window: Window, most: Array) -> tuple[Array, Array]:
        """The first and last place that ``window`` may show, given how far its points are moved at most."""
        (low, high), matrix = self.corners(window), np.abs(np.linalg.inv(warp.rough.matrix))
        middle, half = warp.rough.section((low + high) / 2), (high - low) / 2 + most
        reach = np.array([(row * half).sum() for row in matrix])
        first, last = ((end + 0.5) / self.picture - 0.5 for end in (middle - reach, middle + reach))
        return first, last

    def corners(self, window: Window) -> tuple[Array, Array]:
        """The first and last point of the window's lattice."""
        ends = self.points(window)
        return ends[0, 0], ends[-1, -1]


class Places:
    """Where the pixels of a task's window lie in a picture, asked for window by window."""

    def __init__(self, warp: Warp, frames: Frames, window: Window) -> None:
        self._all = frames.pixels(warp.section(frames.points(window)))
        self._first = window[0] // warping.STEP, window[1] // warping.STEP

    def at(self, window: Window) -> Array:
        """Places at the points of the lattice of a window inside, ``[nx, ny, 2]``."""
        x, y = (
            slice(a // warping.STEP - first, (b - 1) // warping.STEP + 2 - first)
            for a, b, first in zip(window[:2], window[2:], self._first, strict=True)
        )
        return self._all[x, y]


class Screen(Protocol):
    """What shows sections for one task."""

    def show(self, z: int, window: Window) -> Array | None:
        """The pixels of a window of what is shown by the map at ``z``, ``[x, y, channel]``; None: nothing there."""


@dataclass(frozen=True)
class Looks:
    """How values are shown: labels are never mixed; sections of opposite contrast may be mirrored."""

    background: float
    nearest: bool
    mirrored: bool


@dataclass(frozen=True)
class Source:
    """A level that is read in blocks of whole chunks, of at most ``most`` voxels if chunks are no larger."""

    volume: Volume
    most: int

    def blocks(self, box: Box) -> Grid:
        """The blocks that a box touches."""
        sides, most = list(self.volume.chunk), min(self.most, _BLOCK)
        while 2 * prod(sides) <= most:
            sides[sides[0] > sides[1]] *= 2
        return Grid(self.volume.bounds, vec(sides), box)

    @property
    def block_bytes(self) -> int:
        """Bytes of the voxels of a block."""
        sides = zip(self.blocks(self.volume.bounds).cell, self.volume.bounds.shape, strict=True)
        return prod(map(min, sides)) * self.volume.voxel_bytes


class Blocks:
    """Blocks of a level, of which ``room`` bytes are kept."""

    def __init__(self, io: IO, source: Source, room: int) -> None:
        self._source, self._volume = source, source.volume
        self._read, self._kept = imaging.reader(io, source.volume), Kept(room)

    def plane(self, box: Box) -> Array:
        """The voxels of a box of one section, ``[x, y, channel]``."""
        out = np.empty((*box.shape[:2], self._volume.channels), self._volume.dtype, order="F")
        for part in self._source.blocks(box):
            voxels = self._kept.get(part.lo, part.voxels * self._volume.voxel_bytes, lambda part=part: self._read(part))  # type: ignore[misc]
            seen = part & box
            x, y, _ = seen.slices(box.lo)
            out[x, y] = voxels[seen.slices(part.lo)][:, :, 0]
        return out


class FromLayer:
    """The sections of a layer, of which ``room`` bytes are kept; ``window`` is that of the whole task."""

    def __init__(self, stack: Stack, source: Source, frames: Frames, looks: Looks, window: Window, room: int) -> None:
        self._stack, self._volume, self._frames, self._looks = stack, source.volume, frames, looks
        self._window, self._blocks = window, Blocks(stack.io, source, room)
        self._places: dict[int, Places] = {}

    def show(self, z: int, window: Window) -> Array | None:
        """As in :class:`Screen`."""
        warp = self._stack.warp(z)
        if z not in self._places:
            self._places[z] = Places(warp, self._frames, self._window)
        places = self._places[z].at(window)
        box = around(places, self._volume.bounds, warp.rough.source)
        if box is None:
            return None
        pixels, places = self._blocks.plane(box), places - np.array(box.lo[:2])
        if self._looks.nearest:
            return picking.picked(pixels, window, places, self._looks.background)
        gain, add = np.ones(1), np.zeros(1)
        if self._looks.mirrored and warp.rough.inverted:
            gain, add = -gain, add + mosaics.mirror(self._volume.dtype.name)
        out = blank(window, self._volume.channels, self._volume.dtype)
        warping.Lying(pixels, places, gain, add).show(window[:2], self._looks.background, out)
        return out


class FromTiles:
    """The sections of a montage; ``window`` is that of the whole task."""

    def __init__(
        self, stack: Stack, montage: Montage, frames: Frames, looks: Looks, window: Window, gallery: Gallery
    ) -> None:
        self._stack, self._montage, self._frames, self._looks = stack, montage, frames, looks
        self._window, self._gallery = wide(window), gallery
        self._sheets: dict[int, Sheet] = {}

    def show(self, z: int, window: Window) -> Array:
        """As in :class:`Screen`."""
        out = blank(window, self._montage.channels, np.dtype(self._montage.dtype))
        self._sheet(z).show(window, out)
        return out

    def _sheet(self, z: int) -> Sheet:
        if z not in self._sheets:
            rough = self._stack.warp(z).rough
            manner = Manner(background=self._looks.background, mirrored=self._looks.mirrored and rough.inverted)
            lies = Places(self._stack.warp(z), self._frames, self._window).at
            self._sheets[z] = Sheet(self._stack.io, self._montage, rough.source, manner, self._gallery, lies)
        return self._sheets[z]


def blank(window: Window, channels: int, dtype: np.dtype[Any]) -> Array:
    """Room for the pixels of a window, ``[x, y, channel]``, x fastest."""
    return np.empty((window[2] - window[0], window[3] - window[1], channels), dtype, order="F")


@dataclass(frozen=True)
class Needs:
    """Bytes that a task holds: ``fixed`` beside levels, and as many more of its ``pictures`` as there is room for."""

    fixed: int
    least: int
    """Of the pictures, the most that is held of one."""
    pictures: int

    def room(self, left: int) -> int:
        """Bytes of pictures to be kept where ``left`` bytes are left of the task's memory for everything here."""
        return min(self.pictures, max(self.least, left - self.fixed))


def layer_needs(stack: Stack, source: Source, frames: Frames, task: Box, piece: Vec3) -> Needs:
    """What :class:`FromLayer` needs to show ``task`` piece by piece, pieces of ``piece`` voxels."""
    window, volume = (*task.lo[:2], *task.hi[:2]), source.volume
    voxel, channels = volume.voxel_bytes, volume.channels
    blocks, largest = set[Vec3](), 0
    for warp in shown(stack, task):
        most = warp.most(*frames.corners(window))
        low, high = frames.hull(warp, window, most)
        box = around(np.stack([low, high]), volume.bounds, warp.rough.source)
        if box is not None:
            blocks.update(part.lo for part in source.blocks(box))
            part = (*window[:2], window[0] + piece[0], window[1] + piece[1])
            low, high = frames.hull(warp, part, most)
            largest = max(largest, min(prod(ceil(n) + _MARGIN for n in (high - low).tolist()), prod(box.shape)))
    size = source.block_bytes
    pixels = piece[0] * piece[1]
    fixed = largest * voxel + pixels * (4 * (2 * channels + 1) + 2 * voxel + channels + 2) + _lattice(task) + 2 * size
    return Needs(fixed, size, len(blocks) * size)


def tile_needs(stack: Stack, montage: Montage, frames: Frames, task: Box, piece: Vec3) -> Needs:
    """The same of :class:`FromTiles`."""
    window, manner = (*task.lo[:2], *task.hi[:2]), Manner()
    voxel, depth, sizes = np.dtype(montage.dtype).itemsize * montage.channels, 0, [0]
    for warp in shown(stack, task):
        section = montage.section(stack.io, warp.rough.source)
        boxes = mosaics.boxes(stack.io, montage, section, manner)
        seen: Boxes = mosaics.reached(boxes, Places(warp, frames, wide(window)).at, wide(window))
        tiles = [section.tiles[n] for n in mosaics.touching(seen, wide(window))]
        sizes += [tile.width * tile.height * voxel for tile in tiles]
        depth = max(depth, mosaics.layers(seen, wide(window)))
    fixed = mosaics.bytes_shown(depth, piece[:2], montage.channels) + 3 * max(sizes) + _lattice(task)
    return Needs(fixed, max(sizes), sum(sizes))


def shown(stack: Stack, task: Box) -> list[Warp]:
    """The maps of what is shown in a box."""
    return [stack.warp(z) for z in range(task.lo[2], task.hi[2]) if stack.source(z) >= 0]


def wide(window: Window) -> Window:
    """A window with what blending looks at around it."""
    x0, y0, x1, y1 = window
    return x0 - blending.REACH, y0 - blending.REACH, x1 + blending.REACH, y1 + blending.REACH


def _lattice(task: Box) -> int:
    """Bytes of the places of a task, each section's, and of one while they are computed."""
    points = prod(n // warping.STEP + 4 for n in task.shape[:2])
    return points * (_PLACES + 16 * task.shape[2])
