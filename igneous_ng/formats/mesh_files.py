"""Meshes as files for other programs: Wavefront OBJ, PLY and binary glTF.

Sources of the formats: Wavefront's "Object Files" (appendix B1), Turk's "The PLY Polygon File Format" (1994), Khronos'
glTF 2.0. Coordinates are nanometres in OBJ and PLY, metres in glTF, which knows no other unit.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FORMATS = ("obj", "ply", "glb")
_METRES = 1e-9
_FLOAT, _UINT, _ARRAY, _ELEMENTS = 5126, 5125, 34962, 34963  # glTF's numbers for types and targets


def encode(vertices: Array, faces: Array, format: str) -> bytes:
    """A file of ``format``, one of :data:`FORMATS`: ``vertices`` [n, 3] in nm and ``faces`` [m, 3]."""
    return {"obj": _obj, "ply": _ply, "glb": _glb}[format](vertices, faces)


def _obj(vertices: Array, faces: Array) -> bytes:
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in vertices.tolist()]
    lines += [f"f {a} {b} {c}\n" for a, b, c in (faces.astype(np.int64) + 1).tolist()]
    return "".join(lines).encode()


def _ply(vertices: Array, faces: Array) -> bytes:
    head = (
        f"ply\nformat binary_little_endian 1.0\ncomment nanometres\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar uint vertex_indices\nend_header\n"
    )
    rows = np.zeros(len(faces), np.dtype([("count", "u1"), ("corners", "<u4", 3)]))
    rows["count"], rows["corners"] = 3, faces
    return head.encode() + vertices.astype("<f4").tobytes() + rows.tobytes()


def _glb(vertices: Array, faces: Array) -> bytes:
    """The origin is the node's translation: single precision then suffices for what is small and far away."""
    origin = vertices.min(axis=0) if len(vertices) else np.zeros(3)
    points = ((vertices - origin) * _METRES).astype("<f4")
    corners = faces.astype("<u4")
    body = points.tobytes() + corners.tobytes()
    views = [
        {"buffer": 0, "byteOffset": 0, "byteLength": points.nbytes, "target": _ARRAY},
        {"buffer": 0, "byteOffset": points.nbytes, "byteLength": corners.nbytes, "target": _ELEMENTS},
    ]
    ends = {key: getattr(points, key)(axis=0).tolist() for key in ("min", "max")} if len(points) else {}
    accessors = [
        {"bufferView": 0, "componentType": _FLOAT, "count": len(points), "type": "VEC3", **ends},
        {"bufferView": 1, "componentType": _UINT, "count": corners.size, "type": "SCALAR"},
    ]
    scene = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "translation": (origin * _METRES).tolist()}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"byteLength": len(body)}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    parts = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(parts)) + parts
