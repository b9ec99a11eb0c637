"""A montage with planted faults of brightness: what the steps before would have left, made from the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as made
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from igneous_ng import solutions
from igneous_ng.formats import columns, shades, tiles
from igneous_ng.formats.sections import name
from igneous_ng.formats.tiles import Picture, Tile
from igneous_ng.kernels.tile_maps import TileMap
from igneous_ng.kernels.tile_quality import thumbnail_factor
from igneous_ng.manifests import BATCH as LINES
from igneous_ng.montage import BATCH, Montage, Placed, Row, Section

Array = npt.NDArray[Any]
Fault = Callable[["Planted", int, Array], Any]
"""What becomes of a true picture [x, y, channel] of a tile, by its place."""


def texture(shape: tuple[int, int], seed: int, mean: float = 128.0, spread: float = 30.0) -> Array:
    """Something like tissue: band-limited noise of two scales, ``[x, y]``."""
    rng = np.random.default_rng(seed)
    fine, coarse = (ndimage.gaussian_filter(rng.normal(size=shape), sigma, mode="wrap") for sigma in (2.0, 12.0))
    both = fine / fine.std() + 0.5 * coarse / coarse.std()
    return np.asarray(mean + spread * both / both.std())


@dataclass(repr=False)
class Planted:
    """Sections of rows x columns tiles with known positions; faults are applied to what is true."""

    home: Path
    lattice: tuple[int, int] = (4, 4)
    size: int = 128
    overlap: int = 24
    sections: tuple[int, ...] = (0,)
    channels: int = 1
    dtype: str = "uint8"
    camera: str = ""
    fault: Fault = lambda _, __, true: true
    seed: int = 0
    spread: float = 30.0
    pictures: dict[int, list[Array]] = made(default_factory=dict)
    """What the camera saw, of each section."""
    true: dict[int, list[Array]] = made(default_factory=dict)
    field: Any = 1.0
    """What `stitch match` divided pictures by."""
    counted: bool = True
    """Whether rows and columns of tiles are known."""
    unread: frozenset[int] = frozenset()
    """Tiles without a coarse picture."""

    def __post_init__(self) -> None:
        rows = []
        for z in self.sections:
            section = self.section(z)
            self._paint(section)
            self._write(section)
            rows.append(Row(z, len(section.tiles), len(section.pairs), section.box if section.tiles else (0, 0, 0, 0)))
        self._json("sections.json", Montage(str(self.home), 4.0, self.dtype, self.channels, tuple(rows)).to_json())

    @property
    def url(self) -> str:
        return f"file://{self.home}"

    def section(self, z: int) -> Section:
        step = self.size - self.overlap
        found = []
        for row in range(self.lattice[0]):
            for col in range(self.lattice[1]):
                urls = tuple(Picture(f"file:///raw/{z}/{row}-{col}-{c}.png") for c in range(self.channels))
                place = (col * step + 3.0 * (row % 2), row * step)
                known = (row, col) if self.counted else (None, None)
                label = f"r{row:03d}c{col:03d}"
                found.append(
                    Placed(label, *place, self.size, self.size, urls, camera=self.camera, row=known[0], col=known[1])
                )
        return Section(z, tuple(found), self.dtype, self.channels)

    def _paint(self, section: Section) -> None:
        x0, y0, x1, y1 = (int(np.ceil(n)) for n in section.box) if section.tiles else (0, 0, 8, 8)
        top = np.iinfo(self.dtype).max
        seeds = [self.seed + 97 * section.z + c for c in range(self.channels)]
        scene = top // 255 * np.stack([texture((x1 - x0, y1 - y0), n, 128.0, self.spread) for n in seeds], axis=2)
        self.true[section.z] = [
            scene[int(t.x) - x0 : int(t.x) - x0 + self.size, int(t.y) - y0 : int(t.y) - y0 + self.size].copy()
            for t in section.tiles
        ]
        seen = [self.fault(self, n, true) for n, true in enumerate(self.true[section.z])]
        self.pictures[section.z] = [np.clip(np.round(one), 0, top).astype(self.dtype) for one in seen]

    def _write(self, section: Section) -> None:
        z = section.z
        self._json(f"sections/{name(z)}.json", section.to_json())
        lines = [
            Tile(tile=t.tile, z=z, x=4.0 * t.x, y=4.0 * t.y, pixel=4.0, url=p.url, channel=c)
            for t in section.tiles
            for c, p in enumerate(t.pictures)
        ]
        self._put(f"manifest/{name(z)}.jsonl", tiles.encode(lines))
        self._thumbnails(section)
        self._matches(section)
        maps = [TileMap((t.width, t.height), np.eye(2), np.array([t.x, t.y])) for t in section.tiles]
        self._put(f"solutions/{name(z)}.maps", solutions.encode(maps, [0] * len(maps)))

    def _thumbnails(self, section: Section) -> None:
        factor = thumbnail_factor(self.size, self.size)
        count = self.size // factor
        planes = [
            (n, picture[: count * factor, : count * factor, c])
            for n, picture in enumerate(self.pictures[section.z])
            for c in range(self.channels)
        ]
        for first in range(0, len(planes), LINES):
            found: dict[str, Array] = {"factor": np.full(LINES, factor, np.int32)}
            for row, (n, one) in enumerate(planes[first : first + LINES]):
                means = one.reshape(count, factor, count, factor).astype(np.float64).mean(axis=(1, 3))
                if n not in self.unread:
                    found[str(row)] = means[:, :, None].astype(np.float32)
            self._put(f"verified/{name(section.z)}/{first // LINES:03d}.thumbs", columns.pack(found))

    def _matches(self, section: Section) -> None:
        even = [one / self.field for one in self.pictures[section.z]]
        pairs, count = section.pairs, len(section.pairs)
        mean, spread = (np.full((count, self.channels, 2), np.nan, np.float32) for _ in range(2))
        area = np.zeros(count, np.float32)
        for n, pair in enumerate(pairs):
            for k, part in enumerate(self.shared(section, *pair, even)):
                mean[n, :, k], spread[n, :, k] = part.mean(axis=(0, 1)), part.std(axis=(0, 1))
                area[n] = part.shape[0] * part.shape[1]
        table: dict[str, Array] = {
            "pair": np.array(pairs, np.int32).reshape(-1, 2),
            "status": np.zeros(count, np.uint8),
            "mean": mean,
            "spread": spread,
            "area": area,
        }
        for first in range(0, count, BATCH):
            few = {key: column[first : first + BATCH] for key, column in table.items()}
            self._put(f"matches/{name(section.z)}/{first // BATCH:03d}.cols", columns.pack(few))

    def shared(self, section: Section, i: int, j: int, pictures: list[Array]) -> tuple[Array, Array]:
        """What tiles i and j show of the same place."""
        a, b = section.tiles[i], section.tiles[j]
        lo = int(max(a.x, b.x)), int(max(a.y, b.y))
        hi = int(min(a.x, b.x)) + self.size, int(min(a.y, b.y)) + self.size
        of_i, of_j = (
            pictures[n][lo[0] - int(t.x) : hi[0] - int(t.x), lo[1] - int(t.y) : hi[1] - int(t.y)]
            for n, t in ((i, a), (j, b))
        )
        return of_i, of_j

    def _json(self, path: str, value: Any) -> None:
        self._put(path, json.dumps(value).encode())

    def _put(self, path: str, data: bytes) -> None:
        where = self.home / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(data)


def shade_of(data: bytes) -> tuple[shades.Head, Array]:
    """All samples of a file of shades, ``[x, y, channel]``."""
    at = shades.head(data, "shade")
    found = np.zeros((at.blocks[0] * shades.BLOCK, at.blocks[1] * shades.BLOCK, at.channels), np.float32)
    for x in range(at.blocks[0]):
        for y in range(at.blocks[1]):
            place = tuple(slice(n * shades.BLOCK, (n + 1) * shades.BLOCK) for n in (x, y))
            found[place] = shades.decode(data[slice(*at.span((x, y)))], at, "shade")
    return at, found
