"""Clefts after a change of a part of the evidence: made again where that is needed, to the bytes of all made anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from igneous_ng import ledger, records, run
from igneous_ng.io import IO
from igneous_ng.redo import Redo
from igneous_ng.stages.synapse_detect import Detect
from igneous_ng.store import Store
from tests.layers import create, files
from tests.test_redo import carry_out

Array = npt.NDArray[Any]
SHAPE = (160, 32, 32)
PART = (slice(2, 18), slice(2, 14), slice(1, 15))  # 1/64, in two cells


def evidence() -> Array:
    """Lumps, some of which span cells."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(4).random(SHAPE), 1.5)
    found: Array = np.interp(smooth, [smooth.min(), smooth.max()], [0, 255]).astype(np.uint8)
    return found


def changed(array: Array) -> Array:
    new = array.copy()
    new[PART] = 255 - new[PART]
    return new


def made(folder: Path, array: Array) -> list[str]:
    """The evidence and its clefts."""
    create(folder / "evidence", array[..., None], (0, 0, 0), (16, 16, 16))
    layer = f"file://{folder}/clefts"
    for step in Detect(evidence=f"{folder}/evidence", layer=layer, cell=(16, 16, 16), threshold=0.6).steps(IO()):
        run.inline(step)
    return [f"file://{folder}/evidence", layer]


def read_by_units(layer: str) -> dict[str, dict[int, str]]:
    """For each request, in words, what each of its units read."""
    found = {}
    for one in ledger.runs(Store(), layer):
        found[json.dumps(one.stage)] = {
            line["unit"]: json.dumps(line["reads"]) for line in records.all_lines(Store(), one)
        }
    return found


@pytest.mark.long
def test_a_changed_part_makes_again_what_brute_force_finds(tmp_path: Path) -> None:
    folder = tmp_path / "place"
    layers = made(folder, changed(evidence()))
    new, read_now = files(folder), read_by_units(layers[1])
    shutil.rmtree(folder)
    made(folder, evidence())
    before, read_then = files(folder), read_by_units(layers[1])
    create(tmp_path / "other", changed(evidence())[..., None], (0, 0, 0), (16, 16, 16))
    for chunk in (tmp_path / "other" / "4_4_40").iterdir():
        chunk.replace(folder / "evidence" / "4_4_40" / chunk.name)
    times = {name: (folder / name).stat().st_mtime_ns for name in before}
    ran, outcomes = carry_out(Redo(Store(), layers))
    wanted = {name: {u for u in lines if lines[u] != read_now[name][u]} for name, lines in read_then.items()}
    assert ran == {name: units for name, units in wanted.items() if units}
    counts = {json.loads(name)["stage"]: (len(ran.get(name, ())), len(lines)) for name, lines in read_then.items()}
    assert counts["synapse label"] == (2, 40)
    assert 0 < counts["synapse relabel"][0] < 40
    after = files(folder)
    assert after == new != before
    differing = {name for name in before | after if before.get(name) != after.get(name) and "clefts/" in name}
    kept = [name for name in before if "clefts/" in name and times[name] == (folder / name).stat().st_mtime_ns]
    assert len(kept) > len(before) // 4
    assert sum(one.changed + one.new + one.removed for one in outcomes) == len(differing) < len(before) // 2
    assert carry_out(Redo(Store(), layers)) == ({}, [])
