"""Pairs of tiles whose places are known: made of noise with a limited band, or real ones as they are laid out."""

from __future__ import annotations

import csv
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.formats import pictures
from igneous_ng.formats.tiles import Picture
from igneous_ng.montage import Placed
from tests.data import data

Array = npt.NDArray[Any]
NOISE = 6.0
CONTRAST = 30.0


def told(text: str) -> None:
    """Figures, for those who ask for them with ``-s``."""
    sys.stdout.write(f"\n{text}\n")


def texture(side: int, rng: np.random.Generator, limit: float = 0.25) -> Array:
    """The transform of a periodic field of variance 1, nothing above ``limit`` cycles a pixel."""
    waves = np.fft.rfft2(rng.standard_normal((side, side)))
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    waves *= np.where(frequency < limit, 1 / np.maximum(frequency, 0.01), 0)
    waves[0, 0] = 0
    return np.asarray(waves / np.fft.irfft2(waves, (side, side)).std())


def cut(waves: Array, at: tuple[float, float], size: tuple[int, int]) -> Array:
    """What lies at ``at``, to the last fraction of a pixel, ``[x, y]``."""
    side = waves.shape[0]
    kx, ky = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    moved = np.fft.irfft2(waves * np.exp(2j * np.pi * (kx * at[0] + ky * at[1])), (side, side))
    return np.asarray(moved[: size[0], : size[1]])


def shot(seen: Array, rng: np.random.Generator, dtype: str = "uint8") -> Array:
    """What a camera makes of it: its own gain and offset, noise, whole numbers."""
    unit = np.iinfo(dtype).max / 255
    grey = (
        128 + rng.uniform(-15, 15) + CONTRAST * rng.uniform(0.8, 1.2) * seen + NOISE * rng.standard_normal(seen.shape)
    )
    return np.asfortranarray(np.clip(np.round(grey * unit), 0, np.iinfo(dtype).max).astype(dtype))


@dataclass(frozen=True)
class Layout:
    """Real tiles ``[x, y, channel]`` by name, where their stage put them, and their true maps where these are known."""

    tiles: dict[str, Array]
    places: dict[str, tuple[float, float]]
    files: dict[str, Path]
    maps: dict[str, tuple[Array, Array]]

    @property
    def placed(self) -> tuple[Placed, ...]:
        """As a section lists them."""
        found = []
        for name, (x, y) in self.places.items():
            width, height = self.tiles[name].shape[:2]
            found.append(Placed(name, x, y, width, height, (Picture(f"file://{self.files[name]}"),)))
        return tuple(found)


def _layout(places: dict[str, tuple[float, float]], folder: Path, maps: dict[str, tuple[Array, Array]]) -> Layout:
    files = {name: folder / name for name in sorted(places)}
    tiles = {
        n: pictures.decode(f.read_bytes(), f.suffix[1:].replace("tif", "tiff").replace("tifff", "tiff"), str(f))
        for n, f in files.items()
    }
    return Layout(tiles, {name: places[name] for name in files}, files, maps)


def grid(*parts: str, overlap: float) -> Layout:
    """Tiles called ``X_ROW_COLUMN.png``, laid out with one overlap."""
    folder = data(*parts)
    found = {p.name: tuple(map(int, p.stem.split("_")[-2:])) for p in folder.glob("*.png")}
    size = pictures.decode(next(folder.glob("*.png")).read_bytes(), "png", "").shape
    step = [round(n * (1 - overlap)) for n in size[:2]]
    return _layout({n: ((c - 1.0) * step[0], (r - 1.0) * step[1]) for n, (r, c) in found.items()}, folder, {})


def karsh() -> Layout:
    """Fourteen tiles of array tomography, with the maps of the reference aligner."""
    folder = data("tiles_karsh_A")
    lines = [line.split() for line in (folder / "stage_positions.txt").read_text().splitlines()]
    maps = {}
    for row in list(csv.reader((folder / "reference_affines.csv").read_text().splitlines()))[1:]:
        a, b, c, d, x, y = map(float, row[2:])
        maps[row[1]] = np.array([[a, c], [b, d]]), np.array([x, y])
    return _layout({w[0]: (float(w[1]), float(w[2])) for w in lines if w}, folder, maps)


def mist() -> Layout:
    """Twenty-five small tiles of sparse texture, with the positions that MIST found."""
    folder = data("tiles_mist")
    places, maps = {}, {}
    for line in (folder / "stitched" / "global-positions-1.txt").read_text().splitlines():
        found = re.match(r"file: (\S+); .*position: \((-?\d+), (-?\d+)\); grid: \((\d+), (\d+)\)", line)
        if found:
            x, y, column, row = map(int, found.groups()[1:])
            places[found[1]] = column * 230.0, row * 172.0
            maps[found[1]] = np.eye(2), np.array([x, y], float)
    return _layout(places, folder, maps)
