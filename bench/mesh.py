"""Meshes beside Igneous: forging and merging on the same volume and machine, in turn; CPU and wall seconds, and memory.

Memory is the peak of the sum over all processes of a command, above what the same program holds when it only shows its
help. Then both simplifiers alone, on the same objects: time, what stays closed, and how far surfaces lie apart.

usage: python bench/mesh.py IGNEOUS LABELS.npy [SIDE ...]

LABELS.npy is (x, y, z), in Fortran order, for segmentations; SIDE, by default 512, the voxels of a cube of it. IGNEOUS
is the program of another environment; see bench/image.py, which must lie beside this file.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from image import OURS, Cost, measured

from igneous_ng.kernels import meshing
from igneous_ng.native.distance import distances

Array = npt.NDArray[Any]
RESOLUTION = (16, 16, 40)
SIZE = ["--resolution", "16,16,40"]
CELL = "256,256,256"
ERROR, REDUCTION = 40.0, 100.0
OBJECTS, SAMPLES, REACH = 60, 4000, 1000.0


def row(name: str, ours: Cost, theirs: Cost, base: tuple[float, float]) -> None:
    """A row of the table."""
    memory = [(cost.peak - low) / 1e6 for cost, low in zip((ours, theirs), base, strict=True)]
    print(
        f"| {name} | {ours.cpu:.1f} / {theirs.cpu:.1f} = {theirs.cpu / ours.cpu:.1f}x "
        f"| {ours.wall:.1f} / {theirs.wall:.1f} = {theirs.wall / ours.wall:.1f}x "
        f"| {memory[0]:.0f} / {memory[1]:.0f} = {memory[1] / max(memory[0], 1):.1f}x |",
        flush=True,
    )


def commands(igneous: str, labels: str, side: int) -> None:
    """Forge and merge, both programs in turn."""
    with tempfile.TemporaryDirectory() as name:
        part = f"{name}/part.npy"
        np.save(part, np.asfortranarray(np.load(labels, mmap_mode="r")[:side, :side, :side]))
        base = tuple(statistics.median(measured([*p, "--help"]).peak for _ in range(3)) for p in (OURS, [igneous]))
        layer = f"file://{name}/layer"
        shape = ["--axes", "xyz", *SIZE, "--chunk", "64,64,64", "--encoding", "compressed_segmentation"]
        measured([*OURS, "image", "create", part, layer, "--kind", "segmentation", *shape])
        shutil.copytree(f"{name}/layer", f"{name}/theirs")
        other = f"file://{name}/theirs"
        forge = (
            measured([*OURS, "mesh", "forge", layer, "--cell", CELL]),
            measured([igneous, "mesh", "forge", other, "--shape", CELL, "--sharded"]),
        )
        row(f"mesh forge, {side}^3", *forge, base)
        merge = (
            measured([*OURS, "mesh", "merge", layer, "--format", "sharded", "--levels", "2"]),
            measured([igneous, "mesh", "merge-sharded", other, "--nlod", "2"]),
        )
        row(f"mesh merge, {side}^3, shards of two levels", *merge, base)
        both = [Cost(f.cpu + m.cpu, f.wall + m.wall, max(f.peak, m.peak)) for f, m in zip(forge, merge, strict=True)]
        row(f"both, {side}^3", both[0], both[1], base)


def simplifiers(labels: str) -> None:
    """Both simplifiers on the same objects, and what they leave."""
    import zmesh

    part = np.asfortranarray(np.load(labels, mmap_mode="r")[128:384, 128:384, 128:384])
    mesher = zmesh.Mesher(RESOLUTION)
    mesher.mesh(part, close=True)
    ends = (True, True, True)
    x, y, z = part.shape
    found = [f for f in meshing.march(part, (0, 0, 0), (x, y, z), ends, ends) if f.triangles > 2000]
    chosen = [found[k] for k in np.random.default_rng(0).choice(len(found), OBJECTS, replace=False)]
    whole = {f.label: meshing.join([f.piece]) for f in chosen}
    nm = {label: (vertices * (np.array(RESOLUTION) / 2), faces) for label, (vertices, faces) in whole.items()}
    begin = time.process_time()
    ours = {label: meshing.simplify(*mesh, ERROR, REDUCTION) for label, mesh in nm.items()}
    middle = time.process_time()
    theirs = {
        label: mesher.get(label, reduction_factor=int(REDUCTION), max_error=int(ERROR), voxel_centered=True)
        for label in nm
    }
    end = time.process_time()
    shift = np.array(RESOLUTION)  # zmesh counts from the corner of the background it adds
    report("ours", middle - begin, ours, nm)
    report("zmesh", end - middle, {k: (m.vertices - shift, m.faces) for k, m in theirs.items()}, nm)


def report(name: str, cpu: float, made: dict[int, tuple[Array, Array]], whole: dict[int, tuple[Array, Array]]) -> None:
    """Time, triangles, what is closed, and distances from the whole meshes to the simplified ones."""
    import trimesh

    meshes = {label: trimesh.Trimesh(*mesh, process=False) for label, mesh in made.items()}
    closed = sum(bool(mesh.is_watertight) for mesh in meshes.values())
    far = []
    for label, mesh in made.items():
        points = whole[label][0][:: max(1, len(whole[label][0]) // SAMPLES)]
        there = distances(points, *mesh, REACH)
        back = distances(meshes[label].sample(SAMPLES, seed=0), *whole[label], REACH)
        far.append((there.mean(), np.percentile(there, 95), there.max(), back.max()))
    mean, most, worst, back_worst = np.array(far).T
    print(
        f"| {name} | {cpu:.2f} | {sum(len(mesh[1]) for mesh in made.values()):,} | {closed} of {len(made)} "
        f"| {np.median(mean):.1f} | {np.median(most):.1f} | {worst.max():.1f} / {back_worst.max():.1f} |"
    )


def main(igneous: str, labels: str, *sides: str) -> None:
    """Print the tables."""
    print(
        "| simplifier | CPU s | triangles | closed | mean nm | 95 % nm | worst nm, there / back |\n"
        + "| --- " * 7
        + "|"
    )
    simplifiers(labels)
    print("\n| step | CPU s, ours / Igneous | wall s | MB |\n" + "| --- " * 4 + "|")
    for side in sides or ("512",):
        commands(str(Path(igneous).absolute()), labels, int(side))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
