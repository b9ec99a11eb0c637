"""The ``info`` file of a Precomputed volume: parsed, checked, extended and written back.

Source of the format: Neuroglancer's "Precomputed volume" specification (google/neuroglancer,
src/datasource/precomputed/volume.md). Keys this module does not know are kept as they came.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import codecs, sharding
from igneous_ng.formats.codecs import BLOCK, DTYPES, Parameters
from igneous_ng.formats.sharding import Layout, Spec
from igneous_ng.geometry import Box, Vec3, Vec3f, ceil_div, vec

ENCODINGS: dict[str, tuple[str, ...]] = {name: codec.dtypes for name, codec in codecs.CODECS.items()}
"""The encodings that this package writes, each with the data types it can hold."""

IMAGE, SEGMENTATION = "image", "segmentation"
_RESOLUTION = (0.01, 1e6)  # nm: an ångström fraction to a millimetre; beyond it a unit was mistaken
_JPEG_SIDE = 65_500  # libjpeg's own limit
_KNOWN = ("key", "size", "voxel_offset", "resolution", "chunk_sizes", "encoding")


@dataclass(frozen=True)
class Scale:
    """One mip level: ``bounds`` in its own voxels, ``resolution`` in nm, ``chunk`` in voxels; x, y, z."""

    key: str
    bounds: Box
    resolution: Vec3f
    chunk: Vec3
    encoding: str
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """This scale as it stands in an ``info`` file."""
        return {
            "key": self.key,
            "size": list(self.bounds.shape),
            "voxel_offset": list(self.bounds.lo),
            "resolution": [int(r) if r == int(r) else r for r in self.resolution],
            "chunk_sizes": [list(self.chunk)],
            "encoding": self.encoding,
            **self.extra,
        }

    @property
    def sharded(self) -> bool:
        """Whether chunks lie in shards instead of one object each."""
        return self.extra.get("sharding") is not None

    @property
    def sharding(self) -> Spec | None:
        """How chunks lie in shards; None: one object each."""
        return Spec.parse(self.extra["sharding"]) if self.sharded else None

    @property
    def grid(self) -> Vec3:
        """Chunks along each axis."""
        return vec(ceil_div(n, c) for n, c in zip(self.bounds.shape, self.chunk, strict=True))

    @property
    def granularity(self) -> Vec3:
        """The smallest box that can be written on its own, in voxels: a chunk, or all chunks of one shard."""
        spec = self.sharding
        cells = Layout(spec, self.grid).cells if spec else (1, 1, 1)
        return vec(c * k for c, k in zip(self.chunk, cells, strict=True))

    def with_sharding(self, spec: Spec | None) -> Scale:
        """This scale with its chunks in shards, or in objects of their own."""
        extra = {k: v for k, v in self.extra.items() if k != "sharding"}
        return dataclasses.replace(self, extra={**extra, "sharding": spec.to_json()} if spec else extra)

    @property
    def parameters(self) -> dict[str, Any]:
        """What tunes the encoding; nothing for one that this package does not know."""
        known = codecs.CODECS[self.encoding].settings if self.encoding in codecs.CODECS else {}
        return {key: self.extra[key] for key in known if key in self.extra}


@dataclass(frozen=True)
class Info:
    """What a Precomputed volume says of itself. ``kind`` is ``image`` or ``segmentation``."""

    kind: str
    dtype: np.dtype[Any]
    channels: int
    scales: tuple[Scale, ...]
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The ``info`` file as JSON values."""
        return {
            "@type": "neuroglancer_multiscale_volume",
            "type": self.kind,
            "data_type": self.dtype.name,
            "num_channels": self.channels,
            "scales": [scale.to_json() for scale in self.scales],
            **self.extra,
        }

    def with_scales(self, *scales: Scale) -> Info:
        """This volume with ``scales`` appended; one of a key that is there already replaces it."""
        new = {s.key: s for s in scales}
        kept = tuple(new.pop(s.key, s) for s in self.scales)
        return dataclasses.replace(self, scales=kept + tuple(new.values()))


