"""From missing synapses to pale membranes: planted in a synthetic volume, traced to the image, and redone there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from igneous_ng import anomalies, run
from igneous_ng.anomalies import Findings
from igneous_ng.clefts import Clefts
from igneous_ng.cli import main
from igneous_ng.geometry import Grid
from igneous_ng.history import runs
from igneous_ng.io import IO
from igneous_ng.redo import Redo
from igneous_ng.stage import Layer
from igneous_ng.stages.segment_watershed import Watershed
from igneous_ng.stages.synth_volume import Synth
from igneous_ng.store import Store
from igneous_ng.subsets import Subset
from tests import anomalous
from tests.anomalous import CELL, CORNER, NM, SHAPE, Place
from tests.layers import files

Array = npt.NDArray[Any]


def grown(home: Path, pale: bool) -> Place:
    """A synthetic volume, pale in a corner or not."""
    box = CORNER if pale else None
    synth = Synth(out=Layer.parse(str(home)), shape=SHAPE, resolution=NM, seed=anomalous.SEED, pale=box,
                  paleness=anomalous.PALENESS, cell=(64, 64, 64))  # fmt: skip
    run.inline(synth)
    return Place(home)


def found(at: Place) -> tuple[int, int]:
    """Clefts in the corner, and elsewhere."""
    clefts = Clefts(IO(), at.found)
    rows = clefts.within(clefts.plan.bounds)
    middle = (rows["lo"] + rows["hi"]) / 2
    inside = int((middle[:, :2] < CORNER.hi[:2]).all(axis=1).sum())
    return inside, len(middle) - inside


def true(at: Place) -> tuple[int, int]:
    """As :func:`found`, of the truth: synapses that have a plaque."""
    io = IO()
    volume = io.volume(at.clefts, 0)
    labels = io.read(volume, volume.bounds)[..., 0]
    inside = labels[CORNER.slices()]
    return len(np.unique(inside[inside > 0])), len(np.unique(labels[labels > 0])) - len(np.unique(inside[inside > 0]))


def names(nodes: list[anomalies.Node]) -> set[str]:
    return {node.layer.rpartition("/")[2] for node in nodes}


def parted(findings: Findings) -> set[str]:
    return names([node for node in findings.nodes if findings.parted(node)])


def check_walk(at: Place) -> None:
    """Of the synapses in the corner a third is missing, and the image is why."""
    (inside, outside), (all_inside, all_outside) = found(at), true(at)
    assert 0.6 <= inside / all_inside <= 0.8
    assert outside / all_outside >= 0.95
    findings = anomalies.find(Store(), at.table, CORNER)
    assert names(findings.roots) == {"image"}
    assert {"image", "affinities", "supervoxels", "segments"} <= parted(findings)
    (root,) = findings.roots
    assert findings.parted(root)[0].series.key == "membranes"
    done = CliRunner().invoke(main, ["trace", at.table, "--box", str(CORNER)])
    assert f"root: {at.image}: membrane contrast" in done.output


def check_redo(at: Place) -> None:
    """The corner is detected again with a lower threshold: all that follows follows, and nothing else moves."""
    before, less = files(at.home), found(at)
    asked = ["redo", at.evidence, at.found, at.table, "--box", str(CORNER), "--set", f"threshold={anomalous.LENIENT}"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    after, more = files(at.home), found(at)
    assert more[0] > less[0]
    assert more[1] == less[1]
    changed = {name for name in before | after if before.get(name) != after.get(name) and "/work/" not in name}
    assert {"found/synapse/clefts.json"} < changed
    assert any(name.startswith("table/rows/") for name in changed)
    assert all(name.split("/")[0] in ("found", "table") for name in changed)
    assert all(within(name) for name in changed if name != "found/synapse/clefts.json")
    again = list(Redo(Store(), [at.evidence, at.found, at.table]).forecast())
    assert not [one for one in again if one.stale]


def within(name: str) -> bool:
    """Whether a chunk, or a table of a cell, lies in the corner or touches it."""
    last = name.rpartition("/")[2].removesuffix(".gz")
    if "_" in last:
        lows = [int(part.split("-")[0]) for part in last.split("_")]
    else:
        lows = [int(part) * CELL[0] for part in last.split("-")]
    return all(low <= high for low, high in zip(lows, CORNER.hi, strict=True))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_missing_synapses_are_traced_to_pale_membranes_and_come_back(tmp_path: Path) -> None:
    at = grown(tmp_path, pale=True)
    anomalous.measured(at)
    anomalous.segmented(at)
    anomalous.detected(at)
    check_walk(at)
    check_redo(at)


def check_control(at: Place) -> None:
    """Where nothing was planted nothing parts; where a step was told otherwise in the corner that is the root."""
    assert parted(anomalies.find(Store(), at.supervoxels, CORNER)) == set()
    spoiled(at)
    findings = anomalies.find(Store(), at.supervoxels, CORNER)
    assert parted(findings) == names(findings.roots) == {"supervoxels"}


def spoiled(at: Place) -> None:
    """The supervoxels of the corner made with a threshold far too high."""
    stage = Watershed(affinities=at.affinities, layer=at.supervoxels, leaf=CELL)
    grid, whole = stage.units(IO()), next(runs(Store(), at.supervoxels))
    assert isinstance(grid, Grid)
    units = [(n, (whole.id, n)) for n, cell in enumerate(grid) if (cell & CORNER).voxels]
    run.inline(replace(stage, low=0.6), Subset.of_units(len(grid), units, "planted"))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_nothing_parts_where_nothing_is_wrong_and_a_bad_step_is_its_own_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watershed, "local", ("low",))
    at = grown(tmp_path, pale=False)
    anomalous.measured(at)
    anomalous.supervoxels(at)
    check_control(at)
