"""A small layer with everything in it: components, levels, meshes of each format, skeletons, as files and in shards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stages.ccl import Auto
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge

SIDE = (16, 16, 16)
CELL = (32, 32, 32)


def labels() -> Any:
    """Bars along each axis, in two labels, which make eight components."""
    found = np.zeros((64, 48, 32), np.uint32)
    for n in range(4):
        found[2:60, 4 + 11 * n : 11 + 11 * n, 3:9] = 1 + n % 2
        found[4 + 14 * n : 11 + 14 * n, 3:45, 20:27] = 2 - n % 2
    return found


def make(folder: Path, sharded: bool = False) -> str:
    """The layer ``folder``/seg; a sharded level in place of the first, and no components, where that is asked."""
    np.save(folder / "labels.npy", labels())
    raw, layer = f"file://{folder}/raw", f"file://{folder}/seg"
    fields: dict[str, Any] = {"axes": "xyz", "kind": "segmentation", "resolution": (8, 8, 8), "chunk": SIDE}
    if sharded:
        fields |= {"sharded": True, "memory": 70_000_000}
    run.inline(Create(source=f"{folder}/labels.npy", layer=layer if sharded else raw, cell=CELL, **fields))
    if not sharded:
        for step in Auto(source=raw, layer=layer, cell=CELL).steps(IO()):
            run.inline(step)
    run.inline(Downsample(layer=layer, num_mips=2))
    formats: dict[str, Any] = {"mesh": "legacy", "multi": "multires", "shards": "sharded"}
    for name, form in formats.items():
        run.inline(MeshForge(layer=layer, dir=name, cell=CELL, buckets=2))
        run.inline(MeshMerge(layer=layer, dir=name, format=form))
    for name in ("skeletons", "packed"):
        run.inline(SkeletonForge(layer=layer, dir=name, cell=CELL, buckets=2, scale=2, const=20))
        run.inline(SkeletonMerge(layer=layer, dir=name, sharded=name == "packed"))
    return layer


class Snapshot:
    """A folder as it was, records and all, to begin from again."""

    def __init__(self, folder: Path, copy: Path) -> None:
        self.folder, self.copy = folder, copy
        shutil.copytree(folder, copy)

    def restore(self) -> None:
        """Make the folder what it was."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.copy, self.folder)


def files(folder: Path) -> dict[str, bytes]:
    """What is in a layer, but for what this program keeps for itself."""
    found = ((str(p.relative_to(folder)), p) for p in sorted(folder.rglob("*")) if p.is_file())
    return {name: p.read_bytes() for name, p in found if name.split("/")[0] not in ("runs", "provenance")}
