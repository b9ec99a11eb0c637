"""Objects that are known are found, whatever the subvolumes, the order of tasks, and what happens to these."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.redo import Redo, carried_out
from igneous_ng.stage import Stage
from igneous_ng.stages.segment_flood import Auto, Fill, Join, Relabel
from igneous_ng.store import Store
from tests import floods, layers
from tests.segmentations import canonical


def asked(folder: Path, name: str, labels: np.ndarray, offset: Vec3 = (0, 0, 0), **fields: Any) -> Auto:
    """The request to flood a scene."""
    sources = {"image": f"file://{folder}/image", "edges": f"file://{folder}/edges"}
    if not (folder / "image").exists():
        sources = floods.stored(folder, labels, offset)
    chosen: dict[str, Any] = {"cell": (32, 32, 32), "overlap": (12, 12, 12), "chunk": (16, 16, 16), "min_size": 20}
    return Auto(**{"layer": f"file://{folder}/{name}", **sources, **chosen, **fields})


def flooded(folder: Path, name: str, labels: np.ndarray, offset: Vec3 = (0, 0, 0), **fields: Any) -> np.ndarray:
    """What is found in a scene."""
    for stage in asked(folder, name, labels, offset, **fields).steps(IO()):
        run.inline(stage)
    return layers.whole(folder / name)[..., 0]


@pytest.mark.long
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.tuples(*[st.integers(33, 70)] * 3), st.booleans())
def test_subvolumes_that_are_joined_give_the_objects_that_are_there(seed: int, shape: Vec3, twice: bool) -> None:
    truth = floods.tubes(shape, seed)
    with tempfile.TemporaryDirectory() as folder:
        for name, cell in (("one", (96, 96, 96)), ("many", (32, 32, 32)), ("other", (48, 16, 80))):
            found = flooded(Path(folder), name, truth, (-7, 3, 100), cell=cell, consensus=twice)
            assert np.array_equal(found, truth), name


SCENE = floods.tubes((50, 40, 36), 1)


@pytest.mark.long
def test_units_in_any_order_and_again_leave_the_same_bytes(tmp_path: Path) -> None:
    phases = list[Stage]()
    for stage in asked(tmp_path, "out", SCENE).steps(IO()):
        run.inline(stage)
        phases.append(stage)
    assert [phase.name.split()[-1] for phase in phases] == ["fill", "join", "relabel"]
    before = layers.files(tmp_path / "out")
    for stage in phases:
        io = IO()
        for unit in reversed(list(stage.units(io))):
            stage.execute(unit, io)
            stage.execute(unit, io)
        stage.finish(io)
    assert layers.files(tmp_path / "out") == before


def test_a_tree_of_several_levels_joins_as_one_node_does(tmp_path: Path) -> None:
    truth = floods.tubes((85, 20, 20), 4)
    phases = []
    for stage in asked(tmp_path, "x", truth, cell=(16, 16, 16), overlap=(8, 8, 8)).steps(IO()):
        run.inline(stage)
        phases.append(stage.name)
    assert phases.count("segment flood join") == 2
    assert phases.count("segment flood spread") == 1
    assert np.array_equal(layers.whole(tmp_path / "x")[..., 0], truth)


def test_what_leaves_a_subvolume_and_comes_back_is_one(tmp_path: Path) -> None:
    truth = np.zeros((80, 30, 16), np.uint64, order="F")
    truth[2:78, 2:9, 4:11] = truth[2:78, 20:27, 4:11] = truth[70:78, 2:27, 4:11] = 1
    found = flooded(tmp_path, "out", truth, cell=(32, 32, 16))
    assert np.array_equal(found > 0, truth > 0)
    assert len(np.unique(found)) == 2, "the arms are joined far away only"
    apart = flooded(tmp_path, "first", truth, cell=(96, 32, 16))
    assert np.array_equal(found, apart)


def test_thin_overlaps_join_what_is_thick_and_sizes_are_of_whole_objects(tmp_path: Path) -> None:
    truth = np.zeros((64, 20, 20), np.uint64, order="F")
    truth[3:60, 3:9, 3:9] = 1  # 57 * 36 voxels, no cell has as many
    truth[3:60, 13:18, 13:18] = 2  # 57 * 25 voxels
    few = flooded(tmp_path, "few", truth, cell=(16, 32, 32), overlap=(2, 2, 2), min_size=57 * 25)
    assert np.array_equal(few, canonical(truth))
    less = flooded(tmp_path, "less", truth, cell=(16, 32, 32), overlap=(2, 2, 2), min_size=57 * 25 + 1)
    assert np.array_equal(less > 0, truth == 1)


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    truth = np.zeros((64, 20, 20), np.uint64, order="F")
    truth[40:60, 3:15, 3:15] = 1
    found = flooded(tmp_path, "out", truth)
    assert np.array_equal(found, canonical(truth))
    none = np.zeros_like(truth)
    (tmp_path / "empty").mkdir()
    assert not flooded(tmp_path / "empty", "out", none).any()


def test_a_mask_keeps_objects_out(tmp_path: Path) -> None:
    kept = np.ones((*SCENE.shape, 1), np.uint8)
    kept[:20] = 0
    layers.create(tmp_path / "mask", kept, (0, 0, 0), (16, 16, 16), resolution=(8.0, 8.0, 8.0))
    found = flooded(tmp_path, "out", SCENE, mask=f"file://{tmp_path}/mask", min_size=1)
    assert not found[:20].any()
    assert np.array_equal(found[20:] > 0, SCENE[20:] > 0)


def test_missing_chunks_are_an_error_or_empty(tmp_path: Path) -> None:
    floods.stored(tmp_path, SCENE)
    next(iter((tmp_path / "image" / "8_8_8").iterdir())).unlink()
    with pytest.raises(DataError, match="is missing"):
        flooded(tmp_path, "out", SCENE)
    assert flooded(tmp_path, "filled", SCENE, fill_missing=True).any()


def test_gradients_give_seeds_where_no_edges_are_given(tmp_path: Path) -> None:
    truth = floods.tubes((60, 60, 40), 3, step=20, thick=13)
    assert np.array_equal(flooded(tmp_path, "out", truth, edges=None), truth)


def test_phases_that_come_too_early_or_differ_are_refused(tmp_path: Path) -> None:
    request = asked(tmp_path, "out", SCENE)
    with pytest.raises(DataError, match="`?segment flood fill"):
        run.inline(Join(layer=request.layer))
    stages = request.steps(IO())
    run.inline(next(stages))
    with pytest.raises(DataError, match="segment flood join"):
        run.inline(Relabel(layer=request.layer))
    with pytest.raises(SpecError, match="claim 0.6 there, 0.7 asked for"):
        run.inline(next(asked(tmp_path, "out", SCENE, claim=0.7).steps(IO())))
    with pytest.raises(SpecError, match="levels 1 to 1"):
        run.plan(Join(layer=request.layer, level=2))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cell": (16, 16, 16), "overlap": (17, 1, 1)}, "more than a cell"),
        ({"overlap": (0, 1, 1)}, "at least 1 voxel"),
        ({"move": 0.5}, "claim <= move"),
        ({"edges_mip": 1}, "give --edges"),
        ({"image": "/b"}, "is read"),
        ({"min_size": 0}, "at least 1 voxel"),
    ],
)
def test_senseless_fields_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Fill(**{"image": "/a", "layer": "/b", **fields})


def test_edges_of_other_voxels_are_refused(tmp_path: Path) -> None:
    other = f"file://{layers.create(tmp_path / 'other', np.ones((20, 20, 20, 1), np.uint8), (0, 0, 0))}"
    with pytest.raises(SpecError, match="edges of the same voxels"):
        run.inline(next(asked(tmp_path, "out", SCENE, edges=other).steps(IO())))


def redone(layer: Path) -> dict[str, list[Box | int]]:
    """The units that a redo of a layer runs, by stage."""
    found = dict[str, list[Box | int]]()
    for wave, _ in carried_out(Redo(Store(), [f"file://{layer}"]), lambda wave: run.inline(wave.stage, wave.subset)):
        units = wave.stage.units(IO())
        found[wave.stage.name] = [units[wave.subset.unit(place)] for place in range(len(wave.subset))]
    return found


def test_a_redo_changes_what_the_image_changes(tmp_path: Path) -> None:
    """A tube is cut; the result is that of all made anew, and cells that do not see it are not looked at again."""
    truth = floods.tubes((150, 30, 30), 4)
    flooded(tmp_path, "out", truth)
    before = layers.files(tmp_path / "out")
    assert redone(tmp_path / "out") == {}
    assert layers.files(tmp_path / "out") == before
    io = IO()
    box = Box((0, 0, 0), (16, 16, 16))
    for name, value in (("image", 10), ("edges", 255)):
        volume = io.volume(f"file://{tmp_path}/{name}", 0)
        values = io.read(volume, box)
        values[5:8] = value
        io.write(volume, box, values)
    units = redone(tmp_path / "out")
    flooded(tmp_path, "fresh", truth)
    now = layers.whole(tmp_path / "out")
    assert np.array_equal(now, layers.whole(tmp_path / "fresh"))
    cells = [Box((0, 0, 0), (32, 30, 30)), Box((32, 0, 0), (64, 30, 30))]
    assert units["segment flood fill"] == cells, "of five: the second sees the first up to its overlap and a radius"
    assert cells[0] in units["segment flood relabel"]
    assert len(units["segment flood relabel"]) < 5


def test_it_says_what_was_found(tmp_path: Path) -> None:
    truth = np.zeros((80, 20, 20), np.uint64, order="F")
    truth[3:60, 3:9, 3:9], truth[70:75, 12:17, 12:17] = 1, 2
    flooded(tmp_path, "out", truth)
    *_, last = asked(tmp_path, "out", truth).steps(IO())
    assert last.said(IO()) == f"2 objects; {(57 * 36 + 125) / truth.size:.1%} of it is filled"
