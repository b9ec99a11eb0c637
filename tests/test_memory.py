"""Every task stays within the memory that its stage declares, measured in a process of its own on real labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.ccl import Auto
from igneous_ng.stages.image_count import Count
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge
from igneous_ng.stages.skeleton import SkeletonForge
from tests.data import data
from tests.measuring import insist

SIDE = 160


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real labels as ``big``, and a corner of them as ``small`` to import every library before measuring."""
    folder = tmp_path_factory.mktemp("memory")
    with np.load(data("pinky40", "seg_mip1_16x16x40.npz")) as file:
        labels = file["labels"][128 : 128 + SIDE, 128 : 128 + SIDE, 128 : 128 + SIDE]
    for name, side in (("big", SIDE), ("small", 32)):
        np.save(folder / f"{name}.npy", labels[:side, :side, :side])
        create = {"source": f"{folder}/{name}.npy", "layer": f"{folder}/{name}", "kind": "segmentation", "axes": "xyz"}
        run.inline(Create(**create, resolution=(16, 16, 40), compress="none"))  # type: ignore[arg-type]
    return folder


def forge(cls: Any, layer: Path) -> Stage:
    stage: Stage = cls(layer=str(layer), cell=(SIDE, SIDE, SIDE), memory=20_000_000_000)
    run.plan(stage)
    stage.prepare(IO())
    return stage


def components(layer: Path, which: str) -> Stage:
    """A phase of ccl after those before it."""
    chain = Auto(source=str(layer), layer=f"{layer}-{which}", cell=(192, 192, 192))
    stages = list[Stage]()
    for stage in chain.steps(IO()):
        stages.append(stage)
        run.inline(stage)
    return stages[0 if which == "label" else -1]


def create(folder: Path, name: str) -> Stage:
    return Create(source=f"{folder}/{name}.npy", layer=f"{folder}/{name}", kind="segmentation", axes="xyz",
                  resolution=(16, 16, 40), compress="none")  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("which", ["create", "downsample", "mesh", "skeleton", "label", "relabel", "count"])
def test_a_task_takes_no_more_memory_than_it_declares(layers: Path, which: str) -> None:
    def stage(name: str) -> Stage:
        if which == "create":
            return create(layers, name)
        if which == "count":
            return Count(layer=str(layers / name), cell=(SIDE, SIDE, SIDE))
        if which in ("label", "relabel"):
            return components(layers / name, which)
        if which == "downsample":
            return Downsample(layer=str(layers / name), num_mips=2)
        return forge(MeshForge if which == "mesh" else SkeletonForge, layers / name)

    insist(which, *(stage(name) for name in ("big", "small")))
