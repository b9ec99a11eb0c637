"""The stage: what it writes, from what, and that it is the same however it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from igneous_ng import run, solutions
from igneous_ng.stages.stitch_solve import Solve
from igneous_ng.store import Store
from tests.mosaics import fitted, mosaic, store


def test_a_section_is_solved_and_told(tmp_path: Path) -> None:
    home = f"file://{tmp_path}/m"
    one = mosaic(9, 10)
    montage = store(home, (7, one))
    run.inline(Solve(montage=home))
    data = Store().get(montage.url("solutions", 7, ".maps"))
    assert data is not None
    maps, component = solutions.decode(data, "maps")
    assert component == [0] * 90
    assert fitted(maps, one.truth, False).max() < 2 * solutions.STEP
    told: Any = Store().get_json(montage.url("solutions", 7, ".json"))
    assert told["model"] == "translation"
    assert told["links"]["used"] == 161
    placed: Any = Store().get_json(montage.url("placed", 7, ".json"))
    boxes = np.array(placed["boxes"])
    assert (boxes % 64 == 0).all()
    exact = np.array([one.box() for one in maps])
    assert (boxes[:, :2] <= exact[:, :2]).all()
    assert (boxes[:, 2:] >= exact[:, 2:]).all()
    assert (np.abs(boxes - exact) < 64).all()
