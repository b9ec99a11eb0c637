"""Neuroglancer states: which layers to show, how and from where. Pure functions, JSON values out.

The keys are those of the Neuroglancer client (google/neuroglancer, ``src/viewer.ts`` and ``src/layer``).
Lengths are metres in a state and nanometres in an ``info`` file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Vec3f, vec

_RANGES: dict[str, tuple[int, int]] = {
    "uint8": (0, 2**8 - 1),
    "int8": (-(2**7), 2**7 - 1),
    "uint16": (0, 2**16 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint32": (0, 2**32 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint64": (0, 2**64 - 1),
    "float32": (0, 1),
}
"""The data types that Neuroglancer shows, each with the values drawn black and white."""

_PANEL = (560, 340)  # pixels of a cross section in four panels on a window of 1200 x 800
_MARGIN = 1.1
_SEE_THROUGH = 0.35  # of a mesh around its skeleton
_DEPTH_MARGIN = 1.3  # what is near looks larger
_GOLD = "#ffd700"
_MARKS = (  # small ones: many lie together; each call is heard by annotations of its own kind only
    "void main() {\n"
    "  setColor(defaultColor());\n"
    "  setPointMarkerSize(3.0);\n"
    "  setPointMarkerBorderWidth(0.0);\n"
    "  setEndpointMarkerSize(3.0);\n"
    "  setEndpointMarkerBorderWidth(0.0);\n"
    "  setLineWidth(2.0);\n"
    "}\n"
)
_GRAY = "#uicontrol invlerp contrast\nvoid main() { emitGrayscale(contrast()); }\n"
_RGB = (
    "#uicontrol invlerp contrast\n"
    "void main() {\n"
    "  emitRGB(vec3(contrast(getDataValue(0)), contrast(getDataValue(1)), contrast(getDataValue(2))));\n"
    "}\n"
)
# Two channels, as splits and mergers, are red and blue over what lies below: none of both is clear.
_PAIR = (
    "#uicontrol invlerp contrast\n"
    "void main() {\n"
    "  vec2 both = vec2(contrast(getDataValue(0)), contrast(getDataValue(1)));\n"
    "  emitRGBA(vec4(both.x, 0.0, both.y, max(both.x, both.y)));\n"
    "}\n"
)
_SHADERS = {2: _PAIR, 3: _RGB}
# Looks from above and beside, so that depth can be told: 35 degrees about y, then 25 about x.
_ORIENTATION = [-0.2064, -0.2936, -0.0651, 0.9311]


@dataclass(frozen=True)
class Shown:
    """One layer to show: its ``name``, the http(s) ``url`` it is read from, its parsed ``info`` file, and
    the ``segments`` selected in it (of a segmentation)."""

    name: str
    url: str
    info: dict[str, Any]
    segments: tuple[int, ...] = ()


def unique_names(urls: Sequence[str]) -> list[str]:
    """A name for each layer: the last part of its path, with a number where that is taken."""
    names: list[str] = []
    for url in urls:
        last = url.rstrip("/").rpartition("/")[2] or "layer"
        name, number = last, 1
        while name in names:
            number += 1
            name = f"{last} {number}"
        names.append(name)
    return names


def is_segmentation(info: dict[str, Any]) -> bool:
    """Whether the ``info`` file describes labels, not intensities."""
    return info.get("type") == "segmentation"


def is_annotations(info: dict[str, Any]) -> bool:
    """Whether the ``info`` file describes annotations."""
    return info.get("@type") == "neuroglancer_annotations_v1"


def state(layers: Sequence[Shown]) -> dict[str, Any]:
    """The state that shows all ``layers`` whole, in four panels, at their common centre.

    Dimensions are the finest voxels of the first layer. Annotations show those of the segments that are selected in
    the first segmentation, if there is one. DataError for an ``info`` that is neither of a Precomputed volume nor of
    annotations, SpecError where no layer is given.
    """
    if not layers:
        raise SpecError("a view of no layers; name at least one")
    volumes = [_space(layer) if is_annotations(layer.info) else _extent(layer) for layer in layers]
    segmentation = next((layer.name for layer in layers if is_segmentation(layer.info)), None)
    unit = volumes[0][1]
    low, high = _union(volumes)
    size: Vec3f = _triple((b - a) / min(unit) for a, b in zip(low, high, strict=True))
    return {
        "dimensions": {axis: [_metres(r), "m"] for axis, r in zip("xyz", unit, strict=True)},
        "position": [_centre(a / u, b / u) for a, b, u in zip(low, high, unit, strict=True)],
        "crossSectionScale": _cross_section_scale(size),
        "projectionScale": _rounded(math.hypot(*size) * _DEPTH_MARGIN),
        "projectionOrientation": _ORIENTATION,
        "layers": [_layer(layer, index == 0, segmentation) for index, layer in enumerate(layers)],
        "showSlices": False,
        "layout": "4panel",
    }


def _layer(layer: Shown, bottom: bool, segmentation: str | None) -> dict[str, Any]:
    common = {"name": layer.name, "source": f"precomputed://{layer.url}"}
    if is_annotations(layer.info):
        return {
            "type": "annotation",
            **common,
            "annotationColor": _GOLD,
            "shader": _MARKS,
            **_links(layer, segmentation),
        }
    if is_segmentation(layer.info):
        return {
            "type": "segmentation",
            **common,
            "segments": [str(label) for label in layer.segments],
            "selectedAlpha": 0.4,
            "notSelectedAlpha": 0.15 if layer.segments else 0,
            "objectAlpha": _SEE_THROUGH if {"mesh", "skeletons"} <= layer.info.keys() else 1,
            "skeletonRendering": {"mode2d": "lines", "lineWidth2d": 1, "mode3d": "lines", "lineWidth3d": 2},
        }
    low, high = _RANGES[str(layer.info["data_type"]).lower()]
    # A JSON number holds no 64-bit integer; the client reads those from text.
    ends: list[int | str] = [str(low), str(high)] if high >= 2**53 else [low, high]
    return {
        "type": "image",
        **common,
        "opacity": 1 if bottom else 0.5,
        "shader": _SHADERS.get(layer.info["num_channels"], _GRAY),
        "shaderControls": {"contrast": {"range": ends}},
    }


def _links(layer: Shown, segmentation: str | None) -> dict[str, Any]:
    """By which relationships annotations go with a segmentation; where no segment is selected, all are shown."""
    names = [one["id"] for one in layer.info.get("relationships", ())]
    if segmentation is None or not names:
        return {}
    return {"linkedSegmentationLayer": dict.fromkeys(names, segmentation), "filterBySegmentation": names}


def _space(layer: Shown) -> tuple[Box, Vec3f]:
    """The units in which annotations lie, and their size in nm; DataError where they are not of three lengths."""
    info = layer.info
    try:
        resolution = _triple(_rounded(scale * 1e9) for scale, unit in info["dimensions"].values() if unit == "m")
        return Box(vec(map(math.floor, info["lower_bound"])), vec(map(math.ceil, info["upper_bound"]))), resolution
    except (KeyError, TypeError, ValueError, SpecError) as error:
        raise DataError(
            f"layer {layer.name} ({layer.url}): its info file is not of annotations in space ({error}); write it again"
        ) from error


def _extent(layer: Shown) -> tuple[Box, Vec3f]:
    """The finest scale's voxels and their size in nm; DataError where ``info`` is not of a volume."""
    info = layer.info
    try:
        kind, dtype, channels = info["type"], str(info["data_type"]).lower(), info["num_channels"]
        scale = info["scales"][0]
        resolution = _triple(map(float, scale["resolution"]))
        box = Box.sized(vec(scale.get("voxel_offset", (0, 0, 0))), vec(scale["size"]))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"layer {layer.name} ({layer.url}): its info file ({info.get('@type', 'no @type')}) "
            f"is not of a Precomputed volume ({type(error).__name__}: {error}); "
            "name the folder of an image or a segmentation"
        ) from error
    wrong = (
        (kind not in ("image", "segmentation"), f"type {kind!r} is neither image nor segmentation"),
        (dtype not in _RANGES, f"Neuroglancer shows no {dtype}, only {', '.join(_RANGES)}"),
        (type(channels) is not int or channels < 1, f"num_channels {channels!r} is not a positive number"),
        (not all(0 < r < math.inf for r in resolution), f"resolution {resolution} is not positive"),
        (not box.voxels, f"size {box.shape} holds no voxel"),
    )
    for is_wrong, what in wrong:
        if is_wrong:
            raise DataError(f"layer {layer.name} ({layer.url}): {what}; mend its info file")
    return box, resolution


