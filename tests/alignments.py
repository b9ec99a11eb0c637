"""Alignments made by hand for tests: a stack as a layer, rough maps, fields of a round."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from igneous_ng.alignment import Alignment, Rough, encode_rough
from igneous_ng.formats.info import IMAGE, new_info
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO


def stack(
    folder: Path, voxels: np.ndarray, offset: Vec3 = (0, 0, 0), pixel: float = 8.0, thickness: float = 32.0
) -> str:
    """A layer of ``voxels`` ``[x, y, z, channel]``, each z a section."""
    layer, io = f"file://{folder}", IO()
    bounds = Box.sized(offset, voxels.shape[:3])
    info = new_info(kind=IMAGE, dtype=voxels.dtype.name, channels=voxels.shape[3], bounds=bounds,
                    resolution=(pixel, pixel, thickness), chunk=(256, 256, 1), encoding="raw")  # fmt: skip
    io.create_layer(layer, info)
    io.write(io.volume(layer, 0), bounds, voxels)
    return layer


def begun(home: str, layer: str, maps: list[Rough] | None = None, mask: str = "") -> Alignment:
    """An alignment of ``layer`` with rough maps; by default each section lies as it is."""
    io = IO()
    scale = io.info(layer).scales[0]
    made = Alignment(home, layer, scale.resolution, scale.bounds, mask)
    io.put_json(f"{home}/alignment.json", made.to_json())
    maps = maps or [Rough(np.eye(2), np.zeros(2), source=z) for z in made.zs]
    io.put(f"{home}/rough.affines", encode_rough(made.zs[0], maps))
    io.put_json(f"{home}/rough.json", {"bounds": str(scale.bounds)})
    return made


def fields(made: Alignment, number: int, step: int, kind: str, values: np.ndarray) -> None:
    """A round's field ``kind`` (``inverse``, ``flow/1``): ``values`` ``[x, y, z, channel]`` at its nodes."""
    io = IO()
    lattice = made.new_round(io, number, 0, step)
    io.put_json(f"{made.home}/rounds/{number}/round.json", lattice.to_json())
    url = f"{made.home}/rounds/{number}/{kind}"
    io.create_layer(url, made.field(lattice, values.shape[3]))
    io.write(io.volume(url, 0), lattice.box, np.asfortranarray(values, np.float32))
