"""Rendering stays within the memory that it declares, measured in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.stitch_render import Render
from tests.measuring import insist
from tests.sections import Shot, build, shifted

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")
CASES: dict[str, dict[str, Any]] = {
    "few overlaps": {"step": 900, "size": 1000, "count": 4},
    "little memory": {"step": 900, "size": 1000, "count": 4, "memory": 60_000_000},
    "many overlaps": {"step": 150, "size": 500, "count": 10},
    "one large tile": {"step": 1, "size": 3000, "count": 1},
    "colours of 16 bit": {"step": 700, "size": 900, "count": 3, "dtype": "uint16", "channels": 3},
}


def staged(
    folder: Path, size: int, step: int, count: int, dtype: str = "uint8", channels: int = 1, **more: Any
) -> Stage:
    noise = np.random.default_rng(0).integers(0, 255, (size, size, channels)).astype(dtype)
    shots = [Shot(noise, shifted((size, size), n % count * step, n // count * step + 0.3)) for n in range(count**2)]
    montage = build(folder / "montage", {0: shots})
    stage = Render(montage=montage, layer=str(folder / "layer"), num_mips=2, chunk=(256, 256, 1), **more)
    run.plan(stage)
    stage.prepare(IO())
    return stage


@pytest.mark.long
@pytest.mark.parametrize("which", CASES)
def test_a_task_takes_no_more_memory_than_it_declares(tmp_path: Path, which: str) -> None:
    big, small = staged(tmp_path / "big", **CASES[which]), staged(tmp_path / "small", 100, 80, 2)
    insist(which, *(big, small))
