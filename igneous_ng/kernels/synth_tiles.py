"""How a microscope would have taken a picture in tiles: where each really lies, and what is wrong with it.

Everything follows from a seed, the section and the tile, so that tiles can be made one by one. Pixels of tiles and of
the picture are ``[x, y]``; the picture's frame is that of its voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import SpecError
from igneous_ng.kernels.tile_maps import POWERS, Lens, TileMap

Array = npt.NDArray[Any]
_NODES = 9
_LENS, _TILES = 0, 1  # streams of random numbers, of the camera and of the tiles of a section
_EDGE = 4  # pixels around a tile that its cubic splines look at


@dataclass(frozen=True)
class Scan:
    """How the tiles are laid and taken. Lengths are pixels, levels those of the picture's type."""

    size: tuple[int, int]
    overlap: float
    stage_error: float
    gain: float
    offset: float
    noise: float
    shading: float
    lens: float
    distortion: float
    lost: float
    duplicate: float
    truncated: float
    seed: int

    @property
    def step(self) -> tuple[int, int]:
        """From one tile to the next."""
        x, y = (round(n * (1 - self.overlap)) for n in self.size)
        return x, y

    @property
    def margin(self) -> int:
        """What must be left at the border of the picture, for tiles stray."""
        return ceil(self.stage_error + self.lens + self.distortion) + _EDGE

    def lattice(self, width: int, height: int) -> tuple[int, int]:
        """Columns and rows that fit into a picture; SpecError where not even one tile does."""
        counts = []
        for side, tile, step in zip((width, height), self.size, self.step, strict=True):
            counts.append((side - 2 * self.margin - tile) // step + 1)
        if min(counts) < 1:
            raise SpecError(
                f"tiles of {self.size[0]} x {self.size[1]} pixels that stray by {self.margin} do not fit into a "
                f"picture of {width} x {height}; make the tiles smaller"
            )
        return counts[0], counts[1]


@dataclass(frozen=True)
class Shot:
    """One tile: its place in the lattice, what the stage says, and the truth."""

    row: int
    col: int
    stage: tuple[int, int]
    """Where the stage says that its first pixel is."""
    map: TileMap
    gain: float
    offset: float
    fault: str
    """lost, duplicate, truncated, or nothing."""


def lens_of(scan: Scan) -> Lens | None:
    """The camera's lens: mostly a barrel, with a little of all else; nothing bends by more than ``scan.lens``."""
    if not scan.lens:
        return None
    rng = np.random.default_rng([scan.seed, _LENS])
    terms = rng.normal(0, 0.1, (len(POWERS), 2))
    for axis, barrel in ((0, ((3, 0), (1, 2))), (1, ((2, 1), (0, 3)))):
        for powers in barrel:
            terms[POWERS.index(powers), axis] += 1.0
    w, h = scan.size
    lens = Lens(((w - 1) / 2, (h - 1) / 2), float(np.hypot(w, h) / 2), terms)
    x, y = np.meshgrid(np.linspace(0, w - 1, 33), np.linspace(0, h - 1, 33), indexing="ij")
    worst = np.abs(lens(np.stack([x, y], axis=-1))).max()
    return Lens(lens.centre, lens.radius, terms * (scan.lens / worst))


def shots(scan: Scan, z: int, width: int, height: int) -> list[Shot]:
    """All tiles of section ``z`` of a picture, row by row."""
    columns, rows = scan.lattice(width, height)
    count = columns * rows
    rng = np.random.default_rng([scan.seed, _TILES, z % 2**32])
    faults = _faults(scan, rng, count)
    strays = rng.uniform(-scan.stage_error, scan.stage_error, (count, 2))
    gains = 1 + rng.uniform(-scan.gain, scan.gain, count)
    offsets = rng.uniform(-scan.offset, scan.offset, count)
    bends = _bends(rng.uniform(-1, 1, (count, 3, 3, 2))) * scan.distortion
    lens, found = lens_of(scan), []
    for n in range(count):
        row, col = divmod(n, columns)
        stage = scan.margin + col * scan.step[0], scan.margin + row * scan.step[1]
        nodes = bends[n] if scan.distortion else np.zeros((0, 0, 2))
        placed = TileMap(scan.size, np.eye(2), np.array(stage) + strays[n], lens, nodes)
        found.append(Shot(row, col, stage, placed, float(gains[n]), float(offsets[n]), faults[n]))
    return found


def _bends(controls: Array) -> Array:
    """Nodes ``[tile, x, y, 2]``, at most 1, of parabolas through 3 x 3 control points: tiles bend smoothly."""
    at = np.linspace(-1, 1, _NODES)
    through = np.stack([at * (at - 1) / 2, 1 - at * at, at * (at + 1) / 2], axis=1)
    nodes = np.einsum("xi,yj,tijk->txyk", through, through, controls)
    return np.asarray(nodes / np.abs(nodes).max(axis=(1, 2, 3), keepdims=True))


def _faults(scan: Scan, rng: np.random.Generator, count: int) -> list[str]:
    """What is wrong with each tile; of each kind at least one where it is asked for at all."""
    found, order = [""] * count, iter(rng.permutation(count).tolist())
    for name in ("lost", "duplicate", "truncated"):
        for n in [n for n, _ in zip(order, range(ceil(getattr(scan, name) * count)), strict=False)]:
            found[n] = name
    return found


def window(shot: Shot) -> tuple[tuple[int, int], tuple[int, int]]:
    """The pixels ``[lo, hi)`` of the picture that a tile is drawn from."""
    x0, y0, x1, y1 = shot.map.box()
    return (floor(x0) - _EDGE, floor(y0) - _EDGE), (ceil(x1) + _EDGE + 1, ceil(y1) + _EDGE + 1)


def drawn(scan: Scan, shot: Shot, picture: Array, lo: tuple[int, int], key: tuple[int, ...]) -> Array:
    """The pixels ``[x, y]`` of a tile, from the part of the picture ``[x, y]`` that begins at ``lo``.

    Cubic splines between pixels; ``key`` tells apart the noise of different shots.
    """
    from scipy import ndimage

    x, y = np.meshgrid(np.arange(scan.size[0]), np.arange(scan.size[1]), indexing="ij")
    at = shot.map(np.stack([x, y], axis=-1)) - np.array(lo)
    seen = ndimage.map_coordinates(picture.astype(np.float64), np.moveaxis(at, -1, 0), order=3, mode="mirror")
    seen = seen * vignette(scan) * shot.gain + shot.offset
    if scan.noise:
        rng = np.random.default_rng([scan.seed, *(k % 2**32 for k in key)])
        seen = seen + rng.normal(0, scan.noise, seen.shape)
    top = np.iinfo(picture.dtype).max
    return np.asarray(np.asfortranarray(np.clip(np.rint(seen), 0, top).astype(picture.dtype)))


def vignette(scan: Scan) -> Array:
    """The brightness ``[x, y]`` of an even field: one in the middle, less by ``scan.shading`` in the corners."""
    x, y = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in scan.size)
    return 1 - scan.shading * (x[:, None] ** 2 + y[None, :] ** 2) / 2
