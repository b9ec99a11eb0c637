"""Small montages for tests: pictures cut into tiles, registered and solved by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from igneous_ng import solutions
from igneous_ng.formats.sections import name
from igneous_ng.formats.tiles import Picture
from igneous_ng.io import IO
from igneous_ng.kernels.tile_maps import TileMap
from igneous_ng.montage import Montage, Placed, Row, Section

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Shot:
    """A tile of a section: its pixels ``[x, y, channel]``, and its map."""

    pixels: Array
    map: TileMap
    camera: str = "a"


def shifted(size: tuple[int, int], x: float, y: float) -> TileMap:
    """The map of a tile that lies straight, with its first pixel at x, y."""
    return TileMap(size, np.eye(2), np.array([x, y], np.float64))


def cut(picture: Array, x: int, y: int, size: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> Shot:
    """The part of ``picture`` at pixel x, y of it; its first pixel lies at ``origin``."""
    pixels = picture[x : x + size[0], y : y + size[1]]
    assert pixels.shape[:2] == size
    return Shot(pixels, shifted(size, x + origin[0], y + origin[1]))


def grid(picture: Array, size: tuple[int, int], step: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> list[Shot]:
    """Tiles over all of ``picture``, row by row, a ``step`` apart."""
    width, height = picture.shape[:2]
    xs, ys = range(0, width - size[0] + 1, step[0]), range(0, height - size[1] + 1, step[1])
    return [cut(picture, x, y, size, origin) for y in ys for x in xs]


def seen(at: TileMap, look: Callable[[Array], Array], dtype: str = "uint8") -> Array:
    """What a tile shows of a scene whose values are known at any points ``[..., 2]``: ``[x, y, 1]``."""
    xs, ys = np.meshgrid(np.arange(at.size[0]), np.arange(at.size[1]), indexing="ij")
    values = look(at(np.stack([xs, ys], axis=-1).astype(np.float64)))[..., np.newaxis]
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    return np.clip(np.floor(values + 0.5), 0, np.iinfo(dtype).max).astype(dtype)


def build(home: Path, sections: Mapping[int, Sequence[Shot]], pixel: float = 4.0) -> str:
    """A montage of ``sections`` by their numbers, as it is once solved; its URL."""
    io, url, rows = IO(), f"file://{home}", []
    first = next(iter(sections.values()))[0].pixels
    for z, shots in sorted(sections.items()):
        section = Section(
            z, tuple(_placed(home, z, n, s) for n, s in enumerate(shots)), first.dtype.name, first.shape[2]
        )
        io.put_json(f"{url}/sections/{name(z)}.json", section.to_json())
        solve(home, z, [s.map for s in shots])
        rows.append(Row(z, len(shots), len(section.pairs), section.box))
    montage = Montage(url, pixel, first.dtype.name, first.shape[2], tuple(rows))
    io.put_json(f"{url}/sections.json", montage.to_json())
    return url


def solve(home: Path, z: int, maps: Sequence[TileMap]) -> None:
    """Store ``maps`` as the solution of a section, and which part of it each tile may touch."""
    io = IO()
    io.put(f"file://{home}/solutions/{name(z)}.maps", solutions.encode(maps, [0] * len(maps)))
    boxes = [[f(v / 64) * 64 for f, v in zip((floor, floor, ceil, ceil), m.box(), strict=True)] for m in maps]
    io.put_json(f"file://{home}/placed/{name(z)}.json", {"boxes": boxes})


def store(path: Path, pixels: Array) -> None:
    """``pixels`` ``[x, y, channel]`` as a PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.ascontiguousarray(pixels.swapaxes(0, 1))
    path.write_bytes(imagecodecs.png_encode(rows if rows.shape[2] > 1 else rows[..., 0]))


def _placed(home: Path, z: int, index: int, shot: Shot) -> Placed:
    path = home.parent / "raw" / f"{name(z)}_{index:03d}.png"
    store(path, shot.pixels)
    (x, y), (width, height) = shot.map.shift.tolist(), shot.map.size
    return Placed(f"t{index:03d}", x, y, width, height, (Picture(f"file://{path}"),), camera=shot.camera)
