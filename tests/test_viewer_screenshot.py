"""Pictures of layers that are built here byte by byte, and the command that serves them."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.errors import DataError, SpecError, TransientError
from igneous_ng.viewer import screenshot as camera
from igneous_ng.viewer.screenshot import ScreenshotUnavailable, write_png
from igneous_ng.viewer.view import client_folder, labels_to_show, serving, view

SIDE = 64
RESOLUTION = (8, 8, 8)
chromium = pytest.mark.skipif(
    shutil.which("chromium") is None or shutil.which("chromedriver") is None,
    reason="needs Debian's packages chromium and chromium-driver",
)


def write_volume(folder: Path, voxels: npt.NDArray[Any], kind: str, **extra: str) -> str:
    """A Precomputed layer of one raw chunk; returns its URL."""
    scale = {
        "key": "8_8_8",
        "size": voxels.shape,
        "chunk_sizes": [voxels.shape],
        "resolution": RESOLUTION,
        "encoding": "raw",
    }
    info = {"type": kind, "data_type": voxels.dtype.name, "num_channels": 1, "scales": [scale], **extra}
    (folder / "8_8_8").mkdir(parents=True)
    (folder / "info").write_text(json.dumps(info))
    name = "_".join(f"0-{n}" for n in voxels.shape)
    (folder / "8_8_8" / name).write_bytes(voxels.tobytes("F"))
    return f"file://{folder}"


def image_layer(folder: Path) -> str:
    """Bright everywhere, so that a gray pixel of this brightness can only be this image."""
    return write_volume(folder, np.full((SIDE, SIDE, SIDE), 200, np.uint8), "image")


def octahedron(radius: float, centre: float) -> bytes:
    """A legacy mesh: count of vertices, vertices in nm, triangles."""
    axes = np.eye(3, dtype=np.float32)
    vertices = np.vstack([axes, -axes]) * np.float32(radius) + np.float32(centre)
    faces = [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)]
    return struct.pack("<I", 6) + vertices.tobytes() + np.array(faces, "<u4").tobytes()


def write_mesh(folder: Path, label: int, fragment: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{label}:0").write_text(json.dumps({"fragments": [f"{label}:0:all"]}))
    (folder / f"{label}:0:all").write_bytes(fragment)


def write_skeleton(folder: Path, label: int) -> None:
    """A straight line along z through the volume, off its middle."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "info").write_text(json.dumps({"@type": "neuroglancer_skeletons"}))
    vertices = np.array([(60, 60, 0), (60, 60, 500)], "<f4")
    (folder / str(label)).write_bytes(
        struct.pack("<II", 2, 1) + vertices.tobytes() + np.array([(0, 1)], "<u4").tobytes()
    )


def segmentation_layer(folder: Path, *, mesh: bool = True, skeleton: bool = True) -> str:
    """Label 7 is a cube in the middle, label 9 fills one side; 7 has a mesh and a skeleton."""
    labels = np.zeros((SIDE, SIDE, SIDE), np.uint64)
    labels[16:48, 16:48, 16:48] = 7
    labels[:, :8, :] = 9
    extra = {key: key for key, wanted in (("mesh", mesh), ("skeletons", skeleton)) if wanted}
    url = write_volume(folder, labels, "segmentation", **extra)
    if mesh:
        write_mesh(folder / "mesh", 7, octahedron(240.0, 256.0))
    if skeleton:
        write_skeleton(folder / "skeletons", 7)
    return url
