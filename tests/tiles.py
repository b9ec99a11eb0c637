"""Sections of tiles for tests: a lattice over one textured field, as files and as a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from igneous_ng.formats import tiles
from igneous_ng.formats.sections import name
from igneous_ng.formats.tiles import Tile

Array = npt.NDArray[Any]
PIXEL = 4.0


def texture(shape: tuple[int, int], seed: int) -> Array:
    """Band-limited noise, uint8 ``[y, x]``, over all sizes that tissue has."""
    rng = np.random.default_rng(seed)
    total = sum(gaussian_filter(rng.normal(size=shape), s, mode="wrap") * s for s in (1.5, 4.0, 12.0))
    return np.asarray(np.clip(128 + 26 * total / total.std() + rng.normal(0, 3, shape), 1, 254).astype(np.uint8))


@dataclass
class Lattice:
    """A section of ``rows`` x ``columns`` tiles below ``folder``, which a test may spoil before it is written."""

    folder: Path
    seed: int = 0
    rows: int = 6
    columns: int = 6
    side: int = 128
    step: int = 115
    z: int = 12
    dtype: str = "uint8"
    files: dict[str, bytes | None] = field(default_factory=dict)
    lines: dict[str, Tile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed + 1000)
        over = self.side + self.step * max(self.rows, self.columns)
        whole = texture((over, over), self.seed)
        for row in range(self.rows):
            for col in range(self.columns):
                cut = whole[row * self.step :, col * self.step :][: self.side, : self.side]
                gain, jitter = rng.uniform(0.85, 1.15), rng.uniform(-8, 8, 2)
                lit = np.clip(gain * (cut - 128.0) + 128 + rng.uniform(-8, 8), 0, 255)
                self.add(f"r{row}c{col}", lit, row, col, jitter)

    def add(self, tile: str, rows: Array, row: int, col: int, jitter: Any = (0.0, 0.0)) -> None:
        """One more tile, at its place in the lattice."""
        self.files[tile] = picture(rows.astype(self.dtype))
        x, y = PIXEL * (self.step * col + jitter[0]), PIXEL * (self.step * row + jitter[1])
        time = f"2026-01-01T{row:02d}:{col:02d}:00"
        self.lines[tile] = Tile(
            tile=tile, z=self.z, x=float(x), y=float(y), pixel=PIXEL, url=self.url(tile), row=row, col=col, time=time
        )

    def url(self, tile: str) -> str:
        return f"file://{self.folder}/raw/{name(self.z)}/{tile}.png"

    def rows_of(self, tile: str) -> Array:
        """The pixels of a tile, ``[y, x]``."""
        data = self.files[tile]
        assert data is not None
        return np.asarray(imagecodecs.png_decode(data))

    def spoil(self, tile: str, change: Callable[[Array], Array]) -> None:
        """Replace the pixels of a tile."""
        self.files[tile] = picture(change(self.rows_of(tile)))

    def write(self) -> str:
        """Store the files and the manifest; the montage's URL."""
        for tile, data in self.files.items():
            path = Path(self.url(tile).removeprefix("file://"))
            path.parent.mkdir(parents=True, exist_ok=True)
            if data is not None:
                path.write_bytes(data)
        return write_manifest(self.folder / "montage", {self.z: self.lines.values()})


def picture(rows: Array) -> bytes:
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(rows)))


def write_manifest(montage: Path, sections: dict[int, Iterable[Tile]]) -> str:
    """The manifest of ``sections``; the montage's URL."""
    (montage / "manifest").mkdir(parents=True, exist_ok=True)
    counts = []
    for z, lines in sorted(sections.items()):
        data = tiles.encode(lines)
        (montage / "manifest" / f"{name(z)}.jsonl").write_bytes(data)
        counts.append({"z": z, "tiles": data.count(b"\n"), "source": "file:///raw"})
    (montage / "manifest.json").write_text(json.dumps({"sections": counts}))
    return f"file://{montage}"
