"""Transfers: whatever is asked, the new layer equals plain numpy on the old one, or nothing is shown."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng import passes, records, run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import codecs
from igneous_ng.formats.info import new_info
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels.pooling import pool
from igneous_ng.stages.image_transfer import Transfer

Array = npt.NDArray[Any]
BOX = Box((-7, 3, -21), (14, 30, -4))


def files(path: Path) -> dict[str, bytes]:
    """What is in a folder, but for the records of runs."""
    found = (p for p in path.rglob("*") if p.is_file() and not {"runs", "provenance"} & {*p.relative_to(path).parts})
    return {str(p.relative_to(path)): p.read_bytes() for p in found}


def labels(shape: tuple[int, ...] = (*BOX.shape, 1), dtype: str = "uint32") -> Array:
    return np.random.default_rng(1).integers(0, 4, shape).astype(dtype)


def create(path: Path, array: Array, compress: Any = "gzip", **other: Any) -> Path:
    fields: dict[str, Any] = {"kind": "segmentation", "resolution": (4.0, 4.0, 40.0), "encoding": "raw", **other}
    fields = {"chunk": (4, 4, 4), "bounds": BOX, **fields}
    info = new_info(dtype=array.dtype.name, channels=array.shape[3], **fields)
    io, layer = IO(), f"file://{path}"
    io.create_layer(layer, info)
    io.write(io.volume(layer, 0), info.scales[0].bounds, array, compress)
    return path


def transfer(tmp: Path, **fields: Any) -> Transfer:
    return Transfer(**{"source": f"{tmp}/old", "layer": f"{tmp}/new", **fields})


def whole(path: Path, mip: int = 0, fill_missing: bool = False) -> tuple[Array, Box]:
    io = IO()
    volume = io.volume(f"file://{path}", mip, fill_missing)
    return io.read(volume, volume.bounds), volume.bounds


def notes(done: Any) -> list[dict[str, Any]]:
    store = IO().store
    return [line for message in done.messages() for line in records.read(store, message).values()]


REQUESTS: list[dict[str, Any]] = [
    {},
    {"roi": "-3:5,7:15,-17:-9"},  # along chunks
    {"roi": "-2:5,8:29,-18:99"},
    {"translate": (100, -200, 3)},
    {"chunk": (5, 7, 3)},
    {"encoding": ("compressed_segmentation",)},
    {"encoding": ("compresso",), "roi": "-2:5,8:29,-18:99"},
    {"compress": "none"},
    {"dtype": "uint64"},
    {"dtype": "uint8", "translate": (1, 1, 1)},
    {"memory": 2_000_000},
    {"compress": "brotli"},
    {"compress": "zstd", "translate": (1, 0, 0), "chunk": (8, 8, 8)},
    *({"sharded": True, "memory": memory} for memory in (1600, 5000, 20_000, 60_000, 10**9)),
    {"sharded": True, "memory": 30_000, "chunk": (3, 5, 4), "encoding": ("compresso",), "roi": "-2:5,8:29,-18:99"},
]


@pytest.mark.parametrize("task", [1, 2**26])
@pytest.mark.parametrize("fields", REQUESTS, ids=str)
def test_the_new_layer_is_the_part_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], task: int
) -> None:
    monkeypatch.setattr(passes, "TASK_VOXELS", task)
    monkeypatch.setattr(passes, "PIECE_VOXELS", task // 8)
    array = labels()
    before = files(create(tmp_path / "old", array))
    run.inline(transfer(tmp_path, **fields))
    part = Box.parse(fields["roi"]) & BOX if "roi" in fields else BOX
    found, bounds = whole(tmp_path / "new")
    assert bounds == part.shift(fields.get("translate", (0, 0, 0)))
    expected = array[part.slices(BOX.lo)]
    assert found.dtype == fields.get("dtype", "uint32")
    np.testing.assert_array_equal(found, expected)
    assert files(tmp_path / "old") == before
    scale = IO().info(f"file://{tmp_path}/new").scales[0]
    assert scale.chunk == fields.get("chunk", (4, 4, 4))
    assert (scale.encoding,) == fields.get("encoding", ("raw",))
    assert scale.sharded == fields.get("sharded", False)


@pytest.mark.parametrize("compress", ["gzip", "none"])
@pytest.mark.parametrize("stored", ["gzip", "none"])
@pytest.mark.parametrize("roi", [None, "-3:5,7:15,-17:-9"])
def test_chunks_that_need_not_change_are_never_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: str, stored: str, roi: str | None
) -> None:
    array = labels()
    create(tmp_path / "old", array, stored, encoding="compressed_segmentation")
    request = transfer(tmp_path, compress=compress, roi=roi, translate=(5, 0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(codecs, "decode", None)
        patch.setattr(codecs, "encode", None)
        done = run.inline(request)
    part = Box.parse(roi) & BOX if roi else BOX
    np.testing.assert_array_equal(whole(tmp_path / "new")[0], array[part.slices(BOX.lo)])
    suffixes = {Path(name).suffix for name in files(tmp_path / "new") if name != "info"}
    assert suffixes == {".gz" if compress == "gzip" else ""}
    for line in notes(done):
        assert len(line["reads"]) == len(line["writes"]) > 0
        same = [r["digest"] == w["digest"] for r, w in zip(line["reads"], line["writes"], strict=True)]
        assert all(same) == ((stored, compress) != ("none", "gzip"))


def test_copied_bytes_are_those_that_decoding_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(tmp_path / "old", labels())
    run.inline(transfer(tmp_path))
    monkeypatch.setattr(Transfer, "_as_stored", lambda *_: False)
    run.inline(transfer(tmp_path, layer=f"{tmp_path}/decoded"))
    assert files(tmp_path / "new") == files(tmp_path / "decoded")


@pytest.mark.parametrize("chunk", [None, (5, 5, 5)])
def test_a_missing_chunk_stops_or_is_filled_and_counted(tmp_path: Path, chunk: Vec3 | None) -> None:
    array = labels()
    create(tmp_path / "old", array)
    for name in ("-3-1_7-11_-17--13", "1-5_7-11_-17--13"):
        (tmp_path / "old" / "4_4_40" / f"{name}.gz").unlink()
    words = r"old mip 0: the chunk -3:1,7:11,-17:-13 is missing .* 2 in all .*--fill-missing"
    with pytest.raises(DataError, match=words):
        run.inline(transfer(tmp_path, chunk=chunk))
    assert not (tmp_path / "new" / "info").exists()
    done = run.inline(transfer(tmp_path, chunk=chunk, fill_missing=True))
    array[Box((-3, 7, -17), (5, 11, -13)).slices(BOX.lo)] = 0
    np.testing.assert_array_equal(whole(tmp_path / "new")[0], array)
    assert sum(line["notes"]["missing_chunks"] for line in notes(done)) == 2


def test_background_is_left_out_and_removed(tmp_path: Path) -> None:
    array = labels()
    create(tmp_path / "old", array)
    run.inline(transfer(tmp_path))
    array[:8] = 0
    io = IO()
    io.write(io.volume(f"file://{tmp_path}/old", 0), BOX, array)
    run.inline(transfer(tmp_path, delete_background=True))
    names = set(files(tmp_path / "new")) - {"info"}
    assert names
    assert not [name for name in names if name.split("/")[1].startswith(("-7--3", "-3-1"))]
    np.testing.assert_array_equal(whole(tmp_path / "new", fill_missing=True)[0], array)


@pytest.mark.parametrize("task", [1, 2000, 2**26])
@pytest.mark.parametrize("method", ["average", "mode", "min", "max", "stride"])
def test_levels_made_on_the_way_are_those_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: int, method: Any
) -> None:
    monkeypatch.setattr(passes, "TASK_VOXELS", task)
    monkeypatch.setattr(passes, "PIECE_VOXELS", task // 8)
    array = labels(dtype="uint8") * 60
    create(tmp_path / "old", array)
    run.inline(transfer(tmp_path, num_mips=2, method=method, translate=(1, 0, 0), encoding=("raw", "compresso")))
    info = IO().info(f"file://{tmp_path}/new")
    assert [s.encoding for s in info.scales] == ["raw", "compresso", "compresso"]
    origin = vec(a + b for a, b in zip(BOX.lo, (1, 0, 0), strict=True))
    expected = array
    for mip in (1, 2):
        if method == "average":
            expected, _ = pool(array, origin, (2**mip, 2**mip, 1), method)
        else:
            expected, origin = pool(expected, origin, (2, 2, 1), method)
        np.testing.assert_array_equal(whole(tmp_path / "new", mip)[0], expected)


def test_a_coarser_level_extends_a_layer_and_others_are_refused(tmp_path: Path) -> None:
    create(tmp_path / "old", labels())
    run.inline(transfer(tmp_path, num_mips=1))
    run.inline(transfer(tmp_path, source=f"{tmp_path}/new", mip=1, layer=f"{tmp_path}/third"))
    create(tmp_path / "fine", labels((42, 54, 17, 1)), bounds=BOX * (2, 2, 1), resolution=(2.0, 2.0, 40.0))
    run.inline(transfer(tmp_path, layer=f"{tmp_path}/fine"))
    info = IO().info(f"file://{tmp_path}/fine")
    assert [s.key for s in info.scales] == ["2_2_40", "4_4_40"]
    np.testing.assert_array_equal(whole(tmp_path / "fine", 1)[0], labels())
    before = files(tmp_path / "third")
    for fields in (
        {},
        {"mip": 1, "chunk": (8, 8, 8)},
        {"mip": 1, "dtype": "uint64"},
        {"mip": 1, "roi": "0:4,0:4,-9:0"},
    ):
        with pytest.raises(SpecError, match="another layer is already here"):
            run.inline(transfer(tmp_path, source=f"{tmp_path}/new", layer=f"{tmp_path}/third", **fields))
    assert files(tmp_path / "third") == before


def test_values_are_kept_or_scaled_as_told(tmp_path: Path) -> None:
    array = (np.arange(BOX.voxels) * 7 % 5000).astype("uint16").reshape((*BOX.shape, 1))
    create(tmp_path / "old", array, kind="image")
    with pytest.raises(DataError, match="values of uint16 do not fit uint8; give another --dtype, or a --window"):
        run.inline(transfer(tmp_path, dtype="uint8"))
    assert not (tmp_path / "new" / "info").exists()
    run.inline(transfer(tmp_path, dtype="uint8", window=(1000.0, 4000.0)))
    expected = np.rint(np.clip((array - 1000.0) / 3000, 0, 1) * 255)
    np.testing.assert_array_equal(whole(tmp_path / "new")[0], expected)


def test_nothing_is_shown_before_the_end_and_what_is_left_can_be_done_later(tmp_path: Path) -> None:
    create(tmp_path / "old", labels())
    run.inline(transfer(tmp_path, layer=f"{tmp_path}/other", encoding=("compresso",)))
    lost = tmp_path / "old" / "4_4_40" / "-3-1_7-11_-17--13.gz"
    kept = lost.read_bytes()
    lost.unlink()
    request = transfer(tmp_path, encoding=("compresso",), memory=4096)  # small cells
    with pytest.raises(run.DeadLetters):
        run.here(request)
    assert not (tmp_path / "new" / "info").exists()
    assert len(files(tmp_path / "new")) > 10
    lost.write_bytes(kept)
    run.here(request, missing=True)
    assert files(tmp_path / "new") == files(tmp_path / "other")


@pytest.mark.parametrize("memory", [2500, 20_000, 10**8])
@pytest.mark.parametrize("factor", [(2, 2, 1), (2, 2, 2)])
def test_shards_of_several_levels_are_whole_for_any_memory(tmp_path: Path, memory: int, factor: Vec3) -> None:
    box = Box((-3, 5, 0), (30, 50, 23))
    array = np.random.default_rng(2).integers(0, 255, (*box.shape, 1)).astype("uint8")
    create(tmp_path / "old", array, kind="image", bounds=box, chunk=(4, 4, 4))
    run.inline(transfer(tmp_path, sharded=True, memory=memory * prod(factor) ** 2, num_mips=2, factor=factor))
    back = transfer(tmp_path, source=f"{tmp_path}/new", layer=f"{tmp_path}/back", memory=10**6)
    run.inline(back)
    for mip in range(3):
        expected, _ = pool(array, box.lo, vec(f**mip for f in factor), "average")
        np.testing.assert_array_equal(whole(tmp_path / "new", mip)[0], expected)
    np.testing.assert_array_equal(whole(tmp_path / "back")[0], array)
    one = len([name for name in files(tmp_path / "new") if name.startswith("4_4_40/")])
    assert (one == 1) == (memory > 2500)


def test_other_programs_read_the_shards(tmp_path: Path) -> None:
    from cloudvolume import CloudVolume

    array = labels(dtype="uint8") * 60
    create(tmp_path / "old", array)
    run.inline(transfer(tmp_path, sharded=True, num_mips=1, memory=30_000))
    for mip in (0, 1):
        volume = CloudVolume(f"file://{tmp_path}/new", mip=mip, progress=False)
        np.testing.assert_array_equal(np.asarray(volume[:]), whole(tmp_path / "new", mip)[0])


def test_a_missing_chunk_of_a_shard_is_counted(tmp_path: Path) -> None:
    array = labels()
    array[Box((-3, 7, -17), (5, 11, -13)).slices(BOX.lo)] = 0
    create(tmp_path / "old", array)
    run.inline(transfer(tmp_path, sharded=True, delete_background=True))
    back = {"source": f"{tmp_path}/new", "layer": f"{tmp_path}/back"}
    with pytest.raises(DataError, match=r"-3:1,7:11,-17:-13 is missing .* 2 in all"):
        run.inline(transfer(tmp_path, **back))
    done = run.inline(transfer(tmp_path, **back, fill_missing=True))
    np.testing.assert_array_equal(whole(tmp_path / "back")[0], array)
    assert sum(line["notes"]["missing_chunks"] for line in notes(done)) == 2


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"mip": 1}, "has no mip 1"),
    ({"mip": -1}, "from 0 up"),
    ({"layer": "SOURCE"}, "onto itself"),
    ({"roi": "100:200,0:1,0:1"}, "has no part"),
    ({"encoding": ("jpeg",)}, "'jpeg' cannot hold labels of uint32"),
    ({"encoding": ("raw", "raw")}, "2 encodings for 1 levels"),
    ({"dtype": "float64"}, "hold no 'float64'"),
    ({"dtype": "float32"}, "labels are integers"),
    ({"window": (0.0, 1.0)}, "holds labels"),
    ({"window": (1.0, 1.0)}, "must be below"),
    ({"sharded": True, "compress": "zstd"}, "shards know no zstd"),
    ({"chunk": (0, 4, 4)}, "at least 1 voxel"),
    ({"factor": (1, 1, 1)}, "must shrink"),
    ({"method": "stride", "sparse": True}, "one voxel of a block"),
    ({"memory": 100}, "give more --memory"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG, ids=lambda v: str(v) if isinstance(v, dict) else "")
def test_a_wrong_request_writes_nothing(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    create(tmp_path / "old", labels())
    before = files(tmp_path)
    fields = {k: f"{tmp_path}/old" if v == "SOURCE" else v for k, v in fields.items()}
    with pytest.raises(SpecError, match=words):
        run.inline(transfer(tmp_path, **fields))
    assert files(tmp_path) == before
    assert not (tmp_path / "new").exists()
