"""Every task of `synapse detect` stays within the memory that it declares, measured in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stage import Layer, Stage
from igneous_ng.stages.synapse_detect import Detect
from tests.layers import create
from tests.measuring import insist

SIDE = 192


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Far more clefts than any tissue has, in float32, segments; and a corner of them to import every library."""
    folder = tmp_path_factory.mktemp("memory")
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).random((SIDE,) * 3).astype(np.float32), 1)
    array = np.interp(smooth, [smooth.min(), smooth.max()], [0, 1]).astype(np.float32)[..., None]
    segments = (np.indices((SIDE,) * 3).sum(axis=0) // 9).astype(np.uint64)[..., None]
    for name, side in (("big", SIDE), ("small", 32)):
        part = (slice(side),) * 3
        create(folder / name, array[part], (0, 0, 0), (64, 64, 64))
        create(folder / f"{name}-segments", segments[part], (0, 0, 0), (64, 64, 64), kind="segmentation")
    return folder


def phase(folder: Path, name: str, which: str, split: bool) -> Stage:
    """A phase after those before it."""
    segments = Layer.parse(f"{folder}/{name}-segments") if split else None
    layer = f"{folder}/{name}-{which}-{split}"
    cell = (96, 96, 96) if which == "join" else (SIDE,) * 3
    stages = {}
    for stage in Detect(evidence=f"{folder}/{name}", layer=layer, cell=cell, threshold=0.6, split_by=segments).steps(
        IO()
    ):
        stages[stage.name.split()[1]] = stage
        run.inline(stage)
    return stages[which]


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize(("which", "split"), [("label", False), ("label", True), ("join", True), ("relabel", True)])
def test_a_task_takes_no_more_memory_than_it_declares(layers: Path, which: str, split: bool) -> None:
    insist(which, *(phase(layers, name, which, split) for name in ("big", "small")))
