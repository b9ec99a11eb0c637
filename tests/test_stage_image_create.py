"""Ingest: whatever the source, chunk, cell or offset, the layer holds exactly its voxels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from cloudvolume import CloudVolume
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import records, run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.stages.image_create import Create

Array = npt.NDArray[Any]


def files(path: Path) -> dict[str, bytes]:
    """What is in a folder, but for the records of runs."""
    found = (p for p in path.rglob("*") if p.is_file() and not {"runs", "provenance"} & {*p.relative_to(path).parts})
    return {str(p.relative_to(path)): p.read_bytes() for p in found}


def noise(shape: tuple[int, ...], dtype: str = "uint8") -> Array:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def stage(tmp: Path, array: Array | None = None, **fields: Any) -> Create:
    """A request to make ``tmp/layer`` of ``tmp/source.npy``."""
    if array is not None:
        np.save(tmp / "source.npy", array)
    axes = "xyzc"[: array.ndim] if array is not None else "xyz"
    given_fields = {"source": f"{tmp}/source.npy", "layer": f"{tmp}/layer", "axes": axes, **fields}
    return Create(**given_fields)


def whole(layer: Path, mip: int = 0) -> Array:
    io = IO()
    volume = io.volume(f"file://{layer}", mip)
    return io.read(volume, volume.bounds)


@settings(deadline=None, max_examples=25)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 4),
    chunk=st.tuples(*[st.integers(1, 6)] * 3),
    cell=st.tuples(*[st.integers(3, 9)] * 3),
    offset=st.tuples(*[st.integers(-20, 20)] * 3),
)
def test_any_cut_holds_the_source(
    tmp_path_factory: pytest.TempPathFactory, shape: Any, chunk: Any, cell: Any, offset: Any
) -> None:
    tmp = tmp_path_factory.mktemp("create")
    array = noise(shape, "int16")
    run.inline(stage(tmp, array, chunk=chunk, cell=cell, offset=offset, resolution=(4.5, 4.5, 40.0)))
    info = IO().info(f"file://{tmp}/layer")
    assert info.scales[0].bounds == Box.sized(offset, shape[:3])
    assert info.scales[0].resolution == (4.5, 4.5, 40.0)
    assert (info.dtype.name, info.channels, info.kind) == ("int16", shape[3], "image")
    assert np.array_equal(whole(tmp / "layer"), array)


@pytest.mark.parametrize("cell", [(4, 4, 4), (5, 9, 64), (8, 4, 12), (64, 64, 64)])
def test_the_cell_changes_no_byte(tmp_path: Path, cell: tuple[int, int, int]) -> None:
    array = noise((13, 9, 11), "uint32")
    fields: dict[str, Any] = {"chunk": (4, 4, 4), "kind": "segmentation", "offset": (-3, 0, 5)}
    run.inline(stage(tmp_path, array, layer=f"{tmp_path}/one", **fields))
    run.inline(stage(tmp_path, array, layer=f"{tmp_path}/other", cell=cell, **fields))
    assert files(tmp_path / "one") == files(tmp_path / "other")


@pytest.mark.parametrize("memory", [3 * 10**9, 70_000, 20_000])
def test_shards_of_any_size_hold_the_source_for_every_reader(tmp_path: Path, memory: int) -> None:
    array = noise((23, 17, 11), "uint16")
    run.inline(stage(tmp_path, array, chunk=(4, 4, 4), offset=(-3, 5, 0), sharded=True, memory=memory))
    scale = IO().info(f"file://{tmp_path}/layer").scales[0]
    assert scale.sharded
    assert np.array_equal(whole(tmp_path / "layer")[..., 0], array)
    volume = CloudVolume(f"file://{tmp_path}/layer", progress=False)
    assert np.array_equal(np.asarray(volume[scale.bounds.slices()])[..., 0], array)
    objects = [name for name in files(tmp_path / "layer") if name != "info"]
    assert all(name.endswith(".shard") for name in objects)
    assert len(objects) == len(Grid(scale.bounds, scale.granularity))
    assert (len(objects) == 1) == (memory > 10**6)


def test_again_is_the_same_and_another_is_refused(tmp_path: Path) -> None:
    request = stage(tmp_path, noise((9, 8, 7)), chunk=(4, 4, 4))
    first = run.inline(request)
    before = files(tmp_path)
    second = run.inline(request)
    assert files(tmp_path) == before
    assert first.id != second.id
    others: list[dict[str, Any]] = [
        {"chunk": (8, 8, 8)},
        {"dtype": "uint16"},
        {"offset": (1, 0, 0)},
        {"encoding": "png"},
    ]
    for other in others:
        with pytest.raises(SpecError, match="another layer is already here"):
            run.inline(stage(tmp_path, axes="xyz", **{"chunk": (4, 4, 4), **other}))
    assert files(tmp_path) == before


@pytest.mark.parametrize("packed", [np.savez, np.savez_compressed])
def test_members_of_npz_files(tmp_path: Path, packed: Any) -> None:
    array = noise((7, 8, 9, 3))
    packed(tmp_path / "source.npz", other=np.zeros(3), volume=array)
    source = f"{tmp_path}/source.npz"
    run.inline(stage(tmp_path, source=source, dataset="volume", axes="zyxc", encoding="png", chunk=(4, 4, 4)))
    assert np.array_equal(whole(tmp_path / "layer"), array.transpose(2, 1, 0, 3))
    with pytest.raises(SpecError, match="volume"):
        run.plan(stage(tmp_path, source=source, axes="zyx", layer=f"{tmp_path}/b"))


@pytest.mark.parametrize("axes", ["zyx", "yxz", "xyz"])
def test_axes_are_as_told(tmp_path: Path, axes: str) -> None:
    array = noise((5, 6, 7))
    run.inline(stage(tmp_path, array, axes=axes, chunk=(4, 4, 4)))
    assert np.array_equal(whole(tmp_path / "layer")[..., 0], array.transpose([axes.index(a) for a in "xyz"]))


def test_labels_are_packed_by_default_and_images_are_not(tmp_path: Path) -> None:
    for kind, dtype, encoding in (
        ("segmentation", "uint64", "compressed_segmentation"),
        ("segmentation", "uint16", "raw"),
        ("image", "uint32", "raw"),
    ):
        layer = tmp_path / f"{kind}{dtype}"
        run.inline(stage(tmp_path, noise((5, 6, 7), dtype), layer=str(layer), kind=kind))
        assert IO().info(f"file://{layer}").scales[0].encoding == encoding
        assert np.array_equal(whole(layer)[..., 0], noise((5, 6, 7), dtype))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"encoding": "zip"}, "no encoding is called 'zip'"),
    ({"encoding": "jpeg", "dtype": "uint16"}, "'jpeg' cannot hold uint16"),
    ({"encoding": "compresso"}, "'compresso' cannot hold uint8 of 2 channel"),
    ({"resolution": (4e-9, 4e-9, 40e-9)}, "implausible"),
    ({"chunk": (0, 64, 64)}, "at least 1 voxel"),
    ({"cell": (64, 64, -1)}, "holds nothing"),
    ({"dtype": "float64"}, "float64"),
    ({"dtype": "intt"}, "intt"),
    ({"kind": "labels"}, r"image create\.kind"),
    ({"axes": ""}, "give axes"),
    ({"axes": "xyz"}, "the array has 4"),
    ({"dataset": "x"}, "no parts"),
    ({"source": "/nowhere/at/all.npy"}, "nothing of this name"),
    ({"source": "s3://bucket/a.npy"}, "reads files"),
    ({"memory": 100}, "give more --memory"),
    ({"sharded": True, "memory": 100}, "give more --memory"),
    ({"sharded": True, "compress": "zstd"}, "shards know no zstd"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG, ids=lambda v: str(v) if isinstance(v, dict) else "")
def test_a_wrong_request_writes_nothing(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    np.save(tmp_path / "source.npy", noise((5, 6, 7, 2)))
    before = files(tmp_path)
    with pytest.raises(SpecError, match=words):
        run.inline(stage(tmp_path, **{"axes": "xyzc", **fields}))
    assert files(tmp_path) == before
    assert not (tmp_path / "layer").exists()


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_types_that_no_layer_has_need_another(tmp_path: Path, dtype: str) -> None:
    array = noise((5, 6, 7), dtype)
    with pytest.raises(SpecError, match=f"hold no {dtype}; convert to one of uint8"):
        run.inline(stage(tmp_path, array))
    assert not (tmp_path / "layer").exists()
    run.inline(stage(tmp_path, array, dtype="uint8"))
    assert np.array_equal(whole(tmp_path / "layer")[..., 0], array)


@pytest.mark.parametrize(
    ("value", "source", "dtype"),
    [
        (0.5, "float64", "uint8"),
        (np.nan, "float32", "uint16"),
        (1e300, "float64", "float32"),
        (0.1, "float64", "float32"),
        (256, "uint16", "uint8"),
        (-1, "int16", "uint8"),
        (-1, "int8", "uint8"),
        (-1, "int64", "uint64"),
        (200, "uint8", "int8"),
        (2**24 + 1, "uint32", "float32"),
    ],
)
def test_values_that_would_change_are_refused(tmp_path: Path, value: float, source: str, dtype: str) -> None:
    array = np.zeros((5, 6, 7), source)
    array[-1, -1, -1] = value
    with pytest.raises(DataError, match=f"values of {source} do not fit {dtype}"):
        run.inline(stage(tmp_path, array, dtype=dtype))


@pytest.mark.parametrize(("source", "dtype"), [("float64", "float32"), ("uint8", "uint64"), ("int64", "int16")])
def test_values_that_fit_are_taken(tmp_path: Path, source: str, dtype: str) -> None:
    array = noise((5, 6, 7), source)
    if source == "float64":
        array[0, 0, 0] = np.nan
    run.inline(stage(tmp_path, array, dtype=dtype))
    assert np.array_equal(whole(tmp_path / "layer")[..., 0], array.astype(dtype), equal_nan=source == "float64")


def test_planning_writes_nothing_and_a_message_is_a_range_of_cells(tmp_path: Path) -> None:
    request = stage(tmp_path, noise((9, 8, 7)), chunk=(4, 4, 4), cell=(4, 4, 4))
    plan = run.plan(request)
    assert not (tmp_path / "layer").exists()
    assert plan.run.units == 3 * 2 * 2
    assert 0 < plan.peak_bytes <= request.memory


def test_a_source_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    request = stage(tmp_path, noise((9, 8, 7)), chunk=(4, 4, 4))
    run.inline(request)
    np.save(tmp_path / "source.npy", noise((9, 8, 8)))
    io = IO()
    with pytest.raises(DataError, match="changed meanwhile"):
        request.execute(Box((0, 0, 0), (9, 8, 8)), io)


def test_every_cell_has_a_record_of_what_it_wrote(tmp_path: Path) -> None:
    done = run.inline(stage(tmp_path, noise((9, 8, 7)), chunk=(4, 4, 4), cell=(8, 8, 8), compress="none"))
    io = IO()
    lines = [line for message in done.messages() for line in records.read(io.store, message).values()]
    written = {w["url"].removeprefix(f"file://{tmp_path}/layer/"): w["bytes"] for line in lines for w in line["writes"]}
    chunks = {name: len(data) for name, data in files(tmp_path / "layer").items() if name != "info"}
    assert written == chunks
    assert records.finished(io.store, done)