def _union(volumes: Sequence[tuple[Box, Vec3f]]) -> tuple[Vec3f, Vec3f]:
    """The corners, in nm, of the smallest box around all volumes."""
    lows = [[o * r for o, r in zip(box.lo, resolution, strict=True)] for box, resolution in volumes]
    highs = [[o * r for o, r in zip(box.hi, resolution, strict=True)] for box, resolution in volumes]
    return _triple(map(min, zip(*lows, strict=True))), _triple(map(max, zip(*highs, strict=True)))


def _cross_section_scale(size: Vec3f) -> float:
    """Voxels a pixel, so that the x-y, x-z and z-y sections of ``size`` voxels each fit their panel.

    Panels are wider than high, so z, which is an axis of either direction, meets the height.
    """
    (x, y, z), (width, height) = size, _PANEL
    return _rounded(max(x / width, y / height, z / height) * _MARGIN)


def _centre(low: float, high: float) -> float:
    """The middle of a voxel, nearest the middle of ``[low, high)``: a border shows either side."""
    return math.floor((low + high) / 2) + 0.5


def _metres(nanometres: float) -> float:
    """Exact to the last digit where multiplying by 1e-9 is not: 32 nm are 3.2e-08 m."""
    return float(f"{nanometres!r}e-9") if "e" not in repr(nanometres) else nanometres * 1e-9


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _triple(values: Any) -> Vec3f:
    x, y, z = values
    return x, y, z
