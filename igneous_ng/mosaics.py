"""Sections as they are seen: any window of a mosaic, from its tiles' pictures and maps, with one interpolation.

What a window shows depends on the tiles that may touch it, and on nothing else; how sections are cut into windows
changes no pixel.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from igneous_ng import pictures, solutions
from igneous_ng.errors import DataError
from igneous_ng.intensities import Intensities
from igneous_ng.io import IO
from igneous_ng.kernels import blending, cutting, warping
from igneous_ng.kernels.blending import REACH, Patch, Window, common
from igneous_ng.kernels.tile_maps import Lens, TileMap
from igneous_ng.kernels.warping import Lying
from igneous_ng.montage import Montage, Placed, Section

Array = npt.NDArray[Any]
Boxes = npt.NDArray[np.int64]
ROUND = 64
"""Boxes of tiles are rounded outwards to so many pixels."""
_FLOATS = 4  # bytes
_LATTICE = 1  # bytes of a pixel: doubles, some tens at a time, for each of 256 pixels


@dataclass(frozen=True)
class Manner:
    """How sections are to be seen. ``clip``: pixels of a tile left out at its left, top, right and bottom."""

    solved: bool = True
    """Where the solution puts tiles, not the stage."""
    toned: bool = True
    """With what is known of intensities."""
    clip: tuple[int, int, int, int] = (0, 0, 0, 0)
    background: float = 0.0
    scale: int = 1
    """Pixels of the section, along both axes, in one of the mosaic."""
    mirrored: bool = False
    """With values mirrored within the range of their type."""


Lies = Callable[[Window], Array]
"""Where the points of a window's lattice lie in the section, ``[nx, ny, 2]``."""


class Gallery(Protocol):
    """Where the pictures of tiles are."""

    def picture(self, z: int, index: int, tile: Placed) -> tuple[Array, float] | None:
        """The picture of a tile, ``[x, y, channel]``, and how many pixels of the tile one of it is; None: not there."""


class Kept:
    """What was read last of many things, up to a number of bytes."""

    def __init__(self, room: int) -> None:
        self._room, self._held = room, 0
        self._found: OrderedDict[tuple[int, ...], Array] = OrderedDict()

    def get(self, key: tuple[int, ...], size: int, load: Callable[[], Array]) -> Array:
        """What is called ``key``, of ``size`` bytes, loaded where it is not kept; others make room before."""
        if key in self._found:
            self._found.move_to_end(key)
            return self._found[key]
        while self._found and self._held + size > self._room:
            self._held -= self._found.popitem(last=False)[1].nbytes
        self._found[key] = load()
        self._held += self._found[key].nbytes
        return self._found[key]


class Tiles:
    """Pictures of tiles, as they are in their files, of which ``room`` bytes are kept."""

    def __init__(self, io: IO, dtype: str, channels: int, room: int) -> None:
        self._io, self._dtype, self._channels, self._kept = io, dtype, channels, Kept(room)

    def picture(self, z: int, index: int, tile: Placed) -> tuple[Array, float]:
        """As in :class:`Gallery`; DataError where it is missing, torn, or of another shape or type than registered."""
        size = tile.width * tile.height * self._channels * np.dtype(self._dtype).itemsize
        return self._kept.get((z, index), size, lambda: self._load(tile)), 1.0

    def _load(self, tile: Placed) -> Array:
        parts = [pictures.load(self._io, one) for one in tile.pictures]
        whole = parts[0] if len(parts) == 1 else np.concatenate([one.T for one in parts]).T
        wanted = (tile.width, tile.height, self._channels)
        if whole.shape != wanted or whole.dtype != self._dtype:
            raise DataError(
                f"{tile.pictures[0].url}: tile {tile.tile!r} is {whole.shape} of {whole.dtype}, and was registered as "
                f"{wanted} of {self._dtype}; restore it, or run `ingest verify` and `ingest register` again"
            )
        return whole


