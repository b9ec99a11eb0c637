"""A table of synapses after a change of the segmentation: what a redo leaves is what all made anew would be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import records, run
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.redo import Redo, carried_out
from igneous_ng.stages.synapse_assign import Assign
from igneous_ng.store import Store
from tests import assigned
from tests.assigned import SHAPE, Scene
from tests.layers import files

STORE = Store()
CHANGED = Box((32, 16, 32), (53, 35, 50))  # 1/64 of the volume


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = assigned.scene(tmp_path)
    assigned.image(tmp_path / "both", np.stack([made.pre, made.post], axis=-1))
    return made


def changed(labels: np.ndarray) -> np.ndarray:
    """The labels, of which a part was merged, and another one lost."""
    new = labels.copy(order="F")
    part = new[CHANGED.slices()]
    part[part == part[9, 9, 9]] = 5
    part[:4] = 0
    part[8, 8, 8] = 6
    return new


def swap(tmp_path: Path, labels: np.ndarray) -> None:
    """Another segmentation in the place of the old one, as somebody writes it who keeps no records."""
    shutil.rmtree(tmp_path / "seg")
    assigned.segments(tmp_path / "seg", labels)


@pytest.mark.long
@pytest.mark.parametrize("distance", [0.0, 200.0])
def test_a_changed_part_changes_the_rows_that_it_touches(tmp_path: Path, scene: Scene, distance: float) -> None:
    fields: dict[str, Any] = {"sides": "channels", "evidence": f"{tmp_path}/both", "radius": 24.0, "polyadic": 0.1,
                              "merge_distance": distance, "cell": (16, 16, 16), "block": 32}  # fmt: skip
    table = tmp_path / "table"
    swap(tmp_path, changed(scene.labels))
    assigned.assign(tmp_path, **fields)
    table.rename(tmp_path / "anew")
    swap(tmp_path, scene.labels)
    before = assigned.assign(tmp_path, **fields)
    old = files(table)
    swap(tmp_path, changed(scene.labels))
    ran: dict[str, int] = {}
    for wave, ready in carried_out(Redo(STORE, [f"file://{table}"]), lambda wave: run.inline(wave.stage, wave.subset)):
        ran[ready.name] = len(wave.subset)
        assert records.finished(STORE, ready)
    new = files(table)
    assert new == files(tmp_path / "anew")
    cells, blocks = (int(np.prod([-(-n // side) for n in SHAPE])) for side in (16, 32))
    assert 0 < ran["synapse contacts"] <= cells // 4
    assert 0 < ran["synapse partners"] < blocks
    assert 0 < ran["synapse table"] < blocks
    after = assigned.rows(f"file://{table}")
    different = [name for name in new if name.startswith("rows/") and new[name] != old[name]]
    assert 0 < len(different) < blocks / 2
    same = np.isin(after["id"], before["id"])
    assert same.sum() > 0.9 * len(before["id"])
    assert not list(carried_out(Redo(STORE, [f"file://{table}"]), lambda wave: run.inline(wave.stage, wave.subset)))
    stages = [json.loads(path.read_text())["stage"] for path in (table / "runs").glob("*/run.json")]
    assert {stage["stage"] for stage in stages} >= {"synapse contacts", "synapse table"}
    assert next(Assign(clefts="a", segmentation="b", table="c").steps(IO())).name == "synapse contacts"
