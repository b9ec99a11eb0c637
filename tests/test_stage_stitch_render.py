"""Mosaics: what tiles show comes back, exactly where it can, and however tasks are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng import run
from igneous_ng.stages.stitch_render import Render
from tests.layers import files, whole
from tests.sections import build, grid

Array = npt.NDArray[Any]


def texture(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> Array:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, shape, dtype, endpoint=True)


def render(tmp_path: Path, sections: dict[int, Any], layer: str = "layer", **fields: Any) -> Path:
    url = build(tmp_path / "montage", sections) if sections else f"file://{tmp_path}/montage"
    fields = {"chunk": (64, 64, 1), "num_mips": 0, **fields}
    run.inline(Render(montage=url, layer=str(tmp_path / layer), **fields))
    return tmp_path / layer


def at(layer: Path, box: tuple[int, int, int, int], z: int = 0, mip: int = 0) -> Array:
    from igneous_ng.geometry import Box
    from igneous_ng.io import IO

    io = IO()
    return io.read(io.volume(f"file://{layer}", mip, fill_missing=True), Box((*box[:2], z), (*box[2:], z + 1)))[:, :, 0]


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("uint8", 3), ("uint16", 1), ("uint16", 3)])
def test_pieces_of_a_picture_give_the_picture(tmp_path: Path, dtype: str, channels: int) -> None:
    picture = texture((300, 260, channels), dtype)
    layer = render(tmp_path, {5: grid(picture, (120, 110), (90, 75), (-130, -70))})
    assert np.array_equal(at(layer, (-130, -70, 170, 190), 5), picture)
