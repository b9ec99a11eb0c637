"""Skeletons beside Igneous: the same labels, cells and machine, runs in turn; CPU and wall seconds, and memory.

Memory is the peak of the sum over all processes of a command. Igneous is a program of another environment:
`python -m venv ig && ig/bin/pip install igneous-pipeline`. Ours alone is also run on larger and larger crops.

usage: python bench/skeleton.py IGNEOUS LABELS.npy [SIDE [CELL]]

LABELS.npy is (x, y, z), in Fortran order, of 16 x 16 x 40 nm. SIDE is that of the crop that both do, 256, and CELL
that of a task, 128. SIDE 0 leaves Igneous out.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from image import Cost, measured

OURS = [sys.executable, "-m", "igneous_ng.cli"]
TEASAR = ["--scale", "1.5", "--const", "300"]


def crop(source: str, side: int, folder: Path) -> str:
    """The middle of the labels as a layer."""
    labels = np.load(source, mmap_mode="r")
    part = tuple(slice((n - side) // 2, (n - side) // 2 + side) for n in labels.shape)
    np.save(folder / "crop.npy", np.asfortranarray(labels[part]))
    layer = str(folder / f"layer{side}")
    shape = ["--axes", "xyz", "--resolution", "16,16,40", "--chunk", "64,64,64"]
    create = ["image", "create", str(folder / "crop.npy"), layer, "--kind", "segmentation", *shape]
    measured([*OURS, *create, "--encoding", "compressed_segmentation"])
    return f"file://{layer}"


def ours(layer: str, cell: int) -> list[Cost]:
    """Forging and merging."""
    size = ["--cell", f"{cell},{cell},{cell}", "--memory", "20000000000"]
    forged = measured([*OURS, "skeleton", "forge", layer, *TEASAR, *size])
    return [forged, measured([*OURS, "skeleton", "merge", layer, "--sharded"])]


def theirs(igneous: str, layer: str, cell: int) -> list[Cost]:
    """The same, in shards as well, with every object however small."""
    shape = ["--shape", f"{cell},{cell},{cell}", "--dust-threshold", "0", "--sharded"]
    soma = ["--soma-detect", "750", "--soma-accept", "3500", "--soma-scale", "2", "--soma-const", "300"]
    forged = measured([igneous, "skeleton", "forge", layer, *TEASAR, *soma, *shape])
    merge = ["skeleton", "merge-sharded", layer, "--min-cable-length", "0", "--tick-threshold", "0"]
    return [forged, measured([igneous, *merge])]


def main(igneous: str, labels: str, side: str = "256", cell: str = "128") -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if int(side):
            layer = crop(labels, int(side), folder)
            mine = ours(layer, int(cell))
            shutil.rmtree(folder / f"layer{side}" / "skeletons")
            other = theirs(igneous, layer, int(cell))
            print(f"{side}^3 voxels in cells of {cell}^3; ours / Igneous\n| step | CPU s | wall s | peak MB |")
            for step, a, b in zip(("forge", "merge"), mine, other, strict=True):
                print(
                    f"| {step} | {a.cpu:.1f} / {b.cpu:.1f} = {b.cpu / a.cpu:.1f}x | {a.wall:.1f} / {b.wall:.1f} "
                    f"| {a.peak / 1e6:.0f} / {b.peak / 1e6:.0f} |"
                )
        print("ours\n| voxels | cell | forge, CPU s | merge, CPU s | peak MB |")
        for size, of_task in ((128, 128), (256, 256), (512, 256), (512, 512)):
            forged, merged = ours(crop(labels, size, folder), of_task)
            shutil.rmtree(folder / f"layer{size}")
            print(f"| {size}^3 | {of_task}^3 | {forged.cpu:.1f} | {merged.cpu:.1f} | {forged.peak / 1e6:.0f} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
