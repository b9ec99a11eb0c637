"""TileSpecs of the render services, JSON: tiles with their pictures and transforms, in pixels.

As ``TileSpec``, ``LayoutData`` and ``ResolvedTileSpecCollection`` of https://github.com/saalfeldlab/render and
``renderapi`` of render-python have them. A transform's ``dataString`` is, by the last word of its class in
``mpicbg.trakem2.transform``: TranslationModel2D ``x y``; RigidModel2D ``angle x y``; SimilarityModel2D ``scale angle
x y``; AffineModel2D ``m00 m10 m01 m11 x y``, with x' = m00 x + m01 y. The first of a list is applied first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from igneous_ng.errors import DataError

_PACKAGE = "mpicbg.trakem2.transform."
_LOADER = "IMAGEJ_DEFAULT"
_DEEPEST = 32  # lists of transforms in lists
Affine = tuple[float, float, float, float, float, float]
"""a, b, x, c, d, y: x' = a x + b y + x, y' = c x + d y + y."""
_SAME: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSpec:
    """A tile: what of render's TileSpec has a meaning here."""

    tile: str
    z: float
    urls: tuple[str, ...]
    """The picture of each channel."""
    affine: Affine
    """From the pixels of the picture to those of the section."""
    width: int | None = None
    height: int | None = None
    row: int | None = None
    col: int | None = None
    camera: str = ""


def encode(specs: Iterable[TileSpec]) -> bytes:
    """A JSON array of TileSpecs, as render's clients import it."""
    return (json.dumps([_to_json(one) for one in specs], indent=1) + "\n").encode()


def _to_json(one: TileSpec) -> dict[str, Any]:
    a, b, x, c, d, y = one.affine
    layout = {"sectionId": str(one.z), "imageRow": one.row, "imageCol": one.col, "camera": one.camera or None}
    levels = [{"mipmapLevels": {"0": {"imageUrl": url}}} for url in one.urls]
    pictures = levels[0] if len(levels) == 1 else {"channels": [{"name": str(n), **v} for n, v in enumerate(levels)]}
    leaf = {
        "type": "leaf",
        "className": f"{_PACKAGE}AffineModel2D",
        "dataString": " ".join(map(repr, (a, c, b, d, x, y))),
    }
    return {
        "tileId": one.tile,
        "layout": {key: value for key, value in layout.items() if value is not None},
        "z": one.z,
        "width": one.width,
        "height": one.height,
        **pictures,
        "transforms": {"type": "list", "specList": [leaf]},
    }


def decode(data: bytes, where: str) -> Iterator[TileSpec]:
    """The tiles of an array of TileSpecs, of a single one, or of a collection with shared transforms.

    DataError names ``where``, the line of what is no JSON, and the tile that has what is not understood.
    """
    try:
        raw = json.loads(data)
    except ValueError as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{where}{line}: is no JSON ({error})") from None
    shared: dict[str, Any] = {}
    if isinstance(raw, dict) and "tileIdToSpecMap" in raw:
        shared = dict(raw.get("transformIdToSpecMap") or {})
        raw = list(raw["tileIdToSpecMap"].values())
    for n, one in enumerate(raw if isinstance(raw, list) else [raw]):
        if not isinstance(one, dict) or not isinstance(one.get("tileId"), str):
            raise DataError(f"{where}, tile {n}: has no tileId; expected TileSpecs of render")
        place = f"{where}, tile {one['tileId']!r}"
        try:
            yield _from_json(one, shared, place)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{place}: is no TileSpec of render ({error!r})") from None


def _from_json(raw: Mapping[str, Any], shared: Mapping[str, Any], where: str) -> TileSpec:
    layout = raw.get("layout") or {}
    affine = _SAME
    for leaf in _leaves(raw.get("transforms") or {"type": "list", "specList": []}, shared, where):
        affine = _after(affine, leaf)
    return TileSpec(
        tile=raw["tileId"],
        z=float(raw["z"]),
        urls=tuple(_url(one, where) for one in raw.get("channels") or [raw]),
        affine=affine,
        width=_whole(raw.get("width")),
        height=_whole(raw.get("height")),
        row=_whole(layout.get("imageRow")),
        col=_whole(layout.get("imageCol")),
        camera=str(layout.get("camera") or ""),
    )


def _url(raw: Mapping[str, Any], where: str) -> str:
    found = (raw.get("mipmapLevels") or {}).get("0") or {}
    if not isinstance(found.get("imageUrl"), str):
        raise DataError(f"{where}: has no picture at mipmap level 0; only full resolution is read")
    if (loader := found.get("imageLoaderType", _LOADER)) != _LOADER:
        raise DataError(f"{where}: its picture is of the kind {loader}; only whole picture files are read")
    return str(found["imageUrl"])


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _leaves(raw: Any, shared: Mapping[str, Any], where: str, depth: int = 0) -> Iterator[Affine]:
    """The transforms of a list, or what it refers to, in the order in which they are applied."""
    if depth > _DEEPEST:
        raise DataError(f"{where}: its transforms refer to each other without end")
    if isinstance(raw, list):
        raw = {"type": "list", "specList": raw}
    kind = raw.get("type", "leaf")
    if kind == "list":
        for one in raw["specList"]:
            yield from _leaves(one, shared, where, depth + 1)
    elif kind == "ref":
        if raw["refId"] not in shared:
            raise DataError(f"{where}: refers to the transform {raw['refId']!r}, which is not in the file")
        yield from _leaves(shared[raw["refId"]], shared, where, depth + 1)
    elif kind == "leaf":
        yield _leaf(raw, where)
    else:
        raise DataError(f"{where}: has a transform of the type {kind!r}; there are list, ref and leaf")


def _leaf(raw: Mapping[str, Any], where: str) -> Affine:
    name = str(raw["className"])
    words = str(raw["dataString"]).split()
    read = _MODELS.get(name.removeprefix(_PACKAGE)) if name.startswith(_PACKAGE) else None
    if read is None:
        raise DataError(f"{where}: has a transform {name}, which is not affine; those read: {', '.join(_MODELS)}")
    count, made = read
    if len(words) != count:
        raise DataError(f"{where}: {name} has the data {raw['dataString']!r}; expected {count} numbers")
    found: Affine = made(*map(float, words))
    return found


def _similar(scale: float, angle: float, x: float, y: float) -> Affine:
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return cos, -sin, x, sin, cos, y


_MODELS: dict[str, tuple[int, Any]] = {
    "TranslationModel2D": (2, lambda x, y: (1.0, 0.0, x, 0.0, 1.0, y)),
    "RigidModel2D": (3, lambda angle, x, y: _similar(1.0, angle, x, y)),
    "SimilarityModel2D": (4, _similar),
    "AffineModel2D": (6, lambda a, c, b, d, x, y: (a, b, x, c, d, y)),
}


def _after(first: Affine, then: Affine) -> Affine:
    """``then`` applied to what ``first`` gives."""
    a, b, x, c, d, y = first
    e, f, u, g, h, v = then
    return e * a + f * c, e * b + f * d, e * x + f * y + u, g * a + h * c, g * b + h * d, g * x + h * y + v
