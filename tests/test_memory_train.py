"""Training trees stays within the memory that it declares, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng.stage import to_dict
from igneous_ng.stages.segment_train_trees import TrainTrees
from tests import segmentations
from tests.measuring import MEASURE
from tests.test_stage_segment_train import cells

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")


@pytest.mark.long
def test_trees_take_no_more_memory_than_they_declare(tmp_path: Path) -> None:
    words = []
    few: dict[str, Any] = {"samples": 60, "trees": 2}
    for name, repeats, fields in (("big", 3, {"samples": 400_000, "trees": 4}), ("small", 1, few)):
        layers = [
            segmentations.layer(tmp_path / name / str(at), np.tile(one, (repeats,) * 3)[..., np.newaxis])
            for at, one in enumerate(cells())
        ]
        model = str(tmp_path / name / "model")
        words.append(json.dumps(to_dict(TrainTrees(image=layers[0], labels=layers[1], model=model, **fields))))
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    taken, declared = json.loads(done.stdout)
    assert 0 < taken <= declared, f"{taken / 1e6:.0f} MB, and {declared / 1e6:.0f} MB were declared"
