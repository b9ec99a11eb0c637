"""Small layers for tests: made from an array, read whole, compared file by file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.formats.info import new_info
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO

Array = npt.NDArray[Any]


def grey(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> Array:
    """An image whose sections differ in brightness and contrast, with some zeros."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    middle, width = rng.uniform(0.3, 0.7, (1, 1, *shape[2:])), rng.uniform(0.05, 0.2, (1, 1, *shape[2:]))
    image = np.clip(rng.normal(middle, width, shape), 0, 1) * top
    image[rng.random(shape) < 0.05] = 0
    return image.astype(dtype)


def create(path: Path, array: Array, lo: Vec3, chunk: Vec3 = (4, 4, 4), **other: Any) -> Path:
    """A layer of ``array`` [x, y, z, c] at ``lo``."""
    fields: dict[str, Any] = {"kind": "image", "resolution": (4.0, 4.0, 40.0), "encoding": "raw", **other}
    box = Box(lo, Box.sized(lo, array.shape[:3]).hi)
    info = new_info(dtype=array.dtype.name, channels=array.shape[3], bounds=box, chunk=chunk, **fields)
    io, layer = IO(), f"file://{path}"
    io.create_layer(layer, info)
    io.write(io.volume(layer, 0), box, array)
    return path


def whole(path: Path, mip: int = 0, fill_missing: bool = False) -> Array:
    """A level of a layer."""
    io = IO()
    volume = io.volume(f"file://{path}", mip, fill_missing)
    return io.read(volume, volume.bounds)


def files(path: Path) -> dict[str, bytes]:
    """What is in a folder, but for the records of runs."""
    found = (p for p in path.rglob("*") if p.is_file() and not {"runs", "provenance"} & {*p.relative_to(path).parts})
    return {str(p.relative_to(path)): p.read_bytes() for p in found}


def notes(path: Path) -> list[dict[str, Any]]:
    """What the units of the newest run of a layer noted, in order."""
    from igneous_ng import history, records
    from igneous_ng.store import Store

    run = next(history.runs(Store(), f"file://{path}"))
    lines = [line for file in records.stored(Store(), run) for line in records.lines_of(Store(), file)]
    return [line["notes"] for line in sorted(lines, key=lambda line: line["unit"])]
