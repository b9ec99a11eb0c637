"""Multi-resolution meshes as bytes: Neuroglancer's ``neuroglancer_multilod_draco``.

Source of the format: Neuroglancer's "Precomputed mesh" specification (src/datasource/precomputed/meshes.md). An object
has levels of detail, each in boxes that are twice as wide as those of the finer one. A box is a fragment: a mesh in
Draco's encoding whose vertices are integers, from 0 at the low faces of the box to ``2**bits - 1`` at the high ones:
neighbours have the same vertices where they meet. Coordinates are nanometres.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats.sharding import Spec
from igneous_ng.geometry import Vec3, Vec3f

Array = npt.NDArray[Any]
TYPE = "neuroglancer_multilod_draco"
BITS = 16
"""Bits of a coordinate in its box; the format has 10 and 16."""
_HEAD = struct.Struct("<6fI")
_EFFORT = 3  # of Draco, from 0 to 10; 7 takes a third longer for 2 %


@dataclass(frozen=True)
class Level:
    """The fragments of a level, in the order of a Z curve: box numbers and bytes; what detail it shows, in nm."""

    scale: float
    places: tuple[Vec3, ...]
    fragments: tuple[bytes, ...]


@dataclass(frozen=True)
class Manifest:
    """Where the fragments of an object are: corner and shape of the finest boxes, and each level's boxes' sizes."""

    origin: Vec3f
    chunk: Vec3f
    scales: tuple[float, ...]
    places: tuple[tuple[Vec3, ...], ...]
    sizes: tuple[tuple[int, ...], ...]

    def spans(self, level: int) -> list[tuple[Vec3, tuple[int, int]]]:
        """Of each fragment of a level, its box and its bytes ``[start, stop)`` in the object's data."""
        at = sum(map(sum, self.sizes[:level]))
        found = []
        for place, size in zip(self.places[level], self.sizes[level], strict=True):
            found.append((place, (at, at + size)))
            at += size
        return found

    @property
    def bytes(self) -> int:
        """The size of the object's data."""
        return sum(map(sum, self.sizes))


def encode(origin: Vec3f, chunk: Vec3f, levels: Sequence[Level]) -> tuple[bytes, bytes]:
    """The manifest of an object and its data, finest level first. ``origin`` and ``chunk`` are float32 numbers."""
    counts = [len(level.places) for level in levels]
    parts = [
        _HEAD.pack(*chunk, *origin, len(levels)),
        np.array([level.scale for level in levels], "<f4").tobytes(),
        np.zeros((len(levels), 3), "<f4").tobytes(),
        np.array(counts, "<u4").tobytes(),
    ]
    for level in levels:
        parts.append(np.array(level.places, "<u4").reshape(-1, 3).T.tobytes())
        parts.append(np.array([len(data) for data in level.fragments], "<u4").tobytes())
    return b"".join(parts), b"".join(data for level in levels for data in level.fragments)


def decode(data: bytes, where: str) -> Manifest:
    """The manifest in ``data``; DataError, naming ``where``, if it is none."""
    try:
        *numbers, count = _HEAD.unpack_from(data)
        words = np.frombuffer(data, "<u4", offset=_HEAD.size)
        scales = words[:count].view("<f4").tolist()
        counts = words[4 * count : 5 * count].tolist()
        at, places, sizes = 5 * count, [], []
        for n in counts:
            if at + 4 * n > len(words):
                raise ValueError(f"{len(data)} bytes are too few")
            places.append(tuple(map(tuple, words[at : at + 3 * n].reshape(3, n).T.tolist())))
            sizes.append(tuple(words[at + 3 * n : at + 4 * n].tolist()))
            at += 4 * n
        if at != len(words) or len(counts) != count:
            raise ValueError(f"{len(data)} bytes for {count} levels")
    except (struct.error, ValueError) as error:
        raise DataError(f"{where}: not the manifest of a mesh ({error}); merge it again") from error
    x, y, z, a, b, c = numbers
    return Manifest((a, b, c), (x, y, z), tuple(scales), tuple(places), tuple(sizes))


def encode_fragment(vertices: Array, faces: Array) -> bytes:
    """The bytes of a box: ``vertices`` [n, 3], integers from 0 to ``2**bits - 1``, and ``faces`` [m, 3]."""
    import DracoPy

    data: bytes = DracoPy.encode(vertices.astype(np.int32), faces, compression_level=_EFFORT)
    return data


def decode_fragment(data: bytes, where: str) -> tuple[Array, Array]:
    """Vertices [n, 3], integers, and faces [m, 3] of a box; DataError, naming ``where``, for other bytes."""
    if not data:
        return np.zeros((0, 3), np.int64), np.zeros((0, 3), np.uint32)
    vertices, faces = decode_draco(data, where)
    return np.rint(vertices).astype(np.int64), faces


def decode_draco(data: bytes, where: str) -> tuple[Array, Array]:
    """Vertices [n, 3], floats, and faces [m, 3] in Draco's encoding; DataError, naming ``where``, for other bytes."""
    import DracoPy

    try:
        mesh = DracoPy.decode(data)
    except Exception as error:  # each version has its own
        raise DataError(f"{where}: not a fragment of a mesh ({error}); merge it again") from error
    return np.asarray(mesh.points), np.asarray(mesh.faces, np.uint32).reshape(-1, 3)


def read(manifest: Manifest, level: int, data: bytes, bits: int, where: str) -> tuple[Array, Array]:
    """Vertices [n, 3] in nm and faces [m, 3] of a level; ``data`` is all of the object's, as :func:`encode` gave it."""
    parts, triangles, count = [np.zeros((0, 3))], [np.zeros((0, 3), np.uint32)], 0
    side = np.array(manifest.chunk) * 2**level
    for place, (start, stop) in manifest.spans(level):
        vertices, faces = decode_fragment(data[start:stop], where)
        parts.append(np.array(manifest.origin) + side * (place + vertices / ((1 << bits) - 1)))
        triangles.append((faces + count).astype(np.uint32))
        count += len(vertices)
    return np.concatenate(parts), np.concatenate(triangles)


def manifest_name(label: int) -> str:
    """The object name of a label's manifest, where objects are not in shards."""
    return f"{label}.index"


def data_name(label: int) -> str:
    """The object name of a label's fragments, where objects are not in shards."""
    return str(label)


def info(mip: int, sharding: Spec | None) -> dict[str, Any]:
    """The ``info`` of a folder of meshes, made from level ``mip``."""
    found: dict[str, Any] = {
        "@type": TYPE,
        "mip": mip,
        "vertex_quantization_bits": BITS,
        "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
        "lod_scale_multiplier": 1,
    }
    return found if sharding is None else {**found, "sharding": sharding.to_json()}
