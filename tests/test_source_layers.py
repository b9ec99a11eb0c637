"""Layers of other formats, copied: the same voxels at the same place, or a word of what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore

from igneous_ng import run
from igneous_ng.errors import DataError
from igneous_ng.formats.info import new_info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.sources.cloud import open_cloud
from igneous_ng.stages.image_export import Export
from igneous_ng.stages.image_transfer import Transfer

BOX = Box((-7, 3, -21), (14, 30, -4))


def create(path: Path, channels: int = 1) -> Any:
    array = np.random.default_rng(0).integers(0, 250, (*BOX.shape, channels)).astype("uint16")
    info = new_info(
        kind="image", dtype="uint16", channels=channels, bounds=BOX, resolution=(4.0, 4.5, 40.0), chunk=(4, 5, 6),
        encoding="raw",
    )  # fmt: skip
    io = IO()
    io.create_layer(f"file://{path}", info)
    io.write(io.volume(f"file://{path}", 0), BOX, array)
    return array


def copied(tmp: Path, **fields: Any) -> tuple[Any, Box, tuple[float, float, float]]:
    run.inline(Transfer(source=f"{tmp}/old", layer=f"{tmp}/new", chunk=(8, 8, 8), **fields))
    io = IO()
    volume = io.volume(f"file://{tmp}/new", 0)
    return io.read(volume, volume.bounds), volume.bounds, volume.resolution


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_zarr_comes_back_as_it_went(tmp_path: Path, version: str, channels: int) -> None:
    array = create(tmp_path / "layer", channels)
    form: Any = f"ome-zarr-{version}"
    run.inline(Export(layer=f"{tmp_path}/layer", dest=f"{tmp_path}/old", format=form))
    found, bounds, resolution = copied(tmp_path, format="zarr")
    assert (bounds, resolution) == (BOX, (4.0, 4.5, 40.0))
    np.testing.assert_array_equal(found, array)


def test_levels_of_an_n5_have_their_resolution(tmp_path: Path) -> None:
    array = np.arange(5 * 6 * 7, dtype="uint16").reshape(5, 6, 7)
    for level in (0, 1):
        metadata = {
            "dimensions": [5, 6, 7],
            "dataType": "uint16",
            "blockSize": [4, 4, 4],
            "compression": {"type": "raw"},
        }
        spec = {"driver": "n5", "kvstore": f"file://{tmp_path}/old/s{level}/", "metadata": metadata}
        tensorstore.open(spec, create=True).result()[...] = array + level
    with pytest.raises(DataError, match="no pixelResolution"):
        copied(tmp_path, format="n5")
    about = {"n5": "2.0.0", "pixelResolution": {"unit": "um", "dimensions": [0.004, 0.004, 0.04]}}
    (tmp_path / "old" / "attributes.json").write_text(json.dumps(about))
    found, bounds, resolution = copied(tmp_path, format="n5", mip=1, translate=(1, 2, 3))
    np.testing.assert_array_equal(found[..., 0], array + 1)
    assert bounds == Box.sized((1, 2, 3), (5, 6, 7))
    assert resolution == pytest.approx((8, 8, 80))


def test_a_folder_that_says_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(DataError, match="no OME-Zarr with axes, units and scales"):
        copied(tmp_path, format="zarr")
    assert not (tmp_path / "new").exists()


def test_cloud_volume_reads_what_others_cannot(tmp_path: Path) -> None:
    array = create(tmp_path / "layer")
    layer = open_cloud(f"precomputed://file://{tmp_path}/layer")
    assert layer.info.scales[0].bounds == BOX
    part = Box((-5, 8, -20), (9, 29, -5))
    np.testing.assert_array_equal(layer.read(0, part), array[part.slices(BOX.lo)])
    (tmp_path / "layer" / "4_4.5_40" / "-3-1_8-13_-15--9.gz").unlink()
    with pytest.raises(DataError, match="missing chunk"):
        layer.read(0, part)
    with pytest.raises(DataError, match="finds no layer"):
        open_cloud(f"precomputed://file://{tmp_path}/nothing")
