"""Layers of other formats as if they were Precomputed: an ``info``, and voxels at boxes of a level.

OME-Zarr (0.4, 0.5) and N5 through TensorStore; graphene through cloud-volume; BossDB through its own service.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import DataError
from igneous_ng.formats.codecs import DTYPES
from igneous_ng.formats.info import IMAGE, SEGMENTATION, Info, Scale, check_resolution, scale_key
from igneous_ng.geometry import Box, Vec3f, vec
from igneous_ng.sources.base import ArraySource
from igneous_ng.sources.bossdb import open_boss
from igneous_ng.sources.chunked import Chunked, open_chunked
from igneous_ng.sources.cloud import open_graphene
from igneous_ng.store import Store

Format = Literal["zarr", "n5", "graphene", "bossdb"]
_NM = {"angstrom": 0.1, "nanometer": 1.0, "nm": 1.0, "micrometer": 1e3, "um": 1e3, "millimeter": 1e6, "meter": 1e9}
_NEAR = 1e-6  # of a voxel: what a translation may be short of the voxel it means
_LEVELS = 32


class LayerSource(Protocol):
    """A layer to copy from."""

    @property
    def info(self) -> Info:
        """Its levels, as Precomputed describes them."""

    def read(self, mip: int, box: Box) -> NDArray[Any]:
        """The voxels of ``box``, in those of the level: [x, y, z, c]."""


@dataclass(frozen=True)
class Arrays:
    """Levels that are arrays of their own; ``axes`` are theirs, in stored order."""

    info: Info
    levels: tuple[Chunked, ...]
    axes: str

    def read(self, mip: int, box: Box) -> NDArray[Any]:
        """Only the chunks in ``box``."""
        lo = self.info.scales[mip].bounds.lo
        return ArraySource(self.levels[mip], self.axes).read(box.shift(vec(-o for o in lo)))


def open_layer(url: str, form: Format, store: Store) -> LayerSource:
    """The layer at ``url``; DataError where it is none, or does not say the size of its voxels."""
    opening: dict[Format, Callable[[], LayerSource]] = {
        "zarr": lambda: _open_zarr(url, store),
        "n5": lambda: _open_n5(url, store),
        "graphene": lambda: open_graphene(url),
        "bossdb": lambda: open_boss(url),
    }
    return opening[form]()


def _open_zarr(url: str, store: Store) -> Arrays:
    found = store.get_json(f"{url}/zarr.json")
    about = (found or {}).get("attributes", {}) if found else store.get_json(f"{url}/.zattrs") or {}
    about = about.get("ome", about)
    try:
        scales = about["multiscales"][0]
        axes = [axis["name"] for axis in scales["axes"]]
        units = [_NM[axis["unit"]] if axis["name"] in "xyz" else 1.0 for axis in scales["axes"]]
        places = [(level["path"], *_placed(level, units)) for level in scales["datasets"]]
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(
            f"{url}: no OME-Zarr with axes, units and scales ({type(error).__name__}: {error}); "
            "image create takes plain arrays, with --resolution"
        ) from error
    kind = SEGMENTATION if "image-label" in about else IMAGE
    return _layer(url, kind, "".join(axes), places)


def _placed(level: dict[str, Any], units: list[float]) -> tuple[list[float], list[float]]:
    """Size of a voxel and place of the first one, in nm, along the stored axes."""
    steps = level["coordinateTransformations"]
    scale = next(step["scale"] for step in steps if step["type"] == "scale")
    moved = next((step["translation"] for step in steps if step["type"] == "translation"), [0.0] * len(units))
    return [s * u for s, u in zip(scale, units, strict=True)], [t * u for t, u in zip(moved, units, strict=True)]


def _open_n5(url: str, store: Store) -> Arrays:
    about = store.get_json(f"{url}/attributes.json") or {}
    first = store.get_json(f"{url}/s0/attributes.json") or {}
    found = next((a[k] for a in (about, first) for k in ("pixelResolution", "resolution") if k in a), None)
    base, unit = (found["dimensions"], found.get("unit", "nm")) if isinstance(found, dict) else (found, "nm")
    if not base or unit not in _NM or len(base) != 3:
        raise DataError(
            f"{url}: its attributes name no pixelResolution of x, y, z in a unit of length; "
            "image create takes plain arrays, with --resolution"
        )
    places = []
    for number in range(_LEVELS):
        level = store.get_json(f"{url}/s{number}/attributes.json")
        if level is None:
            break
        factors = level.get("downsamplingFactors", [1, 1, 1] if number == 0 else [2**number] * 3)
        places.append((f"s{number}", [b * f * _NM[unit] for b, f in zip(base, factors, strict=True)], [0.0] * 3))
    return _layer(url, IMAGE, "xyz", places)


def _layer(url: str, kind: str, axes: str, places: list[tuple[str, list[float], list[float]]]) -> Arrays:
    levels = tuple(open_chunked(f"{url}/{path}/", f"{url}/{path}") for path, _, _ in places)
    if not levels or levels[0].dtype.name not in DTYPES:
        what = levels[0].dtype.name if levels else "no level"
        raise DataError(f"{url}: it holds {what}; Precomputed volumes hold {', '.join(DTYPES)}")
    sources = [ArraySource(level, axes) for level in levels]
    scales = []
    for source, (_, sizes, moved) in zip(sources, places, strict=True):
        at = [axes.index(letter) for letter in "xyz"]
        x, y, z = (float(sizes[i]) for i in at)
        lo = vec(floor(moved[i] / sizes[i] + _NEAR) for i in at)
        scales.append(_scale(Box.sized(lo, source.shape), (x, y, z)))
    return Arrays(Info(kind, np.dtype(levels[0].dtype), sources[0].channels, tuple(scales)), levels, axes)


def _scale(bounds: Box, resolution: Vec3f) -> Scale:
    check_resolution(resolution)
    return Scale(scale_key(resolution), bounds, resolution, (64, 64, 64), "raw")
