"""From a file of labels to a layer with mip levels, meshes and skeletons, scripted in Python.

    python examples/segmentation.py labels.npy ./data/seg --resolution 8 8 40
    python examples/segmentation.py labels.npy /shared/seg --queue fq:///shared/queue

A stage is built with the names that its command has; a wrong value is a SpecError at once. Each stage needs
what the one before it published, so they run one after the other. With a queue this program works on it
too, and any number of ``igneous-ng execute`` on the same queue help.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator

from igneous_ng import run
from igneous_ng.records import Run
from igneous_ng.stage import Stage
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from igneous_ng.worker.supervisor import Policy

log = logging.getLogger("segmentation")


def stages(source: str, layer: str, axes: str, resolution: tuple[float, float, float]) -> Iterator[Stage]:
    """The stages in their order; they all work on one layer."""
    yield Create(source=source, layer=layer, kind="segmentation", axes=axes, resolution=resolution)
    yield Downsample(layer=layer, num_mips=2)
    yield MeshForge(layer=layer)
    yield MeshMerge(layer=layer, dust=100)
    yield SkeletonForge(layer=layer)
    yield SkeletonMerge(layer=layer, dust=100)


def carry_out(stage: Stage, queue: str | None, processes: int) -> Run:
    """Run one stage to its end, here or through ``queue``; DeadLetters where some of it failed."""
    if queue is None:
        return run.here(stage, processes)
    ready = run.enqueue(stage, queue)
    run.execute(queue, Policy(processes=processes))  # ends when nothing waits and nobody holds a lease
    return ready


def main() -> None:
    """Read the command line and run the stages."""
    parser = argparse.ArgumentParser(description="Labels to mip levels, meshes and skeletons.")
    parser.add_argument("source", help="npy, npz, HDF5 or TIFF file of labels")
    parser.add_argument("layer", help="layer to make")
    parser.add_argument("--axes", default="zyx")
    parser.add_argument("--resolution", type=float, nargs=3, default=(8.0, 8.0, 40.0))
    parser.add_argument("--queue", help="fq://DIR or sqs://NAME; by default all runs in this process's children")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    x, y, z = given.resolution
    for stage in stages(given.source, given.layer, given.axes, (x, y, z)):
        done = carry_out(stage, given.queue, given.processes)
        log.info("%s: %d units, records in %s", stage.name, done.units, done.folder)


if __name__ == "__main__":
    main()