class Sheet:
    """One section, for one task: what is read of it is kept.

    Windows are pixels of the mosaic, or, where ``lies`` says how these lie in the section, of any other plane; the
    manner's scale is 1 then.
    """

    def __init__(
        self, io: IO, montage: Montage, z: int, manner: Manner, gallery: Gallery, lies: Lies | None = None
    ) -> None:
        self._io, self._montage, self._z, self._manner, self._gallery = io, montage, z, manner, gallery
        self._section, self._lies = montage.section(io, z), lies
        self._boxes = boxes(io, montage, self._section, manner)
        self._maps: dict[int, TileMap] = {}
        self._solution = Solution(io, montage, z, len(self._section.tiles)) if manner.solved else None
        self._intensities = Intensities(io, montage, z) if manner.toned else None

    def show(self, window: Window, out: Array) -> None:
        """Fill ``out``, ``[x, y, channel]`` of the montage's type, x fastest, with the pixels of ``window``."""
        wide = window[0] - REACH, window[1] - REACH, window[2] + REACH, window[3] + REACH
        seen = reached(self._boxes, self._lies, wide) if self._lies else self._boxes
        near = touching(seen, window)
        for part, chosen in cutting.parts(window, seen[near]):
            x, y = (slice(part[k] - window[k], part[k + 2] - window[k]) for k in (0, 1))
            self._fill(part, {near[n]: seen[near[n]] for n in chosen}, out[x, y])

    def _fill(self, window: Window, tiles: dict[int, Array], out: Array) -> None:
        """Show a window that no other tiles than these, each in its box, touch."""
        only = self._lying(next(iter(tiles)), window) if len(tiles) == 1 else None
        if only is not None:
            only.show(window[:2], self._manner.background, out)
        else:
            wide = window[0] - REACH, window[1] - REACH, window[2] + REACH, window[3] + REACH
            patches = (self._patch(index, box, wide) for index, box in tiles.items())
            blending.blend([one for one in patches if one], window, self._manner.background, out)

    def _patch(self, index: int, box: Array, wide: Window) -> Patch | None:
        """What of a tile is in a window."""
        x0, y0, x1, y1 = box.tolist()
        part = common((x0, y0, x1, y1), wide)
        lying = part and self._lying(index, part)
        return lying.warped(part) if part and lying else None

    def _lying(self, index: int, window: Window) -> Lying | None:
        tile, scale = self._section.tiles[index], self._manner.scale
        found = self._gallery.picture(self._z, index, tile)
        if found is None:
            return None
        picture, factor = found
        points = self._lies(window) if self._lies else (warping.points(window) + 0.5) * scale - 0.5
        places = warping.places(self._map(index, tile), points)
        gain, add = self._tones(index, tile, places, points)
        left, top, right, bottom = (round(n / factor) for n in self._manner.clip)
        width, height = picture.shape[:2]
        cut = picture[left : width - right, top : height - bottom]
        return Lying(cut, (places + 0.5) / factor - 0.5 - np.array([left, top]), gain, add)

    def _map(self, index: int, tile: Placed) -> TileMap:
        if index not in self._maps:
            self._maps[index] = self._solution.tile(index) if self._solution else by_stage(tile)
        return self._maps[index]

    def _tones(self, index: int, tile: Placed, places: Array, points: Array) -> tuple[Array, Array]:
        gain, add = np.ones(self._montage.channels), np.zeros(self._montage.channels)
        if self._intensities is not None:
            gain, add = self._intensities.at(index, tile, places, points)
        return (-gain, mirror(self._montage.dtype) - add) if self._manner.mirrored else (gain, add)


class Solution:
    """The maps of a section's tiles, each read by itself."""

    def __init__(self, io: IO, montage: Montage, z: int, tiles: int) -> None:
        self._io, self._url = io, montage.url("solutions", z, ".maps")
        data = io.get(self._url, solutions.HEAD_SPAN)
        if data is None:
            raise DataError(f"{self._url}: this section is not solved; run `stitch solve`, or render --positions stage")
        self._head = solutions.head(data, self._url)
        if self._head.tiles != tiles:
            raise DataError(
                f"{self._url}: has maps of {self._head.tiles} tiles, and the section has {tiles}; "
                "run `stitch solve` again"
            )
        self._lenses: dict[int, Lens] = {}

    def tile(self, index: int) -> TileMap:
        """The map of a tile."""
        data = self._span(self._head.tile(index))
        place = solutions.lens_of(data)
        if place >= 0 and place not in self._lenses:
            self._lenses[place] = solutions.lens(self._span(self._head.lens(place)))
        return solutions.tile(data, self._head, self._lenses.get(place))[0]

    def _span(self, span: tuple[int, int]) -> bytes:
        data = self._io.get(self._url, span) or b""
        if len(data) != span[1] - span[0]:
            raise DataError(f"{self._url}: ends before byte {span[1]}; run `stitch solve` again")
        return data


def by_stage(tile: Placed) -> TileMap:
    """The map of a tile as the stage has it."""
    matrix = np.array(tile.matrix, np.float64).reshape(2, 2)
    return TileMap((tile.width, tile.height), matrix, np.array([tile.x, tile.y], np.float64))


