"""Sections are made, and alignments measured, within the memory that is declared, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.alignment import Rough
from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.eval_align import EvalAlign
from igneous_ng.stages.synth_sections import SynthSections
from tests.alignments import begun, stack
from tests.measuring import insist

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")


def registered(folder: Path, side: int, dtype: str = "uint8", channels: int = 1) -> str:
    noise = np.random.default_rng(0).integers(1, 255, (side, side, 2, channels)).astype(dtype)
    return stack(folder / "stack", np.asfortranarray(noise))


def cut(folder: Path, side: int, **more: Any) -> Stage:
    kind = {key: more.pop(key) for key in ("dtype", "channels") if key in more}
    stage = SynthSections(image=registered(folder, side, **kind), out=str(folder / "out"), every=1, **more)
    run.plan(stage)
    stage.prepare(IO())
    return stage


def measured(folder: Path, side: int, spacing: int = 4) -> Stage:
    out = f"file://{folder}/out"
    run.inline(SynthSections(image=registered(folder, side), out=out, every=1, noise=0.0, cracked=(0,)))
    maps = [Rough(np.eye(2), np.zeros(2), source=z) for z in (0, 1)]
    made = begun(f"file://{folder}/alignment", f"{out}/image", maps)
    return EvalAlign(alignment=made.home, truth=out, spacing=spacing)


CASES: dict[str, dict[str, Any]] = {
    "sections": {"make": cut, "side": 1100, "warp": 4.0},
    "sections, turned, colours of 16 bit": {"make": cut, "side": 1100, "dtype": "uint16", "channels": 3,
                                            "turned": (0,), "angle": 45.0},
    "scores": {"make": measured, "side": 1100},
    "scores, few points": {"make": measured, "side": 1100, "spacing": 40},
}  # fmt: skip


@pytest.mark.parametrize("which", CASES)
def test_a_task_takes_no_more_memory_than_it_declares(tmp_path: Path, which: str) -> None:
    fields = dict(CASES[which])
    make = fields.pop("make")
    stages = make(tmp_path / "big", **fields), make(tmp_path / "small", 100)
    insist(which, *stages)
