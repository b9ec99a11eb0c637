"""Skeletons as bytes: Neuroglancer's precomputed format, and the pieces that cells hand to merging.

Source of the format: Neuroglancer's "Precomputed skeleton" specification
(src/datasource/precomputed/skeletons.md). The vertices of a piece lie on voxels, as integers, so that pieces of one
object join exactly.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.formats.sharding import Spec

Array = npt.NDArray[Any]
TYPE = "neuroglancer_skeletons"
ATTRIBUTES = {"radius": "<f4", "vertex_types": "<u1", "cross_sectional_area": "<f4"}
"""What a vertex may have, in the order in which it is stored, and how pieces store it: radius in nm, the type of a node
in SWC, and the area of the cut across in nm^2, negative where it was not seen whole, 0 where it was not measured."""
_DTYPES = {
    "float32": "<f4",
    "int8": "<i1",
    "uint8": "<u1",
    "int16": "<i2",
    "uint16": "<u2",
    "int32": "<i4",
    "uint32": "<u4",
}
_HEAD = struct.Struct("<III")
_COUNTS = struct.Struct("<II")


@dataclass(frozen=True)
class Graph:
    """``vertices`` [n, 3], ``edges`` [m, 2] uint32, and attributes of vertices by name, [n] or [n, components]."""

    vertices: Array
    edges: Array
    attributes: Mapping[str, Array]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.vertices.nbytes + self.edges.nbytes + sum(a.nbytes for a in self.attributes.values())


def encode_piece(graph: Graph) -> bytes:
    """The bytes of a piece, with vertices in voxels, deflated; of attributes it may have :data:`ATTRIBUTES`."""
    names = [name for name in ATTRIBUTES if name in graph.attributes]
    parts = [graph.vertices.astype("<i4"), graph.edges.astype("<u4")]
    parts += [graph.attributes[name].astype(ATTRIBUTES[name]) for name in names]
    mask = sum(1 << i for i, name in enumerate(ATTRIBUTES) if name in names)
    counts = _HEAD.pack(len(graph.vertices), len(graph.edges), mask)
    return counts + zlib.compress(b"".join(p.tobytes() for p in parts), 6)


def decode_piece(data: bytes, where: str) -> Graph:
    """The graph that :func:`encode_piece` wrote; DataError, naming ``where``, for other bytes."""
    try:
        nv, ne, mask = _HEAD.unpack_from(data)
        body = zlib.decompress(data[_HEAD.size :])
        names = {name: dtype for i, (name, dtype) in enumerate(ATTRIBUTES.items()) if mask >> i & 1}
        if len(body) != 12 * nv + 8 * ne + sum(np.dtype(d).itemsize for d in names.values()) * nv:
            raise ValueError(f"{len(body)} bytes for {nv} vertices and {ne} edges")
    except (struct.error, zlib.error, ValueError) as error:
        raise DataError(f"{where}: not a piece of a skeleton ({error}); forge this cell again") from error
    vertices = np.frombuffer(body, "<i4", 3 * nv).reshape(-1, 3).astype(np.int64)
    graph = Graph(vertices, *_rest(body, nv, ne, {name: (dtype, 1) for name, dtype in names.items()}))
    _check_edges(graph, where)
    return graph


def _rest(body: bytes, nv: int, ne: int, attributes: Mapping[str, tuple[str, int]]) -> tuple[Array, dict[str, Array]]:
    """Edges and attributes, which follow the positions, of three words each."""
    at = 12 * nv
    edges = np.frombuffer(body, "<u4", 2 * ne, at).reshape(-1, 2)
    at, found = at + 8 * ne, {}
    for name, (dtype, width) in attributes.items():
        values = np.frombuffer(body, dtype, width * nv, at)
        found[name] = values if width == 1 else values.reshape(-1, width)
        at += values.nbytes
    return edges, found


def _check_edges(graph: Graph, where: str) -> None:
    if len(graph.edges) and int(graph.edges.max()) >= len(graph.vertices):
        raise DataError(f"{where}: a skeleton with edges beyond its {len(graph.vertices)} vertices; make it again")


def encode(graph: Graph) -> bytes:
    """A skeleton, its vertices in nm, its attributes in their order, all as float32: Neuroglancer draws no other."""
    attributes = (values.astype("<f4") for values in graph.attributes.values())
    parts = [graph.vertices.astype("<f4"), graph.edges.astype("<u4"), *attributes]
    return _COUNTS.pack(len(graph.vertices), len(graph.edges)) + b"".join(p.tobytes() for p in parts)


def decode(data: bytes, where: str, attributes: Sequence[Mapping[str, Any]]) -> Graph:
    """A skeleton, with vertices in nm; DataError if ``data`` is none with ``attributes``, as ``info`` names them."""
    try:
        wanted = {a["id"]: (_DTYPES[a["data_type"]], int(a["num_components"])) for a in attributes}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: its info names attributes that no skeleton can have ({error!r})") from error
    nv, ne = _COUNTS.unpack_from(data) if len(data) >= _COUNTS.size else (-1, -1)
    if len(data) != 8 + 12 * nv + 8 * ne + nv * sum(np.dtype(d).itemsize * n for d, n in wanted.values()):
        raise DataError(f"{where}: {len(data)} bytes are no skeleton of {nv} vertices and {ne} edges; merge it again")
    body = data[_COUNTS.size :]
    graph = Graph(np.frombuffer(body, "<f4", 3 * nv).reshape(-1, 3), *_rest(body, nv, ne, wanted))
    _check_edges(graph, where)
    return graph


def points(graph: Graph, info: Mapping[str, Any]) -> Array:
    """The vertices of a skeleton in nm, float64 [n, 3], moved as the ``info`` of its folder says."""
    move = np.array(info.get("transform", np.eye(3, 4).ravel()), float).reshape(3, 4)
    at = graph.vertices.astype(np.float64)
    return np.stack([sum(at[:, k] * row[k] for k in range(3)) + row[3] for row in move], axis=1)


def info(
    mip: int, attributes: Sequence[str] = ("radius", "vertex_types"), sharding: Spec | None = None
) -> dict[str, Any]:
    """The ``info`` of a folder of skeletons, made from level ``mip``; vertices are in nm already."""
    described = [{"id": name, "data_type": "float32", "num_components": 1} for name in ATTRIBUTES if name in attributes]
    shards = {} if sharding is None else {"sharding": sharding.to_json()}
    return {
        "@type": TYPE,
        "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
        "vertex_attributes": described,
        "mip": mip,
        **shards,
    }
