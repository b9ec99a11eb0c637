"""Stages of annotations stay within the memory that they declare, and take no more for ten times the annotations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import annotating, run
from igneous_ng.io import IO
from igneous_ng.stage import Stage, to_dict
from igneous_ng.stages.annotate import Build
from tests.measuring import MEASURE

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")
STEPS = ("survey", "frame", "count", "plan", "spread", "write")
ROWS = 40_000  # of a file
SHARD = 1 << 21
SMALLER = f"from igneous_ng import annotating; annotating.SHARD = {SHARD}\n"


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Stage]]:
    """The steps of layers of 2 files and of 20, all of one size, and of a few rows to warm up."""
    folder, found = tmp_path_factory.mktemp("memory"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotating, "SHARD", SHARD)
        for name, files, rows in (("small", 1, 100), ("once", 2, ROWS), ("tenfold", 20, ROWS)):
            rng = np.random.default_rng(0)
            (folder / name).mkdir()
            for part in range(files):
                places: dict[str, Any] = {
                    f"{axis}{end}": rng.uniform(0, 50_000, rows) for end in (1, 2) for axis in "xyz"
                }
                for end in "xyz":
                    places[f"{end}2"] = places[f"{end}1"] + rng.normal(0, 20, rows)
                ids = np.arange(part * rows, (part + 1) * rows, dtype=np.uint64)
                np.savez(folder / name / f"{part:03}.npz", id=ids, pre=rng.integers(1, 5000, rows), **places)
            made = Build(
                source=str(folder / name), layer=str(folder / f"{name}-layer"), relationships=("pre",), limit=1000
            )
            found[name] = dict(zip(STEPS, made.steps(IO()), strict=True))
            for step in found[name].values():
                run.inline(step)
    return found


def taken(steps: dict[str, dict[str, Stage]], layer: str, which: str) -> tuple[int, int]:
    words = [json.dumps(to_dict(steps[name][which])) for name in (layer, "small")]
    done = subprocess.run([sys.executable, "-c", SMALLER + MEASURE, *words], capture_output=True, text=True, check=True)
    most, declared = json.loads(done.stdout)
    return most, declared


@pytest.mark.parametrize("which", STEPS)
def test_a_task_takes_what_it_declares_and_no_more_for_more_annotations(
    steps: dict[str, dict[str, Stage]], which: str
) -> None:
    most, declared = taken(steps, "tenfold", which)
    assert most <= declared, f"{which} took {most / 1e6:.0f} MB and declares {declared / 1e6:.0f} MB"
    before, _ = taken(steps, "once", which)
    print(f"{which}: {most / 1e6:.0f} of {declared / 1e6:.0f} MB; {before / 1e6:.0f} MB of a tenth")  # noqa: T201 - shown with -s
    assert most <= 1.5 * before + 8e6
