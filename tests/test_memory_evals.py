"""Steps of an evaluation stay within the memory that they declare, measured as in `test_memory`, on real labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.eval_segmentation import EvalSegmentation
from tests.data import data
from tests.layers import create
from tests.measuring import insist

SIDE = 192


def evaluated(folder: Path, name: str, side: int, which: int) -> Stage:
    """The step of this number of an evaluation of real labels against themselves, split and merged."""
    with np.load(data("pinky40", "seg_mip1_16x16x40.npz")) as file:
        labels = np.asfortranarray(file["labels"][:side, :side, :side])
    for what, array in (("truth", labels), ("segments", labels // 3 * 2 + (np.arange(side) // 64).astype("uint32"))):
        create(folder / f"{name}.{what}", array[..., None], (0, 0, 0), (64, 64, 64), kind="segmentation")
    chain = EvalSegmentation(segmentation=f"{folder}/{name}.segments", truth=f"{folder}/{name}.truth",
                             layer=f"{folder}/{name}.errors", cell=(side, side, side), border=12.0)  # fmt: skip
    stages = list[Stage]()
    for stage in chain.steps(IO()):
        stages.append(stage)
        run.inline(stage)
    return stages[which]


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("which", [0, 1, -2, -1])
def test_a_step_takes_no_more_memory_than_it_declares(tmp_path: Path, which: int) -> None:
    insist(which, *(evaluated(tmp_path, name, side, which) for name, side in (("big", SIDE), ("small", 32))))
