"""Pyramids: any chunk, offset, cell or number of levels in one pass gives the whole volume pooled at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import passes, run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import new_info
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels.pooling import pool
from igneous_ng.stages.image_downsample import Downsample

Array = npt.NDArray[Any]
Make = Callable[..., Path]
QUALITY = {"jpeg_quality": 60}
BOX = Box((-7, 3, -21), (14, 30, -4))


def files(path: Path) -> dict[str, bytes]:
    """What is in a folder, but for the records of runs."""
    found = (p for p in path.rglob("*") if p.is_file() and not {"runs", "provenance"} & {*p.relative_to(path).parts})
    return {str(p.relative_to(path)): p.read_bytes() for p in found}


def labels(shape: tuple[int, ...], dtype: str = "uint32") -> Array:
    """Few labels and many zeros, so that ties and empty blocks come up."""
    return np.random.default_rng(1).integers(0, 4, shape).astype(dtype)


def create(path: Path, array: Array, box: Box = BOX, chunk: Vec3 = (4, 4, 4), **other: Any) -> Path:
    fields: dict[str, Any] = {"kind": "segmentation", "resolution": (4.0, 4.0, 40.0), "encoding": "raw", **other}
    info = new_info(dtype=array.dtype.name, channels=array.shape[3], bounds=box, chunk=chunk, **fields)
    io, layer = IO(), f"file://{path}"
    io.create_layer(layer, info)
    io.write(io.volume(layer, 0), box, array)
    return path


def down(path: Path, **fields: Any) -> Downsample:
    return Downsample(**{"layer": str(path), **fields})


def whole(path: Path, mip: int) -> Array:
    io = IO()
    volume = io.volume(f"file://{path}", mip)
    return io.read(volume, volume.bounds)


def pooled(array: Array, origin: Vec3, factor: Vec3, method: Any, sparse: bool, times: int) -> tuple[Array, Vec3]:
    """Level by level, but averages at once, for they are exact; ``times`` may be 0."""
    if method == "average":
        return pool(array, origin, vec(f**times for f in factor), method, sparse)
    for _ in range(times):
        array, origin = pool(array, origin, factor, method, sparse)
    return array, origin


@pytest.mark.long
@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(*[st.integers(1, 20)] * 3, st.integers(1, 2)),
    offset=st.tuples(*[st.sampled_from((0, 0, *range(-9, 10)))] * 3),
    chunk=st.tuples(*[st.integers(3, 6)] * 3),
    factor=st.sampled_from([(2, 2, 1), (2, 2, 2), (1, 1, 2), (3, 2, 1), (1, 3, 3)]),
    levels=st.integers(1, 3),
    task=st.sampled_from([1, 500, 4000, 2**26]),
    piece=st.sampled_from([1, 300, 2**22]),
    sparse=st.booleans(),
    method=st.sampled_from(["average", "mode"]),
)
def test_any_cut_is_the_whole_volume_pooled(
    tmp_path_factory: pytest.TempPathFactory,
    shape: Any,
    offset: Vec3,
    chunk: Vec3,
    factor: Vec3,
    levels: int,
    task: int,
    piece: int,
    sparse: bool,
    method: str,
) -> None:
    array = labels(shape)
    path = create(tmp_path_factory.mktemp("layer"), array, Box.sized(offset, shape[:3]), chunk)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "TASK_VOXELS", task)
        patch.setattr(passes, "PIECE_VOXELS", piece)
        run.inline(down(path, num_mips=levels, factor=factor, sparse=sparse, method=method))
    for level in range(levels + 1):
        expected, origin = pooled(array, offset, factor, method, sparse, level)
        scale = IO().info(f"file://{path}").scales[level]
        assert scale.bounds == Box.sized(origin, expected.shape[:3])
        assert np.array_equal(whole(path, level), expected)


@pytest.mark.parametrize("method", ["average", "mode", "min", "max", "stride", "auto"])
@pytest.mark.parametrize("kind", ["image", "segmentation"])
def test_methods_are_those_of_the_kernel(tmp_path: Path, method: str, kind: str) -> None:
    array = labels((*BOX.shape, 1), "uint8") * 60
    create(tmp_path, array, kind=kind)
    run.inline(down(tmp_path, method=method, num_mips=2))
    meant = {"image": "average", "segmentation": "mode"}[kind] if method == "auto" else method
    assert np.array_equal(whole(tmp_path, 2), pooled(array, BOX.lo, (2, 2, 1), meant, False, 2)[0])


@pytest.mark.parametrize("task", [1, 3000, 2**26])
def test_several_levels_of_modes_in_one_pass_are_the_same_bytes_as_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: int
) -> None:
    array = labels((*BOX.shape, 2), "uint64")
    one = create(tmp_path / "one", array, encoding="compressed_segmentation")
    many = create(tmp_path / "many", array, encoding="compressed_segmentation")
    monkeypatch.setattr(passes, "TASK_VOXELS", task)
    monkeypatch.setattr(passes, "PIECE_VOXELS", task // 8)
    run.inline(down(many, num_mips=3))
    for mip in range(3):
        run.inline(down(one, mip=mip))
    assert files(one) == files(many)
    assert len(IO().info(f"file://{one}").scales) == 4


def test_again_changes_no_byte(tmp_path: Path) -> None:
    create(tmp_path, labels((*BOX.shape, 1)))
    run.inline(down(tmp_path, num_mips=2))
    before = files(tmp_path)
    run.inline(down(tmp_path, num_mips=2))
    assert files(tmp_path) == before


@pytest.mark.parametrize("roi", ["-7:-6,3:4,-21:-20", "-1:5,10:12,-9:-8", "13:99,29:30,-5:-4", "-7:14,3:30,-21:-4"])
def test_a_region_redone_has_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, roi: str) -> None:
    monkeypatch.setattr(passes, "TASK_VOXELS", 1)
    create(tmp_path, labels((*BOX.shape, 1)))
    run.inline(down(tmp_path, num_mips=2))
    before = files(tmp_path)
    redo = down(tmp_path, num_mips=2, roi=roi)
    units = redo.units(IO())
    assert 0 < len(units) <= len(down(tmp_path, num_mips=2).units(IO()))
    for name in before:
        if name.startswith(("8_8_40", "16_16_40")):
            (tmp_path / name).unlink()
    run.inline(redo)
    after = files(tmp_path)
    assert {name: before[name] for name in after} == after
    part = Box.parse(roi) & BOX
    io = IO()
    for mip, factor in ((1, (2, 2, 1)), (2, (4, 4, 1))):
        io.read(io.volume(f"file://{tmp_path}", mip), part // factor)  # all of it is there again


def test_a_region_beside_the_layer_is_refused(tmp_path: Path) -> None:
    create(tmp_path, labels((*BOX.shape, 1)))
    with pytest.raises(SpecError, match="nothing to do; does the roi touch the layer"):
        run.plan(down(tmp_path, roi="100:200,0:1,0:1"))


def test_planning_and_enqueueing_change_nothing_that_is_shown(tmp_path: Path) -> None:
    layer = create(tmp_path / "layer", labels((*BOX.shape, 1)))
    before = files(layer)
    request = down(layer, num_mips=2)
    run.plan(request)
    assert not (layer / "runs").exists()
    queued = run.enqueue(request, f"fq://{tmp_path}/queue")
    assert files(layer) == before
    io = IO()
    for message in queued.messages():
        for unit in range(message.lo, message.hi):
            request.execute(request.units(io)[unit], io)
            assert (layer / "info").read_bytes() == before["info"]
    request.finish(io)
    assert len(io.info(f"file://{layer}").scales) == 3
    assert {name: data for name, data in files(layer).items() if name in before and name != "info"} == {
        name: data for name, data in before.items() if name != "info"
    }


def test_units_can_be_run_twice_and_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "TASK_VOXELS", 1)
    array = labels((*BOX.shape, 1))
    one, other = create(tmp_path / "one", array), create(tmp_path / "other", array)
    run.inline(down(one, num_mips=2))
    request, io = down(other, num_mips=2), IO()
    units = list(request.units(io))
    assert len(units) > 4
    for index in np.random.default_rng(0).permutation(np.repeat(np.arange(len(units)), 2)):
        request.execute(units[index], io)
    request.finish(io)
    assert files(one) == files(other)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"encoding": ("zip",)}, "no encoding is called 'zip'"),
    ({"encoding": ("raw", "raw")}, "2 encodings for 1 new levels"),
    ({"sharded": True, "compress": "brotli"}, "shards know no brotli"),
    ({"encoding": ("jpeg",)}, "'jpeg' cannot hold labels of uint32"),
    ({"mip": 5}, "has no mip 5; there are mips 0 to 1"),
    ({"mip": -1}, "from 0 up"),
    ({"num_mips": 0}, "ask for 1 or more"),
    ({"factor": (1, 1, 1)}, "must shrink an axis"),
    ({"factor": (2, 2, 0)}, "must shrink an axis and grow none"),
    ({"factor": (2, 2, 2)}, "mip 1 is there already"),
    ({"method": "median"}, r"image downsample\.method"),
    ({"memory": 1000}, "give more --memory"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG, ids=lambda v: str(v) if isinstance(v, dict) else "")
def test_a_wrong_request_changes_no_byte(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    create(tmp_path, labels((*BOX.shape, 1)))
    run.inline(down(tmp_path))
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(SpecError, match=words):
        run.inline(down(tmp_path, **fields))
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_there_may_be_no_layer(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no layer here"):
        run.inline(down(tmp_path / "absent"))
    assert files(tmp_path) == {}


def test_a_missing_chunk_stops_or_is_filled(tmp_path: Path) -> None:
    array = labels((*BOX.shape, 1))
    create(tmp_path, array)
    (tmp_path / "4_4_40" / "-3-1_7-11_-17--13.gz").unlink()
    with pytest.raises(DataError, match=r"mip 0: the chunk -3:1,7:11,-17:-13 is missing .*--fill-missing"):
        run.inline(down(tmp_path))
    assert len(IO().info(f"file://{tmp_path}").scales) == 1
    run.inline(down(tmp_path, fill_missing=True))
    array[Box((-3, 7, -17), (1, 11, -13)).slices(BOX.lo)] = 0
    assert np.array_equal(whole(tmp_path, 1), pool(array, BOX.lo, (2, 2, 1), "mode")[0])


def test_new_levels_may_be_stored_otherwise(tmp_path: Path) -> None:
    array = labels((*BOX.shape, 1))
    create(tmp_path, array)
    run.inline(down(tmp_path, encoding=("compressed_segmentation",), num_mips=2))
    scales = IO().info(f"file://{tmp_path}").scales
    assert [s.encoding for s in scales] == ["raw", "compressed_segmentation", "compressed_segmentation"]
    assert [s.key for s in scales] == ["4_4_40", "8_8_40", "16_16_40"]
    assert np.array_equal(whole(tmp_path, 2), pooled(array, BOX.lo, (2, 2, 1), "mode", False, 2)[0])


def test_cloudvolume_sees_the_levels_where_they_are(tmp_path: Path) -> None:
    from cloudvolume import CloudVolume

    array = labels((*BOX.shape, 1))
    create(tmp_path, array)
    run.inline(down(tmp_path, num_mips=2))
    for mip in (1, 2):
        expected, origin = pooled(array, BOX.lo, (2, 2, 1), "mode", False, mip)
        volume = CloudVolume(f"file://{tmp_path}", mip=mip, progress=False)
        assert tuple(volume.voxel_offset) == origin
        assert tuple(volume.resolution) == (4 * 2**mip, 4 * 2**mip, 40)
        assert np.array_equal(np.asarray(volume[:]), expected)


def test_ten_levels_are_within_a_half_of_the_mean_and_no_darker(tmp_path: Path) -> None:
    box = Box((-5, 3, 0), (1300, 1100, 3))
    array = np.random.default_rng(4).integers(0, 256, (*box.shape, 1)).astype("uint8")
    create(tmp_path, array, box, chunk=(128, 128, 4), kind="image")
    run.inline(down(tmp_path, num_mips=10))
    for mip in range(1, 11):
        found, factor = whole(tmp_path, mip).astype(float), 2**mip
        starts = [
            [i for i in range(n) if i == 0 or (o + i) % factor == 0]
            for o, n in zip(box.lo[:2], box.shape[:2], strict=True)
        ]
        total = np.add.reduceat(np.add.reduceat(array.astype(float), starts[0], axis=0), starts[1], axis=1)
        count = np.add.reduceat(np.add.reduceat(np.ones(array.shape), starts[0], axis=0), starts[1], axis=1)
        assert found.shape == total.shape
        assert np.abs(found - total / count).max() <= 0.5
        darker = (found - total / count).mean()
        assert abs(darker) < 1.2 / np.sqrt(found.size) + 0.002  # four deviations of a rounding error


@pytest.mark.parametrize("factor", [(2, 2, 1), (2, 2, 2)])
@pytest.mark.parametrize("shape", [(66, 90, 179), (300, 200, 1), (5, 5, 5), (129, 64, 3)])
@pytest.mark.parametrize("sharded", [True, False])
def test_every_level_asked_for_is_made_and_whole(tmp_path: Path, shape: Vec3, factor: Vec3, sharded: bool) -> None:
    """Igneous left parts of the top level out, or made fewer levels, of thin or small volumes."""
    array = labels((*shape, 1))
    create(tmp_path, array, Box.sized((0, 0, 0), shape), chunk=(32, 32, 32))
    run.inline(down(tmp_path, num_mips=3, factor=factor, sharded=sharded))
    info = IO().info(f"file://{tmp_path}")
    assert [scale.sharded for scale in info.scales] == [False, sharded, sharded, sharded]
    for mip in (1, 2, 3):
        expected, _ = pooled(array, (0, 0, 0), factor, "mode", False, mip)
        np.testing.assert_array_equal(whole(tmp_path, mip), expected)


def test_each_level_has_its_encoding(tmp_path: Path) -> None:
    array = labels((*BOX.shape, 1))
    create(tmp_path, array)
    run.inline(down(tmp_path, num_mips=3, encoding=("compresso", "compressed_segmentation")))
    scales = IO().info(f"file://{tmp_path}").scales
    assert [s.encoding for s in scales] == ["raw", "compresso", "compressed_segmentation", "compressed_segmentation"]
    for mip in (1, 2, 3):
        np.testing.assert_array_equal(whole(tmp_path, mip), pooled(array, BOX.lo, (2, 2, 1), "mode", False, mip)[0])
    with pytest.raises(SpecError, match="mip 1 is there already, as compresso"):
        run.plan(down(tmp_path, encoding=("raw",)))


def test_another_compression_leaves_nothing_old(tmp_path: Path) -> None:
    """Igneous left the old file, and a fresh reader took it."""
    array = labels((*BOX.shape, 1))
    create(tmp_path, array)
    run.inline(down(tmp_path))
    io = IO()
    io.write(io.volume(f"file://{tmp_path}", 0), BOX, array + np.uint32(1))
    for compress in ("none", "brotli", "zstd", "gzip"):
        run.inline(down(tmp_path, compress=compress))
        names = [name.partition(".")[0] for name in files(tmp_path) if name.startswith("8_8_40")]
        assert len(names) == len(set(names))
        assert np.array_equal(whole(tmp_path, 1), pool(array + np.uint32(1), BOX.lo, (2, 2, 1), "mode")[0])


def test_the_quality_of_pictures_is_that_of_every_level(tmp_path: Path) -> None:
    """Igneous gave it to all levels but the top one."""
    create(tmp_path, labels((*BOX.shape, 1), "uint8") * 60, kind="image", encoding="jpeg", parameters=QUALITY)
    run.inline(down(tmp_path, num_mips=2))
    assert [scale.parameters for scale in IO().info(f"file://{tmp_path}").scales] == [QUALITY] * 3
    other = create(tmp_path / "raw", labels((*BOX.shape, 1), "uint8"), kind="image")
    run.inline(down(other, num_mips=2, encoding=("raw", "jpeg"), settings=("jpeg_quality=70",)))
    found = [scale.parameters for scale in IO().info(f"file://{other}").scales]
    assert found == [{}, {}, {"jpeg_quality": 70}]
    for wrong, words in (("jpg=1", "no encoding has"), ("jpeg_quality", "name=value"), ("jpeg_quality=200", "is 200")):
        with pytest.raises(SpecError, match=words):
            run.plan(down(tmp_path / "raw", mip=2, settings=(wrong,)))
