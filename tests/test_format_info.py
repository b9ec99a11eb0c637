"""The info file: round trip, refusals, and the arithmetic of chunks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import info as infos
from igneous_ng.formats.codecs import DTYPES
from igneous_ng.formats.info import ENCODINGS, Scale, chunk_box, chunk_name, chunk_range, coarser
from igneous_ng.geometry import Box, Grid, Vec3, Vec3f, vec

points = st.tuples(*[st.integers(-9, 9)] * 3)
sizes = st.tuples(*[st.integers(1, 6)] * 3)
bounds = st.builds(Box.sized, points, sizes)
scales = st.builds(
    lambda box, chunk: Scale("1_1_1", box, (1.0, 1.0, 1.0), chunk, "raw"), bounds, st.tuples(*[st.integers(1, 4)] * 3)
)

FOREIGN: dict[str, Any] = {
    "@type": "neuroglancer_multiscale_volume",
    "type": "segmentation",
    "data_type": "uint64",
    "num_channels": 1,
    "scales": [
        {
            "key": "8_8_30.5",
            "size": [100, 200, 30],
            "voxel_offset": [-5, 0, 7],
            "resolution": [8, 8, 30.5],
            "chunk_sizes": [[64, 64, 16]],
            "encoding": "compressed_segmentation",
            "compressed_segmentation_block_size": [8, 4, 2],
            "hidden": True,
            "sharding": None,
        }
    ],
    "mesh": "mesh",
    "skeletons": "skeletons",
    "of_somebody_else": {"a": [1, 2]},
}


def image(**other: Any) -> infos.Info:
    fields: dict[str, Any] = {
        "kind": "image",
        "dtype": "uint8",
        "channels": 1,
        "bounds": Box((-5, 0, 7), (95, 200, 37)),
        "resolution": (8.0, 8.0, 30.5),
        "chunk": (64, 64, 16),
        "encoding": "raw",
    }
    return infos.new_info(**{**fields, **other})


def test_what_others_wrote_comes_back_as_it_was() -> None:
    info = infos.parse(FOREIGN, "layer/info")
    assert info.to_json() == FOREIGN
    assert json.loads(infos.encode(info)) == FOREIGN
    assert info.scales[0].bounds == Box((-5, 0, 7), (95, 200, 37))
    assert info.scales[0].parameters == {"compressed_segmentation_block_size": [8, 4, 2]}
    assert info.dtype == np.uint64


def test_an_info_made_here_is_an_info_read_here() -> None:
    info = image(dtype="uint32", encoding="compressed_segmentation", kind="segmentation")
    assert infos.parse(json.loads(infos.encode(info)), "x") == info
    assert infos.encode(info) == infos.encode(
        image(dtype="uint32", encoding="compressed_segmentation", kind="segmentation")
    )
    assert info.to_json()["scales"] == [
        {
            "key": "8_8_30.5",
            "size": [100, 200, 30],
            "voxel_offset": [-5, 0, 7],
            "resolution": [8, 8, 30.5],
            "chunk_sizes": [[64, 64, 16]],
            "encoding": "compressed_segmentation",
            "compressed_segmentation_block_size": [8, 8, 8],
        }
    ]


def test_an_absent_offset_is_zero_and_types_may_be_in_capitals() -> None:
    scale = {k: v for k, v in FOREIGN["scales"][0].items() if k != "voxel_offset"}
    info = infos.parse({**FOREIGN, "data_type": "UINT64", "scales": [scale]}, "x")
    assert info.scales[0].bounds.lo == (0, 0, 0)
    assert info.dtype == np.uint64


@pytest.mark.parametrize("key", ["type", "data_type", "num_channels", "scales"])
def test_an_info_that_lacks_a_part_is_refused(key: str) -> None:
    with pytest.raises(DataError, match="^place/info: not the info of a Precomputed volume"):
        infos.parse({k: v for k, v in FOREIGN.items() if k != key}, "place/info")


@pytest.mark.parametrize("key", ["key", "size", "resolution", "chunk_sizes", "encoding"])
def test_a_scale_that_lacks_a_part_is_refused(key: str) -> None:
    scale = {k: v for k, v in FOREIGN["scales"][0].items() if k != key}
    with pytest.raises(DataError, match=key):
        infos.parse({**FOREIGN, "scales": [scale]}, "x")


WRONG: list[Any] = [[], None, "info", {"@type": "neuroglancer_legacy_mesh"}]


@pytest.mark.parametrize("raw", WRONG, ids=repr)
def test_other_json_is_refused(raw: Any) -> None:
    with pytest.raises(DataError, match="not the info"):
        infos.parse(raw, "x")


@pytest.mark.parametrize("change", [{"data_type": "float64"}, {"type": "mesh"}, {"scales": []}], ids=str)
def test_what_no_precomputed_volume_has_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="at least one scale"):
        infos.parse({**FOREIGN, **change}, "x")


@pytest.mark.parametrize(
    "change", [{"size": [1, 2]}, {"size": [1, -2, 3]}, {"resolution": 8}, {"chunk_sizes": []}], ids=str
)
def test_a_scale_of_wrong_numbers_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="not the info"):
        infos.parse({**FOREIGN, "scales": [{**FOREIGN["scales"][0], **change}]}, "x")


NANOMETRES = [(0.0, 8.0, 8.0), (8.0, -8.0, 8.0), (8.0, 8.0, 8e-9), (1e7, 8.0, 8.0), (float("nan"), 8.0, 8.0)]


@pytest.mark.parametrize("resolution", [*NANOMETRES, (8.0, float("inf"), 8.0)], ids=str)
def test_a_resolution_that_nobody_meant_is_refused(resolution: Vec3f) -> None:
    with pytest.raises(SpecError, match="implausible; give nanometres"):
        image(resolution=resolution)


def test_plausible_resolutions_pass_and_name_the_scale() -> None:
    assert image(resolution=(0.01, 1e6, 4.04)).scales[0].key == "0.01_1000000_4.04"
    assert infos.scale_key((8.0, 16.0, 33.3333333333)) == "8_16_33.33333333"


CHANNELS = {"jpeg": {1, 3}, "png": {1, 2, 3, 4}, "jxl": {1}, "compresso": {1}, "crackle": {1}}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_table_of_encodings_is_kept(encoding: str, dtype: str) -> None:
    for channels in (1, 2, 3, 4, 5):
        holds = dtype in ENCODINGS[encoding] and channels in CHANNELS.get(encoding, {channels})
        if holds:
            assert image(encoding=encoding, dtype=dtype, channels=channels).channels == channels
        else:
            with pytest.raises(SpecError, match=rf"'{encoding}' cannot hold {dtype} of {channels} channel.*: raw"):
                image(encoding=encoding, dtype=dtype, channels=channels)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "zip"}, "no encoding is called 'zip'"),
        ({"dtype": "float64"}, "hold no float64"),
        ({"dtype": "int64"}, "hold no int64"),
        ({"dtype": "complex64"}, "hold no complex64"),
        ({"chunk": (64, 0, 64)}, "at least 1 voxel"),
        ({"bounds": Box((0, 0, 0), (4, 0, 4))}, "holds nothing"),
        ({"kind": "mesh"}, "type is image or segmentation"),
        ({"kind": "segmentation", "dtype": "float32"}, "labels are integers"),
    ],
    ids=str,
)
def test_parts_that_cannot_go_together_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        image(**change)


def test_scales_are_added_and_replaced_by_key() -> None:
    info = image()
    first = info.scales[0]
    second = coarser(first, (2, 2, 1))
    assert info.with_scales(second).scales == (first, second)
    changed = replace(first, encoding="png")
    assert info.with_scales(second, changed).scales == (changed, second)
    assert info.with_scales() == info


@settings(deadline=None)
@given(scales, st.tuples(*[st.integers(1, 3)] * 3))
def test_a_coarser_scale_has_a_voxel_over_every_voxel(scale: Scale, factor: Vec3) -> None:
    up = coarser(scale, factor)
    assert scale.bounds in up.bounds * factor
    low, high = (up.bounds * factor).lo, (up.bounds * factor).hi
    assert all(0 <= a - b < f for a, b, f in zip(scale.bounds.lo, low, factor, strict=True))
    assert all(0 <= b - a < f for a, b, f in zip(scale.bounds.hi, high, factor, strict=True))
    assert up.resolution == tuple(map(float, factor))


def test_a_coarser_scale_takes_another_encoding_and_chunk() -> None:
    up = coarser(image(dtype="uint32").scales[0], (2, 2, 1), chunk=(32, 32, 32), encoding="compressed_segmentation")
    assert (up.key, up.chunk, up.encoding) == ("16_16_30.5", (32, 32, 32), "compressed_segmentation")
    assert up.extra == {"compressed_segmentation_block_size": [8, 8, 8]}


@settings(deadline=None)
@given(scales, bounds)
def test_chunks_tile_a_scale_and_are_found_by_box(scale: Scale, box: Box) -> None:
    grid = list(Grid(scale.bounds, scale.chunk))
    cells = Grid(chunk_range(scale, scale.bounds), (1, 1, 1))
    assert [chunk_box(scale, cell.lo) for cell in cells] == grid
    touched = Grid(chunk_range(scale, box), (1, 1, 1))
    assert [chunk_box(scale, cell.lo) for cell in touched] == [c for c in grid if (c & box).voxels]


@settings(deadline=None)
@given(scales, bounds)
def test_aligned_boxes_are_those_that_cut_no_chunk(scale: Scale, box: Box) -> None:
    touched = [c for c in Grid(scale.bounds, scale.chunk) if (c & box).voxels]
    whole = box in scale.bounds and all(c in box for c in touched)
    assert infos.is_aligned(scale, box) == whole


@settings(deadline=None)
@given(scales, sizes)
def test_cells_are_rounded_up_to_chunks(scale: Scale, shape: Vec3) -> None:
    rounded = infos.round_to_chunks(scale, shape)
    assert all(r % c == 0 and 0 <= r - n < c for r, n, c in zip(rounded, shape, scale.chunk, strict=True))


def test_a_chunk_is_called_by_its_corners() -> None:
    scale = image().scales[0]
    assert chunk_name(scale, chunk_box(scale, vec((0, 0, 0)))) == "8_8_30.5/-5-59_0-64_7-23"
    assert chunk_name(scale, chunk_box(scale, vec((1, 3, 1)))) == "8_8_30.5/59-95_192-200_23-37"


def test_a_scale_is_sharded_where_it_says_so() -> None:
    scale = image().scales[0]
    assert not scale.sharded
    assert not replace(scale, extra={"sharding": None}).sharded
    assert replace(scale, extra={"sharding": {"@type": "neuroglancer_uint64_sharded_v1"}}).sharded


def test_a_jpeg_picture_too_tall_for_its_library_is_refused() -> None:
    infos.check_encoding("jpeg", "uint8", 1, (256, 256, 255))
    with pytest.raises(SpecError, match="smaller chunks"):
        infos.check_encoding("jpeg", "uint8", 1, (256, 256, 256))


def test_parameters_stand_in_the_scale_and_go_with_the_encoding() -> None:
    info = image(encoding="jxl", parameters={"jxl_quality": 80, "jxl_effort": 4})
    assert info.to_json()["scales"][0]["jxl_quality"] == 80
    assert coarser(info.scales[0], (2, 2, 1)).parameters == {"jxl_quality": 80, "jxl_effort": 4}
    assert coarser(info.scales[0], (2, 2, 1), encoding="jpeg").parameters == {}
    with pytest.raises(SpecError, match="jxl_quality is no parameter of encoding 'jpeg'"):
        image(encoding="jpeg", parameters={"jxl_quality": 80})


def test_labels_are_not_given_to_what_loses_bits() -> None:
    with pytest.raises(SpecError, match="'jpeg' cannot hold labels of uint8"):
        image(kind="segmentation", encoding="jpeg")
