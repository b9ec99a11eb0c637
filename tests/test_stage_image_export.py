"""Exports: other programs read the very voxels, at the right place and size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorstore
import tifffile

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import new_info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.sources import open_source
from igneous_ng.stages.image_export import Export

BOX = Box((-7, 3, -21), (14, 30, -4))
ROI = Box((-5, 8, -20), (9, 29, -5))
FORMATS = ["tiff", "hdf5", "npy", "ome-zarr-0.4", "ome-zarr-0.5"]


def create(path: Path, channels: int, dtype: str) -> Any:
    array = np.random.default_rng(0).integers(0, 250, (*BOX.shape, channels)).astype(dtype)
    info = new_info(
        kind="image", dtype=dtype, channels=channels, bounds=BOX, resolution=(4.0, 4.5, 40.0), chunk=(4, 5, 6),
        encoding="raw",
    )  # fmt: skip
    io = IO()
    io.create_layer(f"file://{path}", info)
    io.write(io.volume(f"file://{path}", 0), BOX, array)
    return array


def export(tmp: Path, **fields: Any) -> Export:
    return Export(**{"layer": f"{tmp}/layer", "dest": f"{tmp}/out", **fields})


def read(path: Path, form: str) -> Any:
    """The voxels as another program has them, as [x, y, z, c]."""
    if form == "tiff":
        found = np.stack([tifffile.imread(p) for p in sorted(path.glob("*.tif"))])
    elif form == "npy":
        found = np.load(path)
    elif form == "hdf5":
        with h5py.File(path) as file:
            found = file["main"][:]
    else:
        driver = "zarr" if form.endswith("0.4") else "zarr3"
        store = tensorstore.open({"driver": driver, "kvstore": f"file://{path}/0/"}).result()
        return np.asarray(store.read().result()).transpose(3, 2, 1, 0)
    found = found if found.ndim == 4 else found[..., np.newaxis]
    return found.transpose(2, 1, 0, 3)


@pytest.mark.parametrize("roi", [None, str(ROI)])
@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (3, "uint16"), (2, "float32"), (1, "uint64")])
@pytest.mark.parametrize("form", FORMATS)
def test_other_programs_read_the_voxels(tmp_path: Path, form: Any, channels: int, dtype: str, roi: str | None) -> None:
    array = create(tmp_path / "layer", channels, dtype)
    done = run.inline(export(tmp_path, format=form, roi=roi))
    part = ROI if roi else BOX
    found = read(tmp_path / "out", form)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array[part.slices(BOX.lo)])
    assert (done.units == 1) == (form in ("hdf5", "npy"))
    if form == "tiff":
        found = open_source(f"{tmp_path}/out", axes="").read(Box((0, 0, 0), part.shape))
        np.testing.assert_array_equal(found, array[part.slices(BOX.lo)])


def test_places_and_sizes_are_told(tmp_path: Path) -> None:
    create(tmp_path / "layer", 1, "uint8")
    for form in FORMATS:
        run.inline(export(tmp_path, format=form, roi=str(ROI), dest=f"{tmp_path}/{form}"))
    for form in ("tiff", "npy"):
        about = json.loads((tmp_path / f"{form}.json").read_text())
        assert about == {"axes": "zyx", "resolution_nm": [40.0, 4.5, 4.0], "offset_voxels": [-20, 8, -5]}
    with tifffile.TiffFile(tmp_path / "tiff" / "00.tif") as tif:
        tags: Any = tif.pages.first.tags
        across, down = (tags[name].value for name in ("XResolution", "YResolution"))
        assert tags["ResolutionUnit"].value == 3  # centimetres
        assert (across[0] / across[1], down[0] / down[1]) == pytest.approx((1e7 / 4, 1e7 / 4.5))
    with h5py.File(tmp_path / "hdf5") as file:
        assert file["main"].attrs["element_size_um"].tolist() == [0.04, 0.0045, 0.004]
        assert file["main"].attrs["offset_voxels"].tolist() == [-20, 8, -5]
    old = json.loads((tmp_path / "ome-zarr-0.4" / ".zattrs").read_text())["multiscales"][0]
    new = json.loads((tmp_path / "ome-zarr-0.5" / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    for found in (old, new):
        assert [axis["name"] for axis in found["axes"]] == list("czyx")
        assert {axis.get("unit") for axis in found["axes"]} == {None, "nanometer"}
        scale, translation = found["datasets"][0]["coordinateTransformations"]
        assert scale["scale"] == [1.0, 40.0, 4.5, 4.0]
        assert translation["translation"] == [0.0, -800.0, 36.0, -20.0]


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_request_gives_the_same_bytes(tmp_path: Path, form: Any) -> None:
    create(tmp_path / "layer", 1, "uint8")
    for name in ("one", "two"):
        run.inline(export(tmp_path, format=form, dest=f"{tmp_path}/{name}/out"))
    trees = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in tmp_path.glob("[ot]*")]
    assert len(trees) == 2
    assert trees[0] == trees[1] != {}


def test_memory_makes_slabs_thinner(tmp_path: Path) -> None:
    create(tmp_path / "layer", 1, "uint8")
    section = BOX.shape[0] * BOX.shape[1] * 6 + 100_000
    assert run.plan(export(tmp_path)).run.units == 3
    assert run.plan(export(tmp_path, memory=section)).run.units == 17
    with pytest.raises(SpecError, match="give more --memory"):
        run.plan(export(tmp_path, memory=section - 1))


def test_what_is_there_stays(tmp_path: Path) -> None:
    create(tmp_path / "layer", 1, "uint8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(SpecError, match="is there already"):
        run.inline(export(tmp_path))
    for fields, words in (
        ({"dest": f"{tmp_path}/layer/x"}, "lies in the layer"),
        ({"roi": "100:101,0:1,0:1"}, "has no part"),
        ({"mip": 1}, "has no mip 1"),
        ({"mip": -1}, "from 0 up"),
    ):
        with pytest.raises(SpecError, match=words):
            run.inline(export(tmp_path, **fields))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_a_missing_chunk_stops_an_export(tmp_path: Path) -> None:
    create(tmp_path / "layer", 1, "uint8")
    (tmp_path / "layer" / "4_4.5_40" / "-3-1_8-13_-15--9.gz").unlink()
    with pytest.raises(DataError, match="the chunk -3:1,8:13,-15:-9 is missing"):
        run.inline(export(tmp_path, format="npy"))
    assert not (tmp_path / "out").exists()
