"""Checking a section stays within the memory that it declares, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from igneous_ng.io import IO
from igneous_ng.stage import Stage, to_dict
from igneous_ng.stages.align_check import AlignCheck
from tests.alignments import begun, fields, stack
from tests.measuring import MEASURE

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")


def staged(folder: Path, side: int, step: int) -> Stage:
    """Two sections of noise with dense nodes, displaced at random; the second is the first unit."""
    rng = np.random.default_rng(0)
    layer = stack(folder / "layer", rng.integers(1, 255, (side, side, 2, 1)).astype(np.uint8))
    made = begun(f"file://{folder}/alignment", layer)
    shape = made.new_round(IO(), 1, 0, step).box.shape
    for kind in ("inverse", "forward"):
        fields(made, 1, step, kind, rng.normal(size=(*shape, 2)))
    for k in (1, 2):
        flow = rng.normal(size=(*shape, 6)).astype(np.float32)
        flow[..., 5] = 0
        fields(made, 1, step, f"flow/{k}", flow)
    stage = AlignCheck(alignment=made.home, blocks=4)
    stage.prepare(IO())
    return stage


def test_a_task_takes_no_more_memory_than_it_declares(tmp_path: Path) -> None:
    words = [json.dumps(to_dict(staged(tmp_path / name, side, 4))) for name, side in (("big", 1800), ("small", 200))]
    measure = MEASURE.replace("units[0]", "units[1]")
    done = subprocess.run([sys.executable, "-c", measure, *words], capture_output=True, text=True, check=True)
    taken, declared = json.loads(done.stdout)
    assert 0 < taken <= declared, f"took {taken / 1e6:.0f} MB and declares {declared / 1e6:.0f} MB"
    print(f"{taken / 1e6:.0f} of {declared / 1e6:.0f} MB")  # noqa: T201 - shown with -s
