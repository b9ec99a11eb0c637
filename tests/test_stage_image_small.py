"""Reordering, quantizing, blackening and looking at a layer: each is what numpy makes of the whole volume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.compression import SUFFIXES
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.stages.image_blackout import Blackout
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.image_quantize import Quantize
from igneous_ng.stages.image_reorder import Reorder
from igneous_ng.stages.image_touch import Touch
from tests.layers import create, files, grey, notes, whole

LO = (-7, 3, -21)


def reorder(source: Path, layer: Path, **fields: Any) -> Reorder:
    return Reorder(**{"source": str(source), "layer": str(layer), **fields})


# Reordering.


@settings(deadline=None, max_examples=15)
@given(
    depth=st.integers(1, 15),
    lo=st.tuples(*[st.integers(-20, 9)] * 3),
    chunk=st.tuples(*[st.integers(2, 5)] * 3),
    cell=st.sampled_from([(1, 1, 1), (6, 6, 6), (64, 64, 64)]),
    data=st.data(),
)
def test_reordering_is_indexing(
    tmp_path_factory: pytest.TempPathFactory, depth: int, lo: Any, chunk: Any, cell: Any, data: st.DataObject
) -> None:
    image, folder = grey((7, 5, depth, 2), "uint16"), tmp_path_factory.mktemp("reorder")
    source = create(folder / "source", image, lo, chunk)
    order = data.draw(st.lists(st.integers(0, depth - 1), min_size=1, max_size=20))
    given_ = tuple(z + lo[2] for z in order)
    run.inline(reorder(source, folder / "new", order=given_, cell=cell, repeat=True, drop=True))
    assert np.array_equal(whole(folder / "new"), image[:, :, order])


def test_a_permutation_really_reorders_and_needs_no_leave(tmp_path: Path) -> None:
    image = grey((6, 6, 10, 1))
    source = create(tmp_path / "source", image, LO)
    order = np.random.default_rng(2).permutation(10)
    run.inline(reorder(source, tmp_path / "new", order=tuple(int(z) + LO[2] for z in order)))
    found = whole(tmp_path / "new")
    assert np.array_equal(found, image[:, :, order])
    assert not np.array_equal(found, image)


def test_a_mapping_names_new_and_old_and_black_sections_and_is_kept(tmp_path: Path) -> None:
    image = grey((6, 6, 3, 1))
    source = create(tmp_path / "source", image, LO)
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps({"5": LO[2] + 2, "7": LO[2], "6": None, "8": LO[2] + 1}))
    stage = reorder(source, tmp_path / "new", mapping=str(path))
    queued = run.enqueue(stage, f"fq://{tmp_path}/queue")
    path.unlink()  # its copy is used
    io = IO()
    for message in queued.messages():
        for unit in range(message.lo, message.hi):
            stage.execute(stage.units(io)[unit], io)
    found = whole(tmp_path / "new")
    black = np.zeros_like(image[:, :, 0])
    assert np.array_equal(found, np.stack([image[:, :, 2], black, image[:, :, 0], image[:, :, 1]], axis=2))
    assert IO().info(f"file://{tmp_path}/new").scales[0].bounds == Box((-7, 3, 5), (-1, 9, 9))
    with pytest.raises(SpecError, match="there is no file"):
        run.inline(stage)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([-21, -20, -20, -19], "section -20 appears more than once.*--repeat"),
        ([-21, -19], "section -20 appears nowhere.*--drop"),
        ([-21, -20, -18], "has no section -18; there are -21 to -19"),
        ([], "give either --order or --mapping|not an order"),
        ({"0": -21, "2": -20}, "the new section 1 is not named"),
        ({"a": 1}, "not an order of sections"),
        ("abc", "not an order of sections"),
        ([1.5], "not an order of sections"),
    ],
)
def test_a_doubtful_order_is_refused(tmp_path: Path, order: Any, words: str) -> None:
    source = create(tmp_path / "source", grey((4, 4, 3, 1)), LO)
    (tmp_path / "mapping.json").write_text(json.dumps(order))
    before = files(tmp_path)
    with pytest.raises(SpecError, match=words):
        run.inline(reorder(source, tmp_path / "new", mapping=str(tmp_path / "mapping.json")))
    if isinstance(order, list) and all(type(z) is int for z in order):
        with pytest.raises(SpecError, match=words):
            run.inline(reorder(source, tmp_path / "new", order=tuple(order)))
    assert files(tmp_path) == before


def test_another_order_does_not_mix_with_the_first(tmp_path: Path) -> None:
    source = create(tmp_path / "source", grey((4, 4, 3, 1)), (0, 0, 0))
    run.inline(reorder(source, tmp_path / "new", order=(2, 1, 0)))
    before = files(tmp_path / "new")
    with pytest.raises(SpecError, match="in another order"):
        run.inline(reorder(source, tmp_path / "new", order=(1, 2, 0)))
    assert files(tmp_path / "new") == before


# Quantizing.


@pytest.mark.parametrize("channel", [None, 0, 2])
def test_quantizing_rounds_half_up(tmp_path: Path, channel: int | None) -> None:
    affinities = np.random.default_rng(0).uniform(-0.1, 1.1, (9, 8, 7, 3)).astype("float32")
    affinities[:4, 0, 0, 0] = np.array([0.5, 1.5, 2.5, 253.5]) / 255
    affinities[0, 1, 0, 0] = np.float32(0.1)  # whose product with 255 is not 25.5
    source = create(tmp_path / "source", affinities, LO)
    run.inline(Quantize(source=str(source), layer=str(tmp_path / "new"), channel=channel, cell=(4, 4, 4)))
    chosen = affinities if channel is None else affinities[..., [channel]]
    exact = np.floor(np.clip(chosen.astype("float64"), 0, 1) * 255 + 0.5)
    found = whole(tmp_path / "new")
    assert found.dtype == np.uint8
    assert np.array_equal(found, exact)
    assert sum(note["beyond"] for note in notes(tmp_path / "new")) == ((chosen < 0) | (chosen > 1)).sum()


def test_what_cannot_be_quantized(tmp_path: Path) -> None:
    floats = np.zeros((4, 4, 4, 1), "float32")
    floats[1, 2, 3] = np.nan
    source, grey_ = create(tmp_path / "a", floats, LO), create(tmp_path / "b", grey((4, 4, 4, 1)), LO)
    with pytest.raises(DataError, match="section -18 of .* has a NaN"):
        run.inline(Quantize(source=str(source), layer=str(tmp_path / "new")))
    with pytest.raises(SpecError, match="needs no quantizing"):
        run.plan(Quantize(source=str(grey_), layer=str(tmp_path / "new")))
    with pytest.raises(SpecError, match="there are 0 to 0"):
        run.plan(Quantize(source=str(source), layer=str(tmp_path / "new"), channel=1))


# What all new layers share.


@pytest.mark.parametrize("compress", ["gzip", "brotli", "zstd", "none"])
@pytest.mark.parametrize("encoding", ["raw", "png", "jxl"])
def test_a_new_layer_is_encoded_and_compressed_as_asked(tmp_path: Path, encoding: str, compress: Any) -> None:
    image = grey((9, 8, 7, 1))
    source = create(tmp_path / "source", image, LO)
    asked = ("jxl_quality=100", "jxl_effort=1", "png_level=9")
    run.inline(
        reorder(source, tmp_path / "new", order=tuple(range(LO[2], LO[2] + 7)), encoding=encoding, compress=compress,
                settings=asked)
    )  # fmt: skip
    scale = IO().info(f"file://{tmp_path}/new").scales[0]
    assert scale.encoding == encoding
    wanted = {"raw": {}, "png": {"png_level": 9}, "jxl": {"jxl_quality": 100, "jxl_effort": 1}}
    assert scale.parameters == wanted[encoding]
    assert np.array_equal(whole(tmp_path / "new"), image)
    suffix = SUFFIXES[compress if encoding == "raw" else "none"]
    assert {name.rpartition("-")[2].lstrip("0123456789") for name in chunk_names(tmp_path / "new")} == {suffix}


def chunk_names(layer: Path) -> list[str]:
    return [path.name for path in (layer / "4_4_40").iterdir()]


def test_an_encoding_that_stays_keeps_its_settings_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    image = grey((9, 8, 7, 1))
    source = create(tmp_path / "source", image, LO, encoding="jpeg", parameters={"jpeg_quality": 60})
    order = tuple(range(LO[2], LO[2] + 7))
    run.inline(reorder(source, tmp_path / "new", order=order))
    run.inline(reorder(source, tmp_path / "other", order=order, settings=("jpeg_quality=30",)))
    kept = [IO().info(f"file://{tmp_path}/{name}").scales[0].parameters for name in ("new", "other")]
    assert kept == [{"jpeg_quality": 60}, {"jpeg_quality": 30}]
    for wrong, words in (("jpeg_quality=300", "jpeg_quality is 300"), ("quality=3", "no encoding has the setting")):
        with pytest.raises(SpecError, match=words):
            run.inline(reorder(source, tmp_path / "none", order=order, settings=(wrong,)))
    assert not (tmp_path / "none").exists()


# Blackening.


def blackout(path: Path, **fields: Any) -> Blackout:
    return Blackout(**{"layer": str(path), **fields})


@pytest.mark.long
@settings(deadline=None, max_examples=20)
@given(
    corner=st.tuples(*[st.integers(-12, 8)] * 3),
    size=st.tuples(*[st.integers(1, 15)] * 3),
    chunk=st.tuples(*[st.integers(2, 6)] * 3),
    value=st.integers(0, 255),
)
def test_a_box_is_filled_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, corner: Any, size: Any, chunk: Any, value: int
) -> None:
    image, path = grey((11, 13, 9, 2)), tmp_path_factory.mktemp("blackout")
    create(path, image, (-7, -3, -5), chunk)
    run.inline(Downsample(layer=str(path), num_mips=1))
    pooled, bounds = whole(path, 1), IO().info(f"file://{path}").scales[1].bounds
    box = Box.sized(corner, size)
    inside = box & Box.sized((-7, -3, -5), (11, 13, 9))
    request = blackout(path, box=box, mips=(0, 1), value=value)
    if not inside.voxels:
        with pytest.raises(SpecError, match="nothing to do"):
            run.inline(request)
        return
    run.inline(request)
    image[inside.slices((-7, -3, -5))] = value
    pooled[((box // (2, 2, 1)) & bounds).slices(bounds.lo)] = value
    assert np.array_equal(whole(path, 0), image)
    assert np.array_equal(whole(path, 1), pooled)
    before = files(path)
    run.inline(request)
    assert files(path) == before


def test_a_mask_is_blackened(tmp_path: Path) -> None:
    image = grey((24, 20, 8, 1))
    labels = np.random.default_rng(1).integers(0, 3, (8, 5, 4, 1)).astype("uint8")
    path = create(tmp_path / "layer", image, (0, 0, 0))
    mask = create(tmp_path / "mask", labels, (0, 0, 0), resolution=(12.0, 16.0, 80.0))
    run.inline(blackout(path, mask=str(mask), mask_labels=(2,), mask_keep=False, value=9))
    image[np.kron(labels[..., 0], np.ones((3, 4, 2), "uint8")) == 2] = 9
    assert np.array_equal(whole(path), image)
    box = Box((3, 1, 1), (20, 9, 5))
    run.inline(blackout(path, mask=str(mask), mask_labels=(1,), mask_keep=False, value=7, box=box))
    where = np.kron(labels[..., 0], np.ones((3, 4, 2), "uint8")) == 1
    image[box.slices()][where[box.slices()]] = 7
    assert np.array_equal(whole(path), image)


def test_a_lossless_jxl_may_be_filled_in_part_and_compressed_anyhow(tmp_path: Path) -> None:
    image = grey((8, 8, 8, 1))
    path = create(tmp_path, image, (0, 0, 0), encoding="jxl", parameters={"jxl_quality": 100, "jxl_effort": 1})
    run.inline(blackout(path, box="1:3,0:1,0:1", value=7, compress="zstd"))
    image[1:3, 0, 0] = 7
    assert np.array_equal(whole(path), image)


def test_only_chunks_that_are_filled_are_written(tmp_path: Path) -> None:
    path = create(tmp_path, grey((12, 12, 12, 1)), (0, 0, 0))
    (path / "4_4_40" / "0-4_0-4_0-4.gz").unlink()
    before = files(path)
    run.inline(blackout(path, box="4:8,0:4,0:4"))
    assert {name for name, data in files(path).items() if data != before[name]} == {"4_4_40/4-8_0-4_0-4.gz"}
    with pytest.raises(DataError, match="0:4,0:4,0:4 is missing"):
        run.inline(blackout(path, box="3:8,0:4,0:4", value=3))
    run.inline(blackout(path, box="3:8,0:4,0:4", value=3, fill_missing=True))
    assert whole(path)[:5, 0, 0, 0].tolist() == [0, 0, 0, 3, 3]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "neither --box nor --mask"),
        ({"box": "0:1,0:1,0:1", "mips": (3,)}, "there is no mip 3"),
        ({"box": "0:1,0:1,0:1", "value": 256}, "uint8 cannot be 256"),
        ({"box": "0:1,0:1,0:1", "mips": ()}, "name one or more"),
        ({"box": "0:1,0:1,0:1"}, "chunks of jpeg, filled in part"),
    ],
)
def test_a_wrong_blackout_changes_nothing(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    path = create(tmp_path, grey((8, 8, 8, 1)), (0, 0, 0), encoding="jpeg")
    before = files(path)
    with pytest.raises(SpecError, match=words):
        run.inline(blackout(path, **fields))
    assert files(path) == before


# Looking.


def test_every_bad_chunk_is_named(tmp_path: Path) -> None:
    path = create(tmp_path, grey((12, 12, 12, 1)), (0, 0, 0))
    run.inline(Touch(layer=str(path)))
    assert sum(note["chunks"] for note in notes(path)) == 27
    (path / "4_4_40" / "0-4_0-4_0-4.gz").unlink()
    torn = path / "4_4_40" / "4-8_8-12_0-4.gz"
    torn.write_bytes(torn.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"2 bad chunks:\n.*0:4,0:4,0:4 is missing.*\n.*4-8_8-12_0-4.*not a whole"):
        run.inline(Touch(layer=str(path)))
    with pytest.raises(DataError, match=r"1 bad chunks:\n.*4-8_8-12_0-4"):
        run.inline(Touch(layer=str(path), allow_missing=True))
    torn.unlink()
    run.inline(Touch(layer=str(path), allow_missing=True))
    assert [(note["chunks"], note["missing"]) for note in notes(path)] == [(25, 2)]


@pytest.mark.parametrize(("rewrite", "suffix"), [("gzip", ".gz"), ("brotli", ".br"), ("zstd", ".zstd"), ("none", "")])
def test_rewriting_changes_how_chunks_are_stored_and_no_voxel(tmp_path: Path, rewrite: Any, suffix: str) -> None:
    path = create(tmp_path, grey((12, 12, 12, 1)), (0, 0, 0), encoding="jpeg")
    before = whole(path)
    run.inline(Touch(layer=str(path), rewrite=rewrite))
    assert [name.lstrip("-_0123456789") for name in chunk_names(path)] == [suffix] * 27
    assert np.array_equal(whole(path), before)