def difference(old: Info, new: Info) -> str:
    """The first thing in which ``old`` is not what ``new`` asks for, in words."""
    was, asked = old.to_json(), new.to_json()
    pairs = [(key, was, asked) for key in ("type", "data_type", "num_channels")]
    pairs += [(key, a, b) for a, b in zip(was["scales"], asked["scales"], strict=False) for key in b if key != "key"]
    for key, a, b in pairs:
        if a.get(key) != b[key]:
            return f"its {key} is {a.get(key)}, and {b[key]} was asked for"
    return f"it has {len(old.scales)} levels, and {len(new.scales)} were asked for"


def encode(info: Info) -> bytes:
    """The bytes of the ``info`` file; the same value gives the same bytes."""
    return (json.dumps(info.to_json(), indent=2) + "\n").encode()


def parse(raw: Any, where: str) -> Info:
    """An :class:`Info` from the JSON of ``where``; DataError says which part is wrong."""
    try:
        kind, dtype, channels = raw["type"], str(raw["data_type"]).lower(), int(raw["num_channels"])
        scales = tuple(_scale(s) for s in raw["scales"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{where}: not the info of a Precomputed volume ({type(error).__name__}: {error}); "
            "is this the layer's own folder?"
        ) from error
    if dtype not in DTYPES or kind not in (IMAGE, SEGMENTATION) or not scales:
        raise DataError(
            f"{where}: type {kind!r}, data_type {dtype!r}, {len(scales)} scales; a Precomputed volume has type "
            f"image or segmentation, a data_type among {', '.join(DTYPES)} and at least one scale"
        )
    known = ("@type", "type", "data_type", "num_channels", "scales")
    extra = {k: v for k, v in raw.items() if k not in known}
    return Info(kind, np.dtype(dtype), channels, scales, extra)


def _scale(raw: dict[str, Any]) -> Scale:
    x, y, z = map(float, raw["resolution"])
    scale = Scale(
        key=str(raw["key"]),
        bounds=Box.sized(vec(raw.get("voxel_offset", (0, 0, 0))), vec(raw["size"])),
        resolution=(x, y, z),
        chunk=vec(raw["chunk_sizes"][0]),
        encoding=str(raw["encoding"]),
        extra={k: v for k, v in raw.items() if k not in _KNOWN},
    )
    if min(scale.chunk) < 1 or min(scale.resolution) <= 0:
        raise ValueError(f"level {scale.key} has chunks of {scale.chunk} voxels of {scale.resolution} nm")
    if scale.sharding:
        Layout(scale.sharding, scale.grid)
    return scale


def scale_key(resolution: Vec3f) -> str:
    """The folder name of a scale, ``16_16_40``, as Neuroglancer's own tools write it."""
    return "_".join(f"{r:.10g}" for r in resolution)


def encoding_keys(encoding: str, parameters: Parameters | None = None) -> dict[str, Any]:
    """Keys that ``encoding``, tuned by ``parameters``, adds to a scale."""
    block = {"compressed_segmentation_block_size": list(BLOCK)} if encoding == "compressed_segmentation" else {}
    return {**block, **(parameters or {})}


def new_info(  # noqa: PLR0913 - the eight things that define a volume, all by name
    *,
    kind: str,
    dtype: str,
    channels: int,
    bounds: Box,
    resolution: Vec3f,
    chunk: Vec3,
    encoding: str,
    parameters: Parameters | None = None,
) -> Info:
    """A volume of one scale; SpecError where the parts cannot go together."""
    if kind not in (IMAGE, SEGMENTATION) or (kind == SEGMENTATION and dtype == "float32"):
        raise SpecError(f"a layer of type {kind!r} and {dtype}; type is image or segmentation, labels are integers")
    check_encoding(encoding, dtype, channels, chunk, kind, parameters)
    check_resolution(resolution)
    if not bounds.voxels:
        raise SpecError(f"a layer of {bounds.shape} voxels holds nothing; every side must be at least 1")
    keys = encoding_keys(encoding, parameters)
    scale = Scale(scale_key(resolution), bounds, resolution, chunk, encoding, keys)
    return Info(kind, np.dtype(dtype), channels, (scale,))


def check_resolution(resolution: Vec3f) -> None:
    """SpecError for a voxel size that nobody can have meant, in nm."""
    low, high = _RESOLUTION
    if not all(math.isfinite(r) and low <= r <= high for r in resolution):
        raise SpecError(f"resolution {resolution} nm is implausible; give nanometres between {low} and {high:g}")


def check_encoding(
    encoding: str, dtype: str, channels: int, chunk: Vec3, kind: str = IMAGE, parameters: Parameters | None = None
) -> None:
    """SpecError where ``encoding`` cannot hold such chunks, with the encodings that can."""
    if min(chunk) < 1:
        raise SpecError(f"chunk {chunk}: each side must be at least 1 voxel")
    codecs.check(encoding, dtype, channels, kind == SEGMENTATION, parameters or {})
    if encoding == "jpeg" and max(chunk[0], chunk[1] * chunk[2]) > _JPEG_SIDE:
        raise SpecError(
            f"chunk {chunk}: a jpeg picture is x by y*z pixels, at most {_JPEG_SIDE:,} a side; give smaller chunks"
        )


def coarser(scale: Scale, factor: Vec3, *, chunk: Vec3 | None = None, encoding: str | None = None) -> Scale:
    """The scale one level up: each side shrunk by ``factor``, anchored at multiples of it.

    It is encoded as ``scale`` is, unless told otherwise, and has no shards.
    """
    x, y, z = (r * f for r, f in zip(scale.resolution, factor, strict=True))
    tuned = scale.parameters if encoding in (None, scale.encoding) else None
    encoding = encoding or scale.encoding
    return Scale(
        key=scale_key((x, y, z)),
        bounds=scale.bounds // factor,
        resolution=(x, y, z),
        chunk=chunk or scale.chunk,
        encoding=encoding,
        extra=encoding_keys(encoding, tuned),
    )


def chunk_box(scale: Scale, index: Vec3) -> Box:
    """The voxels of the chunk at grid position ``index``; chunks at the far edge are cut."""
    lo = vec(o + i * c for o, i, c in zip(scale.bounds.lo, index, scale.chunk, strict=True))
    return Box.sized(lo, scale.chunk) & scale.bounds


def chunk_range(scale: Scale, box: Box) -> Box:
    """The grid positions of the chunks that ``box`` touches."""
    if not (scale.bounds & box).voxels:
        return Box((0, 0, 0), (0, 0, 0))
    return (scale.bounds & box).shift(vec(-o for o in scale.bounds.lo)) // scale.chunk


def chunk_name(scale: Scale, box: Box) -> str:
    """The object name of the chunk that covers ``box``, below the layer."""
    return f"{scale.key}/" + "_".join(f"{a}-{b}" for a, b in zip(box.lo, box.hi, strict=True))


def sharded(scale: Scale, voxel_bytes: int, memory: int) -> Scale:
    """``scale`` in as few shards as can be, none of more than ``memory`` bytes of voxels."""
    packing: sharding.Packing = "raw" if codecs.compact(scale.encoding) else "gzip"
    return scale.with_sharding(sharding.spec_for(scale.bounds.shape, scale.chunk, voxel_bytes, memory, packing))


def shard_number(scale: Scale, box: Box) -> int:
    """The number of the shard that holds the chunk at the lower corner of ``box``; SpecError if there are no shards."""
    lo = chunk_range(scale, box).lo
    return _layout(scale).number(lo)


def shard_box(scale: Scale, number: int) -> Box:
    """The voxels of a shard, cut by the far edge; SpecError where there is no such shard, or it is no box."""
    cells = _layout(scale).box(number)
    return (cells * scale.chunk).shift(scale.bounds.lo) & scale.bounds


def _layout(scale: Scale) -> Layout:
    if scale.sharding is None:
        raise SpecError(f"level {scale.key} has no shards")
    return Layout(scale.sharding, scale.grid)


def is_aligned(scale: Scale, box: Box, cell: Vec3 | None = None) -> bool:
    """Whether ``box`` is whole cells, by default what may be written alone; one cut by the far edge counts as whole."""
    cell = cell or scale.granularity
    return box in scale.bounds and all(
        (a - o) % c == 0 and ((b - o) % c == 0 or b == end)
        for a, b, o, c, end in zip(box.lo, box.hi, scale.bounds.lo, cell, scale.bounds.hi, strict=True)
    )


def round_to_chunks(scale: Scale, shape: Vec3) -> Vec3:
    """``shape`` rounded up, along each axis, to what can be written on its own."""
    return vec(ceil_div(n, c) * c for n, c in zip(shape, scale.granularity, strict=True))
