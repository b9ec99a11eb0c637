"""NIfTI, NRRD, Zarr and N5: windows against numpy, axes as the files name them, damage, absent libraries."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
import tensorstore
from numpy.typing import NDArray

from igneous_ng.errors import ConfigurationError, DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.sources import open_source

WINDOW = Box((1, 0, 2), (4, 3, 6))
ARRAY = np.random.default_rng(0).integers(-99, 99, (5, 4, 7)).astype("int16")


new_nifti: Callable[..., Any] = nibabel.Nifti1Image  # which has no types


def save_nifti(folder: Path, suffix: str) -> Path:
    nibabel.save(new_nifti(ARRAY, np.eye(4)), folder / f"a{suffix}")
    return folder / f"a{suffix}"


def save_nrrd(folder: Path, encoding: str) -> Path:
    nrrd.write(str(folder / "a.nrrd"), ARRAY, {"encoding": encoding})
    return folder / "a.nrrd"


def save_chunked(folder: Path, driver: str, axes: str = "xyz") -> Path:
    stored = np.ascontiguousarray(ARRAY.transpose(["xyz".index(letter) for letter in axes]))
    shape = list(stored.shape)
    known: dict[str, dict[str, Any]] = {
        "zarr": {"shape": shape, "dtype": "<i2", "chunks": [2, 3, 4]},
        "zarr3": {"shape": shape, "data_type": "int16", "dimension_names": list(axes)},
        "n5": {
            "dimensions": shape, "dataType": "int16", "blockSize": [2, 3, 4],
            "compression": {"type": "gzip"}, "axes": list(axes),
        },
    }  # fmt: skip
    kvstore = f"file://{folder}/root/part/"
    spec = {"driver": driver, "kvstore": kvstore, "metadata": known[driver]}
    tensorstore.open(spec, create=True).result()[...] = stored
    if driver == "zarr":
        (folder / "root" / ".zgroup").write_text('{"zarr_format": 2}')
    if driver == "zarr3":
        (folder / "root" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    if driver == "n5":
        (folder / "root" / "attributes.json").write_text('{"n5": "2.0.0"}')
    return folder / "root"


SAVERS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "nii": (lambda p: save_nifti(p, ".nii"), "", ""),
    "nii.gz": (lambda p: save_nifti(p, ".nii.gz"), "", ""),
    "nrrd raw": (lambda p: save_nrrd(p, "raw"), "", ""),
    "nrrd gzip": (lambda p: save_nrrd(p, "gzip"), "", ""),
    "zarr": (lambda p: save_chunked(p, "zarr"), "xyz", "part"),
    "zarr3": (lambda p: save_chunked(p, "zarr3", "zyx"), "", "part"),
    "n5": (lambda p: save_chunked(p, "n5", "yxz"), "", "part"),
}
each = pytest.mark.parametrize(("save", "axes", "dataset"), SAVERS.values(), ids=list(SAVERS))


@each
def test_windows_are_those_of_the_array(tmp_path: Path, save: Callable[[Path], Path], axes: str, dataset: str) -> None:
    source = open_source(str(save(tmp_path)), axes=axes, dataset=dataset)
    assert (source.shape, source.channels, source.dtype) == (ARRAY.shape, 1, ARRAY.dtype)
    source.check()
    for box in (WINDOW, Box((0, 0, 0), (5, 4, 7)), Box((4, 3, 6), (5, 4, 7))):
        window: NDArray[Any] = source.read(box)
        np.testing.assert_array_equal(window[..., 0], ARRAY[box.slices()])
        window[:] = 0
    np.testing.assert_array_equal(source.read(WINDOW)[..., 0], ARRAY[WINDOW.slices()])


@each
def test_damage_is_told(tmp_path: Path, save: Callable[[Path], Path], axes: str, dataset: str) -> None:
    path = save(tmp_path)
    for file in [path] if path.is_file() else [p for p in (path / "part").rglob("*") if p.is_file()]:
        if not file.name.endswith(("json", ".zarray")):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match=r"root|a\.n"):
        open_source(str(path), axes=axes, dataset=dataset).read(Box((0, 0, 0), (5, 4, 7)))


@pytest.mark.parametrize("driver", ["zarr", "zarr3", "n5"])
def test_arrays_are_listed(tmp_path: Path, driver: str) -> None:
    path = save_chunked(tmp_path, driver)
    for wrong in ("", "parts"):
        with pytest.raises(SpecError, match="one of: part"):
            open_source(str(path), axes="xyz", dataset=wrong)


def test_axes_that_nobody_names_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="give axes"):
        open_source(str(save_chunked(tmp_path, "zarr")), axes="", dataset="part")


def test_scaled_values_are_refused(tmp_path: Path) -> None:
    image = new_nifti(ARRAY, np.eye(4))
    image.header.set_slope_inter(0.5, 1)
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(DataError, match="to be scaled by 0.5"):
        open_source(str(tmp_path / "a.nii"), axes="")


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("nii", "nibabel", "nifti"), ("nrrd raw", "nrrd", "nrrd"), ("n5", "tensorstore", "tensorstore")],
)
def test_a_library_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str
) -> None:
    save, axes, dataset = SAVERS[name]
    path = save(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"igneous-ng\[{extra}\]"):
        open_source(str(path), axes=axes, dataset=dataset)