def boxes(io: IO, montage: Montage, section: Section, manner: Manner) -> Boxes:
    """Which part of the mosaic each tile of a section may touch, ``[tile, 4]``: x0, y0, x1, y1, rounded outwards."""
    if manner.solved:
        found = np.array(_placed(io, montage, section), np.int64).reshape(-1, 4)
    else:
        stage = np.array([t.box for t in section.tiles]).reshape(-1, 4)
        low, high = np.floor(stage[:, :2] / ROUND) * ROUND, np.ceil(stage[:, 2:] / ROUND) * ROUND
        found = np.concatenate([low, high], axis=1).astype(np.int64)
    return np.concatenate([found[:, :2] // manner.scale, -(-found[:, 2:] // manner.scale)], axis=1)


def _placed(io: IO, montage: Montage, section: Section) -> list[list[int]]:
    url = montage.url("placed", section.z, ".json")
    raw = io.get_json(url)
    if raw is None:
        raise DataError(f"{url}: this section is not solved; run `stitch solve`, or render --positions stage")
    if len(raw["boxes"]) != len(section.tiles):
        raise DataError(
            f"{url}: has boxes of {len(raw['boxes'])} tiles, and the section has {len(section.tiles)}; "
            "run `stitch solve` again"
        )
    found: list[list[int]] = raw["boxes"]
    return found


def touching(placed: Boxes, window: tuple[float, float, float, float]) -> list[int]:
    """The tiles whose boxes touch ``window``, in order."""
    x0, y0, x1, y1 = window
    a, b, c, d = placed.T
    return [int(n) for n in np.flatnonzero((a < x1) & (c > x0) & (b < y1) & (d > y0) & (a < c) & (b < d))]


def reached(placed: Boxes, lies: Lies, window: Window) -> Boxes:
    """Which part of the plane of ``window`` each tile may touch, given its part of the section; of no size: none.

    A cell of the lattice holds no point of a box that all its corners miss by more than it is wide.
    """
    points = lies(window)
    steps = [np.abs(np.diff(points, axis=axis)).max(axis=(0, 1)) for axis in (0, 1)]
    wide, first = steps[0] + steps[1], (window[0] // warping.STEP, window[1] // warping.STEP)
    found = np.zeros((len(placed), 4), np.int64)
    hull = (*(points.min(axis=(0, 1)) - wide), *(points.max(axis=(0, 1)) + wide))
    for index in touching(placed, hull):
        low, high = placed[index, :2] - wide, placed[index, 2:] + wide
        at = np.nonzero(((points >= low) & (points <= high)).all(axis=-1))
        if len(at[0]):
            low_, high_ = ([int(f(n)) + o for n, o in zip(at, first, strict=True)] for f in (np.min, np.max))
            found[index] = [(n - 1) * warping.STEP for n in low_] + [(n + 1) * warping.STEP for n in high_]
    return found


def mirror(dtype: str) -> float:
    """What a value and its mirror image, within the range of their type, add up to; of real numbers 0."""
    if np.dtype(dtype).kind == "f":
        return 0.0
    limits = np.iinfo(dtype)
    return float(int(limits.min) + int(limits.max))


def layers(placed: Boxes, window: Window) -> int:
    """In how many boxes a pixel of ``window`` may lie at most, counted in squares of :data:`ROUND` pixels."""
    x0, y0 = window[0] // ROUND, window[1] // ROUND
    x1, y1 = ceil(window[2] / ROUND), ceil(window[3] / ROUND)
    steps = np.zeros((x1 - x0 + 1, y1 - y0 + 1), np.int64)
    for a, b, c, d in placed[touching(placed, window)].tolist():
        i, k = max(floor(a / ROUND) - x0, 0), min(ceil(c / ROUND), x1) - x0
        j, m = max(floor(b / ROUND) - y0, 0), min(ceil(d / ROUND), y1) - y0
        np.add.at(steps, ([i, k, i, k], [j, j, m, m]), [1, -1, -1, 1])
    return int(steps.cumsum(axis=0).cumsum(axis=1).max())


def bytes_shown(depth: int, shape: tuple[int, int], channels: int) -> int:
    """The most that :meth:`Sheet.show` holds for a window of ``shape`` with ``depth`` tiles over each other.

    Pictures of tiles, and the pixels that are returned, not counted: patches; what was laid and added, three planes of
    it and their owners; two planes of a pair that is smoothed; fields at the lattice.
    """
    pixels = (shape[0] + 2 * REACH) * (shape[1] + 2 * REACH)
    patches = depth * (channels + 1)
    return pixels * (_FLOATS * (patches + 2 * channels + 3 + 3) + _LATTICE * (channels + 2))
