"""Supervoxels and their graph: millions of voxels in a CPU second, and memory, beside a watershed of SciPy.

The affinities are those of real tissue: of a stack, smoothed, with the darker of two voxels as the boundary between
them; and of a segmentation, whose objects are sure inside and not at their borders, blurred and with noise. First both
kernels alone, on all voxels at once, and `scipy.ndimage.watershed_ift` from the maxima of the same stack; then both
commands, with start, reading, and writing, in one process; their memory is above what the same program holds when it
only shows its help.

usage: python bench/segment_watershed.py STACK.npz LABELS.npz

STACK.npz has `em`, uint8 (z, y, x), such as FIB-25; LABELS.npz has `labels`, (x, y, z), such as PINKY40.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from image import OURS, Cost, measured
from scipy import ndimage

from igneous_ng.formats.info import IMAGE, new_info
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import region_graph, watershed

Array = npt.NDArray[Any]
LIMITS = watershed.limits(0.01, 0.99)
DARK, BRIGHT = 60, 180  # grey values of boundary and of cytoplasm
CROP = 256
NOISE = 12.0


def grey(path: str) -> Array:
    """The stack, uint8 [x, y, z]: 255 is sure not to be boundary."""
    em = ndimage.gaussian_filter(np.load(path)["em"].T.astype(np.float32), 1)
    return np.asfortranarray(np.clip((em - DARK) * (255 / (BRIGHT - DARK)), 0, 255).astype(np.uint8))


def of_grey(sure: Array) -> Array:
    """Affinities: a face is as sure as the less sure of its voxels."""
    return _faces(sure.shape, lambda axis: np.minimum(_after(sure, axis), _before(sure, axis)))


def of_labels(path: str) -> Array:
    """Affinities: 255 inside of objects and 0 between them, blurred, with noise."""
    labels, rng = np.load(path)["labels"][:CROP, :CROP, :CROP], np.random.default_rng(0)

    def values(axis: int) -> Array:
        same = 255 * (_after(labels, axis) == _before(labels, axis)).astype(np.float32)
        blurred = ndimage.gaussian_filter(same, 1)
        noise = ndimage.gaussian_filter(rng.standard_normal(same.shape, np.float32), 1) * (4 * NOISE)
        return np.clip(blurred + noise, 0, 255).astype(np.uint8)

    return _faces(labels.shape, values)


def _faces(shape: tuple[int, ...], values: Callable[[int], Array]) -> Array:
    found = np.zeros((*shape, 3), np.uint8, order="F")
    for axis in range(3):
        _after(found[..., axis], axis)[...] = values(axis)
    return found


def _after(array: Array, axis: int) -> Array:
    return array[tuple(slice(1, None) if a == axis else slice(None) for a in range(3))]


def _before(array: Array, axis: int) -> Array:
    return array[tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the least CPU seconds of three times."""
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        found = work()
        seconds.append(time.process_time() - begin)
    return found, min(seconds)


def kernels(name: str, aff: Array) -> None:
    """Both kernels on the whole volume."""
    around = np.pad(aff, [(2, 2), (2, 2), (2, 2), (0, 0)])
    around, behind = np.asfortranarray(around), np.asfortranarray(around[1:, 1:, 1:])
    bounds = Box((0, 0, 0), vec(aff.shape[:3]))
    basins, first = timed(lambda: watershed.basins(behind, LIMITS, 0))
    ids = np.empty(bounds.shape, np.uint64, order="F")
    basins.paint(0, ids)
    regions = region_graph.Regions(1, len(basins.size), [ids])
    edges, second = timed(lambda: region_graph.edges(around, regions, LIMITS, bounds, bounds, False))
    speeds = [bounds.voxels / 1e6 / seconds for seconds in (first, second, first + second)]
    count = len(basins.size)
    print(f"{name}: {count:,} supervoxels of {basins.size.mean():.0f} voxels, {len(edges['u']) / count:.1f} edges each")
    print("  MVx per CPU second: watershed {:.0f}, graph {:.0f}, both {:.0f}".format(*speeds), flush=True)


def scipys(sure: Array) -> None:
    """The watershed of SciPy from the maxima of the stack."""

    def flood() -> Array:
        peaks, _ = ndimage.label(sure == ndimage.maximum_filter(sure, 3))
        found: Array = ndimage.watershed_ift(255 - sure, peaks.astype(np.int32))
        return found

    found, seconds = timed(flood)
    print(f"  scipy.ndimage.watershed_ift: {found.max():,} basins, {sure.size / 1e6 / seconds:.2f} MVx per CPU second")


def commands(aff: Array, leaf: Vec3) -> None:
    """Both stages on a layer."""
    with tempfile.TemporaryDirectory() as folder:
        io, source, layer = IO(), f"file://{folder}/aff", f"file://{folder}/sv"
        bounds = Box((0, 0, 0), vec(aff.shape[:3]))
        info = new_info(kind=IMAGE, dtype="uint8", channels=3, bounds=bounds, resolution=(8, 8, 8), chunk=(64, 64, 64),
                        encoding="raw")  # fmt: skip
        io.create_layer(source, info)
        io.write(io.volume(source, 0), bounds, aff)
        base = measured([*OURS, "--help"])
        size = ",".join(map(str, leaf))
        row("segment watershed", measured([*OURS, "segment", "watershed", source, layer, "--leaf", size]), base, bounds)
        row("segment graph", measured([*OURS, "segment", "graph", layer]), base, bounds)


def row(name: str, cost: Cost, base: Cost, bounds: Box) -> None:
    """What a command took beyond its start."""
    speed = bounds.voxels / 1e6 / (cost.cpu - base.cpu)
    memory = (cost.peak - base.peak) / bounds.voxels
    print(f"  {name}: {cost.cpu:.1f} CPU s, {speed:.1f} MVx per CPU second, {memory:.0f} bytes a voxel", flush=True)


def main(stack: str, labels: str) -> None:
    """All of it."""
    sure = grey(stack)
    kernels("stack", of_grey(sure))
    scipys(sure)
    aff = of_labels(labels)
    kernels("segmentation", aff)
    commands(aff, (CROP, CROP, CROP))


if __name__ == "__main__":
    main(*sys.argv[1:])
