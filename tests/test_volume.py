"""Arrays at boxes: any box of any chunking, and no silent blanks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import coarser, new_info
from igneous_ng.geometry import Box, Grid, Vec3
from igneous_ng.store import Store
from igneous_ng.volume import Volume

Array = npt.NDArray[Any]
BOUNDS = Box((-5, 3, -20), (8, 14, -9))


def volume(path: Path, chunk: Vec3 = (4, 4, 4), channels: int = 2, **other: Any) -> Volume:
    info = new_info(
        kind="image",
        dtype="uint16",
        channels=channels,
        bounds=BOUNDS,
        resolution=(4, 4, 40),
        chunk=chunk,
        encoding="raw",
    )
    return Volume(f"file://{path}", 0, info, Store(), **other)


def voxels(channels: int = 2) -> Array:
    return np.arange(BOUNDS.voxels * channels, dtype=np.uint16).reshape((*BOUNDS.shape, channels), order="F")


def files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    made = volume(tmp_path_factory.mktemp("layer"))
    made.write(BOUNDS, voxels(), "gzip")
    return made


@settings(deadline=None)
@given(st.data())
def test_any_box_is_read_as_written(whole: Volume, data: st.DataObject) -> None:
    sides = [sorted(data.draw(st.tuples(*[st.integers(a, b)] * 2))) for a, b in zip(BOUNDS.lo, BOUNDS.hi, strict=True)]
    (x0, x1), (y0, y1), (z0, z1) = sides
    box = Box((x0, y0, z0), (x1, y1, z1))
    array, fingerprint = whole.read(box)
    assert np.array_equal(array, voxels()[box.slices(BOUNDS.lo)])
    assert array.flags.f_contiguous
    assert array.dtype == np.uint16
    assert fingerprint == whole.read(box)[1]


@pytest.mark.parametrize("chunk", [(4, 4, 4), (13, 11, 11), (64, 64, 64), (1, 5, 3)])
def test_chunks_are_named_after_their_voxels_and_hold_them(tmp_path: Path, chunk: Vec3) -> None:
    made = volume(tmp_path, chunk)
    written = made.write(BOUNDS, voxels(), "none")
    expected = {
        "4_4_40/" + "_".join(f"{a}-{b}" for a, b in zip(c.lo, c.hi, strict=True)): voxels()[
            c.slices(BOUNDS.lo)
        ].tobytes("F")
        for c in Grid(BOUNDS, chunk)
    }
    assert files(tmp_path) == expected
    assert {one.url.removeprefix(f"file://{tmp_path}/"): one.stored for one in written} == expected
    assert np.array_equal(made.read(BOUNDS)[0], voxels())


def test_a_written_cell_changes_its_own_chunks_only(tmp_path: Path) -> None:
    made = volume(tmp_path)
    made.write(BOUNDS, voxels(), "gzip")
    cell = Box((-1, 3, -12), (8, 7, -9))  # its far ends are chunk faces or those of the level
    made.write(cell, np.zeros((*cell.shape, 2), np.uint16), "gzip")
    expected = voxels()
    expected[cell.slices(BOUNDS.lo)] = 0
    assert np.array_equal(made.read(BOUNDS)[0], expected)


def test_a_missing_chunk_is_named_or_read_as_zeros(tmp_path: Path) -> None:
    made = volume(tmp_path)
    made.write(BOUNDS, voxels(), "none")
    (tmp_path / "4_4_40" / "-1-3_7-11_-16--12").unlink()
    with pytest.raises(DataError) as caught:
        made.read(BOUNDS)
    for part in (f"file://{tmp_path} mip 0", "-1:3,7:11,-16:-12", str(BOUNDS), "--fill-missing"):
        assert part in str(caught.value)
    filled = volume(tmp_path, fill_missing=True)
    expected = voxels()
    expected[4:8, 4:8, 4:8] = 0
    assert np.array_equal(filled.read(BOUNDS)[0], expected)
    elsewhere = Box((-5, 3, -20), (-1, 7, -16))
    assert np.array_equal(made.read(elsewhere)[0], voxels()[:4, :4, :4])


def test_a_damaged_chunk_is_named_even_where_missing_ones_are_filled(tmp_path: Path) -> None:
    made = volume(tmp_path, fill_missing=True)
    made.write(BOUNDS, voxels(), "none")
    (tmp_path / "4_4_40" / "-1-3_7-11_-16--12").write_bytes(b"half")
    with pytest.raises(DataError, match=r"mip 0: chunk -1:3,7:11,-16:-12: 4 bytes are no raw chunk"):
        made.read(BOUNDS)


def test_what_was_read_shows_in_the_digest(tmp_path: Path) -> None:
    made = volume(tmp_path)
    made.write(BOUNDS, voxels(), "none")
    before = made.read(BOUNDS)[1]
    made.write(BOUNDS, voxels(), "gzip")
    assert made.read(BOUNDS)[1] == before
    made.write(BOUNDS, voxels() + np.uint16(1), "gzip")
    assert made.read(BOUNDS)[1] != before


@pytest.mark.parametrize("box", ["-6:0,3:5,-20:-10", "-5:9,3:5,-20:-10", "-5:0,3:5,-20:-8", "0:1,0:1,0:1"])
def test_reading_beyond_the_level_is_refused(whole: Volume, box: str) -> None:
    with pytest.raises(DataError, match=rf"mip 0: {box} is not inside the level's -5:8,3:14,-20:-9"):
        whole.read(Box.parse(box))


@pytest.mark.parametrize("box", ["-4:0,3:7,-20:-16", "-5:-2,3:7,-20:-16", "-5:-1,3:14,-20:-10", "-9:-1,3:7,-20:-16"])
def test_writing_parts_of_chunks_is_refused_before_anything_is_written(tmp_path: Path, box: str) -> None:
    made, cut = volume(tmp_path), Box.parse(box)
    with pytest.raises(SpecError, match="not made of whole chunks"):
        made.write(cut, np.zeros((*cut.shape, 2), np.uint16), "none")
    assert files(tmp_path) == {}


def test_writing_another_shape_or_type_is_refused(tmp_path: Path) -> None:
    made = volume(tmp_path)
    for wrong in (voxels()[1:], voxels()[..., :1], voxels()[..., 0], voxels().astype(np.uint8)):
        with pytest.raises(SpecError, match="do not fill"):
            made.write(BOUNDS, wrong, "none")
    assert files(tmp_path) == {}


def test_a_level_that_is_not_there_is_refused(whole: Volume) -> None:
    for mip in (-1, 1):
        with pytest.raises(SpecError, match=f"has no mip {mip}; there are mips 0 to 0"):
            Volume(whole.path, mip, whole.info, whole.store)


def test_a_volume_says_what_it_is(whole: Volume) -> None:
    info = whole.info.with_scales(coarser(whole.scale, (2, 2, 1)))
    upper = Volume(whole.path, 1, info, whole.store)
    assert (upper.bounds, upper.resolution) == (Box((-3, 1, -20), (4, 7, -9)), (8, 8, 40))
    assert (whole.chunk, whole.dtype.name, whole.channels, whole.voxel_bytes) == ((4, 4, 4), "uint16", 2, 4)


def test_the_block_of_a_foreign_segmentation_is_heeded(tmp_path: Path) -> None:
    made = new_info(
        kind="segmentation",
        dtype="uint64",
        channels=1,
        bounds=BOUNDS,
        resolution=(4, 4, 40),
        chunk=(8, 8, 8),
        encoding="compressed_segmentation",
    )
    scale = made.scales[0]
    scale.extra["compressed_segmentation_block_size"] = [4, 2, 8]
    layer = Volume(f"file://{tmp_path}", 0, made, Store())
    array = voxels(1).astype(np.uint64)
    layer.write(BOUNDS, array, "gzip")
    Store().put_json(f"file://{tmp_path}/info", made.to_json())
    from cloudvolume import CloudVolume

    found = CloudVolume(f"file://{tmp_path}", progress=False)[BOUNDS.slices()]
    assert np.array_equal(np.asarray(found), array)
    assert np.array_equal(layer.read(BOUNDS)[0], array)
