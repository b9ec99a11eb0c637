"""Meshes as bytes: Neuroglancer's legacy single-resolution format, and the pieces that cells hand to merging.

Source of the format: Neuroglancer's "Precomputed mesh" specification (src/datasource/precomputed/meshes.md).
A :class:`Lattice` mesh has its vertices on the half-voxel lattice, as integers, so that pieces of one
object join exactly.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
TYPE = "neuroglancer_legacy_mesh"
_COUNTS = struct.Struct("<II")


@dataclass(frozen=True)
class Lattice:
    """``vertices`` [n, 3] int64 in half voxels and ``faces`` [m, 3] uint32, right-handed from outside."""

    vertices: Array
    faces: Array


def encode_piece(mesh: Lattice) -> bytes:
    """The bytes of a piece: deltas of vertices and corners, their bytes grouped by weight, deflated."""
    deltas = np.diff(mesh.vertices, axis=0, prepend=np.zeros((1, 3), np.int64))
    first = np.diff(mesh.faces[:, 0].astype(np.int64), prepend=0)
    others = mesh.faces[:, 1:].astype(np.int64) - mesh.faces[:, :1]
    corners = np.column_stack([first, others])
    body = _grouped(deltas) + _grouped(corners)
    return _COUNTS.pack(len(mesh.vertices), len(mesh.faces)) + zlib.compress(body, 1)


def _grouped(values: Array) -> bytes:
    """int32 values, column by column, lowest bytes first: most high bytes are equal and deflate well."""
    zigzag = ((values << 1) ^ (values >> 63)).astype("<u4")
    return zigzag.T.copy().view(np.uint8).reshape(-1, 4).T.tobytes()


def _ungrouped(data: bytes, rows: int) -> Array:
    flat = np.frombuffer(data, np.uint8).reshape(4, -1).T.copy().view("<u4")
    zigzag = flat.reshape(3, rows).T.astype(np.int64)
    return (zigzag >> 1) ^ -(zigzag & 1)


def decode_piece(data: bytes, where: str) -> Lattice:
    """The mesh that :func:`encode_piece` wrote; DataError, naming ``where``, for other bytes."""
    try:
        nv, nf = _COUNTS.unpack_from(data)
        body = zlib.decompress(data[_COUNTS.size :])
        if len(body) != 12 * (nv + nf):
            raise ValueError(f"{len(body)} bytes for {nv} vertices and {nf} faces")
        vertices = np.cumsum(_ungrouped(body[: 12 * nv], nv), axis=0)
        corners = _ungrouped(body[12 * nv :], nf)
    except (struct.error, zlib.error, ValueError) as error:
        raise DataError(f"{where}: not a piece of a mesh ({error}); forge this cell again") from error
    first = np.cumsum(corners[:, :1], axis=0)
    faces = np.column_stack([first, first + corners[:, 1:]])
    if nf and (faces.min() < 0 or faces.max() >= nv):
        raise DataError(f"{where}: a piece with corners beyond its {nv} vertices; forge this cell again")
    return Lattice(vertices, faces.astype(np.uint32))


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
