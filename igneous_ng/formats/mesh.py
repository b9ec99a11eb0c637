"""Meshes as bytes: Neuroglancer's legacy single-resolution format, and the pieces that cells hand to merging.

Source of the format: Neuroglancer's "Precomputed mesh" specification (src/datasource/precomputed/meshes.md).
A piece holds the code of the cubes that a surface passes in a cell (native/march).
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.geometry import Vec3, vec

Array = npt.NDArray[Any]
TYPE = "neuroglancer_legacy_mesh"
_PLACE = struct.Struct("<6q")


def encode_piece(corner: Vec3, cubes: Vec3, code: bytes) -> bytes:
    """The bytes of a piece: the voxel of its first corner, its cubes along each axis, and their code, deflated."""
    return _PLACE.pack(*corner, *cubes) + zlib.compress(code, 1)


def decode_piece(data: bytes, where: str) -> tuple[Vec3, Vec3, bytes]:
    """What :func:`encode_piece` was given; DataError, naming ``where``, for other bytes."""
    try:
        numbers = _PLACE.unpack_from(data)
        code = zlib.decompress(data[_PLACE.size :])
    except (struct.error, zlib.error) as error:
        raise DataError(f"{where}: not a piece of a mesh ({error}); forge this cell again") from error
    return vec(numbers[:3]), vec(numbers[3:]), code


def encode_surface(vertices: Array, faces: Array) -> bytes:
    """The bytes of a piece that is a surface in nm already: a legacy fragment, deflated."""
    return zlib.compress(encode(vertices, faces), 1)


def decode_surface(data: bytes, where: str) -> tuple[Array, Array]:
    """What :func:`encode_surface` was given; DataError, naming ``where``, for other bytes."""
    try:
        fragment = zlib.decompress(data)
    except zlib.error as error:
        raise DataError(f"{where}: not a piece of a mesh ({error}); import this cell again") from error
    return decode(fragment, where)


def encode(vertices: Array, faces: Array) -> bytes:
    """A legacy fragment: ``vertices`` [n, 3] in nm, stored as float32, and ``faces`` [m, 3]."""
    head = struct.pack("<I", len(vertices))
    return head + vertices.astype("<f4").tobytes() + faces.astype("<u4").tobytes()


def decode(data: bytes, where: str) -> tuple[Array, Array]:
    """Vertices [n, 3] float32 in nm and faces [m, 3] uint32 of a legacy fragment; DataError if it is none."""
    count = struct.unpack_from("<I", data)[0] if len(data) >= 4 else -1
    rest = len(data) - 4 - 12 * count
    if count < 0 or rest < 0 or rest % 12:
        raise DataError(f"{where}: {len(data)} bytes are no legacy mesh of {count} vertices; merge it again")
    vertices = np.frombuffer(data, "<f4", 3 * count, 4).reshape(-1, 3)
    faces = np.frombuffer(data, "<u4", offset=4 + 12 * count).reshape(-1, 3)
    return vertices, faces


def fragment_name(label: int) -> str:
    """The object name of a label's geometry."""
    return f"{label}.mesh"


def manifest_name(label: int) -> str:
    """The object name of a label's manifest; 0 is the level of detail, of which this format has one."""
    return f"{label}:0"


def manifest(label: int) -> bytes:
    """The manifest: which fragments make the mesh of ``label``."""
    return json.dumps({"fragments": [fragment_name(label)]}).encode()


def info(mip: int) -> dict[str, Any]:
    """The ``info`` of a folder of meshes, made from level ``mip``."""
    return {"@type": TYPE, "mip": mip}
