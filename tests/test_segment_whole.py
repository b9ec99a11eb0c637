"""From affinities to a segmentation by all stages: that of the definitions for any leaves; redone where it changes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.redo import Redo, carried_out
from igneous_ng.stages.segment_agglomerate import Agglomerate
from igneous_ng.stages.segment_graph import Graph
from igneous_ng.stages.segment_relabel import Relabel
from igneous_ng.stages.segment_watershed import Watershed
from igneous_ng.store import Store
from tests import segmentations
from tests.layers import files, whole
from tests.segmentations import Rules

LOW, HIGH = 0.2, 0.9
RULES = Rules(0.5, guard_size=40, guard_threshold=0.6, small_size=6, small_threshold=0.3)
CHOSEN: dict[str, Any] = {
    "thresholds": (0.75, 0.6, 0.5),
    "guard_size": 40,
    "guard_threshold": 0.6,
    "small_size": 6,
    "small_threshold": 0.3,
}


def made(folder: Path, aff: np.ndarray, leaf: Vec3, offset: Vec3 = (0, 0, 0), **fields: Any) -> None:
    """The layers ``aff``, ``sv`` and ``seg``."""
    source = segmentations.layer(folder / "aff", aff, offset, (4, 4, 4))
    layer = f"file://{folder}/sv"
    run.inline(Watershed(affinities=source, layer=layer, leaf=leaf, low=LOW, high=HIGH))
    run.inline(Graph(layer=layer))
    for stage in Agglomerate(layer=layer, **{**CHOSEN, **fields}).steps(IO()):
        run.inline(stage)
    run.inline(Relabel(supervoxels=layer, layer=f"file://{folder}/seg"))


def check(aff: np.ndarray, leaf: Vec3, **fields: Any) -> None:
    """One volume against the definitions; a segment is called by its smallest supervoxel."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made(folder, aff, leaf, (-5, 7, 100), **fields)
        found, ids = whole(folder / "seg")[..., 0], whole(folder / "sv")[..., 0]
    expected = segmentations.agglomerate(segmentations.watershed(aff, LOW, HIGH), aff, RULES)
    assert np.array_equal(segmentations.canonical(found), expected)
    assert all(ids[found == one].min() == one for one in np.unique(found[found > 0]))


CASES = given(
    shape=st.tuples(*[st.integers(2, 14)] * 3),
    levels=st.sampled_from([4, 16, 256]),
    seed=st.integers(0, 2**32),
    leaf=st.tuples(*[st.sampled_from([4, 8, 12, 16])] * 3),
    fan=st.sampled_from([2, 3, 8]),
    thresholds=st.sampled_from([(0.5,), (0.75, 0.6, 0.5)]),
)


@settings(deadline=None, max_examples=5)
@CASES
def test_a_segmentation_is_that_of_the_definitions(
    shape: Vec3, levels: int, seed: int, leaf: Vec3, fan: int, thresholds: tuple[float, ...]
) -> None:
    check(segmentations.affinities(shape, levels, seed), leaf, fan=fan, thresholds=thresholds)


@pytest.mark.long
@settings(deadline=None, max_examples=150)
@CASES
def test_many_segmentations_are_those_of_the_definitions(
    shape: Vec3, levels: int, seed: int, leaf: Vec3, fan: int, thresholds: tuple[float, ...]
) -> None:
    check(segmentations.affinities(shape, levels, seed), leaf, fan=fan, thresholds=thresholds)


def redone(folder: Path) -> dict[str, int]:
    """Units that a redo of everything after the affinities runs, by stage."""
    found = dict[str, int]()
    layers = [f"file://{folder}/{name}" for name in ("sv", "seg")]
    for wave, _ in carried_out(Redo(Store(), layers), lambda wave: run.inline(wave.stage, wave.subset)):
        found[wave.stage.name] = found.get(wave.stage.name, 0) + len(wave.subset)
    return found


def results(folder: Path) -> dict[str, bytes]:
    """All of both layers, but for the plan, which names the affinities."""
    return {
        f"{name}/{key}": data
        for name in ("sv", "seg")
        for key, data in files(folder / name).items()
        if key != "segment/plan.json"
    }


@pytest.mark.long
def test_a_redo_changes_what_the_affinities_change(tmp_path: Path) -> None:
    """A corner is cut off; the result is that of all made anew, and leaves that do not hear of it keep their bytes."""
    aff, leaf = segmentations.affinities((20, 8, 8), 16, 3), (4, 8, 8)
    fields: dict[str, Any] = {"thresholds": (0.6,)}
    made(tmp_path / "old", aff, leaf, **fields)
    before = results(tmp_path / "old")
    assert redone(tmp_path / "old") == {}
    assert results(tmp_path / "old") == before
    aff[:3, :3, :3] = 0
    io, corner = IO(), Box((0, 0, 0), (4, 4, 4))
    io.write(io.volume(f"file://{tmp_path}/old/aff", 0), corner, aff[corner.slices()])
    units = redone(tmp_path / "old")
    made(tmp_path / "fresh", aff, leaf, **fields)
    now = results(tmp_path / "old")
    assert now == results(tmp_path / "fresh")
    assert now != before
    assert units["segment watershed"] <= 2
    assert units["segment graph"] <= 2
    assert units["segment relabel"] <= 2
    far = [name for name in now if name.endswith("4-0-0") or "/16-20_" in name]
    assert len(far) > 4
    assert all(before[name] == now[name] for name in far)
