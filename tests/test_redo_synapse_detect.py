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
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels.cleft_parts import least
from igneous_ng.redo import Redo, region
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


@pytest.mark.long
def test_a_region_has_another_threshold_as_if_its_evidence_were_surer(tmp_path: Path) -> None:
    lenient, box = evidence(), (slice(0, 32), slice(0, 16), slice(0, 16))
    strict, low = least(0.6), least(0.5)
    found = lenient[box]
    found[(found >= low) & (found < strict)] = strict  # the same voxels are of clefts, but for how sure they are
    layers = made(tmp_path / "place", evidence())
    made(tmp_path / "other", lenient)
    before = files(tmp_path / "place")
    asked = Redo(Store(), layers, region(Store(), layers[0], 0, Box((0, 0, 0), (32, 16, 16))), {"threshold": 0.5})
    ran, _ = carry_out(asked)
    labelled = {json.loads(name)["threshold"]: units for name, units in ran.items() if "synapse label" in name}
    assert labelled == {0.5: {0, 1}}
    after, wanted = files(tmp_path / "place"), files(tmp_path / "other")
    chunks = [name for name in wanted if name.startswith("clefts/4_4_40")]
    assert {name: after[name] for name in chunks} == {name: wanted[name] for name in chunks}
    assert any(before[name] != after[name] for name in chunks)
    assert before["clefts/synapse/plan.json"] == after["clefts/synapse/plan.json"]
    assert carry_out(Redo(Store(), layers))[0] == {}
    order = [(one.newest.name, one.newest.stage.get("threshold")) for one in Redo(Store(), layers).requests]
    assert order[:3] == [("synapse label", 0.6), ("synapse label", 0.5), ("synapse join", None)]
    anew = Redo(Store(), layers, region(Store(), layers[0], 0, Box((0, 0, 0), (16, 16, 16))), {"threshold": 0.6})
    carry_out(anew)  # a part of the part as all the rest again
    assert carry_out(Redo(Store(), layers))[0] == {}


def test_what_cannot_differ_in_a_part_is_refused(tmp_path: Path) -> None:
    layers = made(tmp_path, evidence())
    part = region(Store(), layers[0], 0, Box((0, 0, 0), (16, 16, 16)))
    with pytest.raises(SpecError, match="can have another connectivity there; .* synapse label: threshold"):
        next(Redo(Store(), layers, part, {"connectivity": 6}).waves())
    with pytest.raises(SpecError, match="threshold: expected float"):
        next(Redo(Store(), layers, part, {"threshold": "low"}).waves())
