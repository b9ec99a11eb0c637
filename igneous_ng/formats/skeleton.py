"""Skeletons as bytes: Neuroglancer's precomputed format, and the pieces that cells hand to merging.

Source of the format: Neuroglancer's "Precomputed skeleton" specification
(src/datasource/precomputed/skeletons.md). A :class:`Graph` has its vertices on voxels, as integers, so
that pieces of one object join exactly.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
TYPE = "neuroglancer_skeletons"
_COUNTS = struct.Struct("<II")


@dataclass(frozen=True)
class Graph:
    """``vertices`` [n, 3] int64 in voxels, ``edges`` [m, 2] uint32, ``radii`` [n] float32 in nm."""

    vertices: Array
    edges: Array
    radii: Array


def encode_piece(graph: Graph) -> bytes:
    """The bytes of a piece, deflated."""
    parts = (graph.vertices.astype("<i4"), graph.edges.astype("<u4"), graph.radii.astype("<f4"))
    counts = _COUNTS.pack(len(graph.vertices), len(graph.edges))
    return counts + zlib.compress(b"".join(p.tobytes() for p in parts), 6)


def decode_piece(data: bytes, where: str) -> Graph:
    """The graph that :func:`encode_piece` wrote; DataError, naming ``where``, for other bytes."""
    try:
        nv, ne = _COUNTS.unpack_from(data)
        body = zlib.decompress(data[_COUNTS.size :])
        if len(body) != 16 * nv + 8 * ne:
            raise ValueError(f"{len(body)} bytes for {nv} vertices and {ne} edges")
    except (struct.error, zlib.error, ValueError) as error:
        raise DataError(f"{where}: not a piece of a skeleton ({error}); forge this cell again") from error
    vertices = np.frombuffer(body, "<i4", 3 * nv).reshape(-1, 3).astype(np.int64)
    edges = np.frombuffer(body, "<u4", 2 * ne, 12 * nv).reshape(-1, 2)
    _check_edges(edges, nv, where)
    return Graph(vertices, edges, np.frombuffer(body, "<f4", nv, 12 * nv + 8 * ne))


def _check_edges(edges: Array, vertices: int, where: str) -> None:
    if len(edges) and int(edges.max()) >= vertices:
        raise DataError(f"{where}: a skeleton with edges beyond its {vertices} vertices; make it again")


def encode(vertices: Array, edges: Array, radii: Array) -> bytes:
    """A skeleton: ``vertices`` [n, 3] and ``radii`` [n] in nm, stored as float32, and ``edges`` [m, 2]."""
    parts = (vertices.astype("<f4"), edges.astype("<u4"), radii.astype("<f4"))
    return _COUNTS.pack(len(vertices), len(edges)) + b"".join(p.tobytes() for p in parts)


def decode(data: bytes, where: str) -> tuple[Array, Array, Array]:
    """Vertices [n, 3] in nm, edges [m, 2] and radii [n] in nm of a skeleton; DataError if it is none."""
    nv, ne = _COUNTS.unpack_from(data) if len(data) >= _COUNTS.size else (-1, -1)
    if len(data) != 8 + 16 * nv + 8 * ne:
        raise DataError(f"{where}: {len(data)} bytes are no skeleton of {nv} vertices and {ne} edges; merge it again")
    vertices = np.frombuffer(data, "<f4", 3 * nv, 8).reshape(-1, 3)
    edges = np.frombuffer(data, "<u4", 2 * ne, 8 + 12 * nv).reshape(-1, 2)
    _check_edges(edges, nv, where)
    return vertices, edges, np.frombuffer(data, "<f4", nv, 8 + 12 * nv + 8 * ne)


def info(mip: int) -> dict[str, Any]:
    """The ``info`` of a folder of skeletons, made from level ``mip``; vertices are in nm already."""
    return {
        "@type": TYPE,
        "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
        "vertex_attributes": [{"id": "radius", "data_type": "float32", "num_components": 1}],
        "mip": mip,
    }
