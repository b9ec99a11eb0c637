"""Montages of synthetic tiles for tests: a picture with something to see everywhere, cut, ingested and stitched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from igneous_ng import catalog, run
from igneous_ng.formats.info import IMAGE, new_info
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO

PATTERN = r".*/z(?P<z>\d+)_r(?P<row>\d+)_c(?P<col>\d+)_t(?P<time>\d+)\.(png|tiff)"


def scenery(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A picture ``[x, y]`` of grains and lines from 2 to 30 pixels, uint8, like tissue in its spectrum."""
    rng = np.random.default_rng(seed)
    total = np.zeros(shape)
    for sigma in (1.2, 3.0, 8.0):
        grains = ndimage.gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
        total += grains / grains.std()
    lines = np.abs(ndimage.gaussian_filter(rng.normal(size=shape), 5.0, mode="wrap"))
    total -= 2 * np.exp(-((lines / lines.std() / 0.15) ** 2))  # thin and dark, as membranes are
    return np.asfortranarray(np.clip(140 + 22 * total, 30, 230).astype(np.uint8))


def image(folder: Path, voxels: np.ndarray, offset: Vec3 = (0, 0, 0), pixel: float = 8.0) -> str:
    """A layer of ``voxels`` ``[x, y, z, channel]``."""
    layer, io = f"file://{folder}", IO()
    bounds = Box.sized(offset, voxels.shape[:3])
    info = new_info(kind=IMAGE, dtype=voxels.dtype.name, channels=voxels.shape[3], bounds=bounds,
                    resolution=(pixel, pixel, 30), chunk=(512, 512, 1), encoding="raw")  # fmt: skip
    io.create_layer(layer, info)
    io.write(io.volume(layer, 0), bounds, voxels)
    return layer


def do(name: str, **fields: Any) -> None:
    """Run a stage by its name, here."""
    run.inline(catalog.load(name)(**fields))


def rows(path: Path) -> list[dict[str, Any]]:
    """Lines of JSON."""
    return [json.loads(line) for line in path.read_text().splitlines()]
