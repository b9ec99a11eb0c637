"""States, against values worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError
from igneous_ng.viewer.state import Shown, is_segmentation, state, unique_names

URL = "http://127.0.0.1:8000/layers/0"


def info(**changes: Any) -> dict[str, Any]:
    """A volume of 100 x 200 x 50 voxels of 32 x 32 x 40 nm at (1000, 2000, 3000)."""
    scale = {"key": "k", "size": [100, 200, 50], "voxel_offset": [1000, 2000, 3000], "resolution": [32, 32, 40]}
    scale |= {key: changes.pop(key) for key in list(changes) if key in scale}
    return {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale]} | changes


def segmentation(**changes: Any) -> dict[str, Any]:
    return info(type="segmentation", data_type="uint64", **changes)


def only_layer(made: dict[str, Any]) -> dict[str, Any]:
    (layer,) = made["layers"]
    assert isinstance(layer, dict)
    return layer


def test_space_is_in_metres_and_the_position_in_its_middle() -> None:
    made = state([Shown("em", URL, info())])
    assert made["dimensions"] == {"x": [3.2e-08, "m"], "y": [3.2e-08, "m"], "z": [4e-08, "m"]}
    assert made["position"] == [1050.5, 2100.5, 3025.5]
    assert made["layout"] == "4panel"
    assert made["showSlices"] is False


def test_a_single_section_is_shown_from_within() -> None:
    assert state([Shown("em", URL, info(size=[10, 10, 1]))])["position"][2] == 3000.5


def test_a_missing_offset_is_the_origin() -> None:
    volume = info()
    del volume["scales"][0]["voxel_offset"]
    assert state([Shown("em", URL, volume)])["position"] == [50.5, 100.5, 25.5]


def test_layers_of_other_voxels_share_one_space() -> None:
    """The second layer ends at twice the first's far corner, so their middle is the first's far corner."""
    first = info(size=[100, 100, 100], voxel_offset=[0, 0, 0], resolution=[8, 8, 40])
    second = segmentation(size=[50, 50, 200], voxel_offset=[0, 0, 0], resolution=[32, 32, 40])
    made = state([Shown("a", URL, first), Shown("b", URL, second)])
    assert made["dimensions"]["x"] == [8e-09, "m"]
    assert made["position"] == [100.5, 100.5, 100.5]


@given(st.tuples(*[st.integers(1, 10**6)] * 3), st.tuples(*[st.sampled_from((4, 8, 32, 40, 12.5))] * 3))
def test_the_whole_volume_fits_every_panel(size: tuple[int, ...], resolution: tuple[float, ...]) -> None:
    made = state([Shown("em", URL, info(size=size, resolution=resolution))])
    unit = min(resolution)
    x, y, z = (n * r / unit for n, r in zip(size, resolution, strict=True))
    pixels = made["crossSectionScale"]
    width, height = 560, 340
    assert max(x, z) / pixels <= width
    assert max(y, z) / pixels <= height
    assert min(width / (max(x, z) / pixels), height / (max(y, z) / pixels)) < 1.2, "no smaller than it must be"
    assert made["projectionScale"] > (x * x + y * y + z * z) ** 0.5


def test_an_image_has_a_contrast_and_covers_what_is_below() -> None:
    first, second = state([Shown("a", URL, info()), Shown("b", URL, info())])["layers"]
    assert first["type"] == "image"
    assert first["source"] == f"precomputed://{URL}"
    assert "emitGrayscale" in first["shader"]
    assert (first["opacity"], second["opacity"]) == (1, 0.5)


@pytest.mark.parametrize(
    ("dtype", "ends"),
    [
        ("uint8", [0, 255]),
        ("UINT16", [0, 65535]),
        ("int16", [-32768, 32767]),
        ("float32", [0, 1]),
        ("uint64", ["0", "18446744073709551615"]),
    ],
)
def test_the_contrast_spans_the_data_type(dtype: str, ends: list[int | str]) -> None:
    layer = only_layer(state([Shown("em", URL, info(data_type=dtype))]))
    assert layer["shaderControls"] == {"contrast": {"range": ends}}


def test_three_channels_are_colours() -> None:
    assert "emitRGB" in only_layer(state([Shown("rgb", URL, info(num_channels=3))]))["shader"]
    assert "emitRGBA" in only_layer(state([Shown("two", URL, info(num_channels=2))]))["shader"]
    assert "emitGrayscale" in only_layer(state([Shown("four", URL, info(num_channels=4))]))["shader"]


def test_labels_are_selected_as_text() -> None:
    layer = only_layer(state([Shown("seg", URL, segmentation(), (7, 2**64 - 1))]))
    assert layer["type"] == "segmentation"
    assert layer["segments"] == ["7", "18446744073709551615"]
    assert 0 < layer["notSelectedAlpha"] < layer["selectedAlpha"]
    assert "shader" not in layer


@pytest.mark.parametrize("parts", [(), ("mesh",), ("skeletons",)])
def test_meshes_are_solid_unless_they_would_hide_skeletons(parts: tuple[str, ...]) -> None:
    solid = only_layer(state([Shown("seg", URL, segmentation(**{part: part for part in parts}), (7,))]))
    both = only_layer(state([Shown("seg", URL, segmentation(mesh="m", skeletons="s"), (7,))]))
    assert solid["objectAlpha"] == 1
    assert 0 < both["objectAlpha"] < 0.5


def test_a_remote_layer_keeps_its_address() -> None:
    layer = only_layer(state([Shown("em", "https://host/em", info())]))
    assert layer["source"] == "precomputed://https://host/em"


def test_a_state_is_json() -> None:
    made = state([Shown("em", URL, info()), Shown("seg", URL, segmentation(), (1,))])
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_names_are_the_last_parts_of_paths_and_differ() -> None:
    urls = ["file:///a/em", "file:///b/em", "https://host/seg/", "file:///c/em 2", "file:///d/em"]
    assert unique_names(urls) == ["em", "em 2", "seg", "em 2 2", "em 3"]


def test_only_a_segmentation_is_one() -> None:
    assert is_segmentation(segmentation())
    assert not is_segmentation(info())
    assert not is_segmentation({"@type": "neuroglancer_annotations_v1"})


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ({}, "not of a Precomputed volume"),
        ({"@type": "neuroglancer_skeletons"}, "neuroglancer_skeletons"),
        ({"@type": "neuroglancer_annotations_v1"}, "not of annotations in space"),
        (info(scales=[]), "IndexError"),
        (info(scales=7), "TypeError"),
        (info(scales=["k"]), "TypeError"),
        (info(size=[1, 2]), "ValueError"),
        (info(size=[1, 2, "many"]), "ValueError"),
        (info(size=[1, 2, -3]), "ends before it starts"),
        (info(size=[0, 2, 3]), "holds no voxel"),
        (info(resolution=[8, 8, 0]), "resolution"),
        (info(resolution=[8, 8, float("nan")]), "resolution"),
        (info(type="mesh"), "neither image nor segmentation"),
        (info(data_type="float64"), "no float64"),
        (info(num_channels=0), "num_channels"),
        (info(num_channels="1"), "num_channels"),
    ],
)
def test_a_bad_info_is_named(bad: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        state([Shown("em", URL, bad)])
    assert f"layer em ({URL})" in str(caught.value)


def test_a_view_of_nothing_is_a_wrong_request() -> None:
    with pytest.raises(SpecError, match="at least one"):
        state([])


def marks(**changes: Any) -> dict[str, Any]:
    """Annotations between two sides, in nm."""
    related = [{"id": "pre"}, {"id": "post"}]
    return {"@type": "neuroglancer_annotations_v1", "dimensions": {axis: [1e-09, "m"] for axis in "xyz"},
            "lower_bound": [0, 0, 0], "upper_bound": [32000, 64000, 20000], "relationships": related,
            **changes}  # fmt: skip


def test_annotations_follow_the_segments_of_the_first_segmentation() -> None:
    made = state([Shown("em", URL, info()), Shown("seg", URL, segmentation()), Shown("syn", URL, marks())])
    assert "setPointMarkerSize" in made["layers"][2].pop("shader")
    assert made["layers"][2] == {
        "type": "annotation",
        "name": "syn",
        "source": f"precomputed://{URL}",
        "annotationColor": "#ffd700",
        "linkedSegmentationLayer": {"pre": "seg", "post": "seg"},
        "filterBySegmentation": ["pre", "post"],
    }


def test_annotations_alone_are_shown_in_their_own_units() -> None:
    made = state([Shown("syn", URL, marks(lower_bound=[-10.5, 0, 0]))])
    assert made["dimensions"]["z"] == [1e-09, "m"]
    assert made["position"] == [15994.5, 32000.5, 10000.5]
    assert "linkedSegmentationLayer" not in only_layer(made)


@pytest.mark.parametrize("wrong", [{"dimensions": {"t": [1, "s"]}}, {"lower_bound": None}, {"upper_bound": [0, 0]}])
def test_annotations_elsewhere_than_in_space_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="not of annotations in space"):
        state([Shown("syn", URL, marks(**wrong))])
