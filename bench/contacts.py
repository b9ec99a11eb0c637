"""Contacts of segments: how fast the kernel is, beside cc3d, and what a whole run takes and finds.

usage: python bench/contacts.py LABELS.npz X,Y,Z [FOLDER]

LABELS.npz has labels [x, y, z], or [z, y, x] where they are in C order, of voxels of X, Y, Z nm. With FOLDER the run is
made there, in this process, through a layer.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import cc3d
import numpy as np

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.kernels import faces
from igneous_ng.kernels.crofton import measure
from igneous_ng.stages.graph_contacts import Contacts
from igneous_ng.stages.image_create import Create

SIDE = 256
REPEATS = 3


def least(call: Any) -> float:
    """The least CPU seconds of several."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def kernel(labels: Any, resolution: Any) -> None:
    for kind in (np.uint32, np.uint64):
        part = np.asfortranarray(labels[:SIDE, :SIDE, :SIDE].astype(kind))
        place = faces.Place((0, 0, 0), part.shape)
        calls = {
            "faces.found, 13 directions": lambda part=part, place=place: faces.found(
                part, place, measure(resolution), 1 << 24
            ),
            "cc3d.contacts, 6 neighbours": lambda part=part: cc3d.contacts(part, connectivity=6),
            "cc3d.contacts, 26 neighbours": lambda part=part: cc3d.contacts(part, connectivity=26),
        }
        for name, call in calls.items():
            print(f"{np.dtype(kind).name:8} {name:30} {part.size / least(call) / 1e6:8.1f} MVx/s/core")


def whole(labels: Any, resolution: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "labels.npy", labels)
    run.inline(Create(source=f"{folder}/labels.npy", layer=f"{folder}/segments", kind="segmentation", axes="xyz",
                      resolution=resolution, encoding="compressed_segmentation"))  # fmt: skip
    for stage in Contacts(segmentation=f"{folder}/segments", graph=f"{folder}/graph", parts=4).steps(IO()):
        start = time.process_time()
        run.inline(stage)
        took = time.process_time() - start
        print(
            f"{stage.name:14} {took:6.1f} CPU s, {labels.size / took / 1e6:8.1f} MVx/s, {len(stage.units(IO()))} units"
        )
    print(stage.said(IO()))


def main() -> None:
    with np.load(sys.argv[1]) as file:
        labels = file["labels"]
    if not labels.flags.f_contiguous:
        labels = labels.T
    resolution = tuple(float(side) for side in sys.argv[2].split(","))
    print(f"{labels.shape} {labels.dtype}, {len(np.unique(labels))} labels")
    kernel(labels, resolution)
    if len(sys.argv) > 3:
        whole(labels, resolution, Path(sys.argv[3]).absolute())


if __name__ == "__main__":
    main()
