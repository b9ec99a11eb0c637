"""Rendering a volume stays within the memory that it declares, measured in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.alignment import Rough
from igneous_ng.io import IO
from igneous_ng.stage import Layer, Stage
from igneous_ng.stages.align_render import AlignRender
from tests import alignments
from tests.alignments import begun, stack
from tests.measuring import insist
from tests.sections import Shot, build, shifted

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")
TURNED = np.array([[0.8, -0.6], [0.6, 0.8]])
CASES: dict[str, dict[str, Any]] = {
    "one section": {"size": 3000},
    "turned": {"size": 3000, "matrix": TURNED},
    "many nodes": {"size": 1500, "step": 4},
    "little memory": {"size": 2000, "memory": 40_000_000},
    "deep chunks": {"size": 700, "depth": 32, "chunk": (64, 64, 32)},
    "colours of 16 bit": {"size": 1400, "dtype": "uint16", "channels": 3},
    "labels": {"size": 1500, "pick": "nearest"},
    "tiles": {"size": 1500, "montage": True, "matrix": TURNED},
}


def staged(
    folder: Path, size: int, depth: int = 1, dtype: str = "uint8", channels: int = 1, step: int = 64, **more: Any
) -> Stage:
    noise = np.random.default_rng(0).integers(0, 255, (size, size, depth, channels)).astype(dtype)
    layer = stack(folder / "stack", np.asfortranarray(noise))
    matrix = more.pop("matrix", np.eye(2))
    made = begun(f"file://{folder}/a", layer, [Rough(matrix, np.array([3.3, 4.4]), source=z) for z in range(depth)])
    shape = made.new_round(IO(), 1, 0, step).box.shape
    alignments.fields(made, 1, step, "inverse", np.random.default_rng(1).normal(0, 1, (*shape, 2)))
    if more.pop("montage", False):
        side = size // 3
        shots = [Shot(noise[:side, :side, 0], shifted((side, side), n % 4 * side * 0.8, n // 4 * side * 0.8 + 0.3))
                 for n in range(16)]  # fmt: skip
        more["montage"] = Layer.parse(build(folder / "montage", {0: shots}, pixel=8.0))
    fields = {"chunk": (256, 256, 1), "num_mips": 2, "unchecked": True, **more}
    stage = AlignRender(alignment=made.home, layer=f"file://{folder}/layer", **fields)
    run.plan(stage)
    stage.prepare(IO())
    return stage


@pytest.mark.parametrize("which", CASES)
def test_a_task_takes_no_more_memory_than_it_declares(tmp_path: Path, which: str) -> None:
    fields = CASES[which]
    small = {**fields, "size": 90, "memory": 3_000_000_000}
    insist(which, *(staged(tmp_path / name, **one) for name, one in (("big", fields), ("small", small))))
