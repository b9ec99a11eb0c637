"""From evidence to a table: `synapse detect`, then `synapse assign`, of a scene whose synapses are known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stages.synapse_detect import Detect
from tests import assigned
from tests.layers import whole


@pytest.mark.long
def test_perfect_evidence_becomes_a_perfect_table(tmp_path: Path) -> None:
    scene = assigned.scene(tmp_path)
    shutil.rmtree(tmp_path / "clefts")
    assigned.image(tmp_path / "evidence", (scene.ids > 0).astype(np.uint8) * 255)
    assigned.image(tmp_path / "both", np.stack([scene.pre, scene.post], axis=-1))
    detect = Detect(evidence=str(tmp_path / "evidence"), layer=str(tmp_path / "clefts"), cell=(36, 24, 48))
    for step in detect.steps(IO()):
        run.inline(step)
    assert np.array_equal(whole(tmp_path / "clefts")[..., 0], scene.ids)
    fields: dict[str, Any] = {
        "sides": "channels",
        "evidence": f"{tmp_path}/both",
        "radius": 24.0,
        "polyadic": 0.05,
    }
    made = assigned.assign(tmp_path, cell=(50, 50, 50), block=64, **fields)
    found = {(cleft, pair) for cleft, pairs in assigned.found(made).items() for pair in pairs}
    assert found == {(cleft, (pre, post)) for cleft, (pre, posts) in scene.known.items() for post in posts}
    assert (made["mean"] == 255).all()
