from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.errors import DataError, SpecError
from igneous_ng.forging import Bucket, Plan, Shelf, check_dir
from igneous_ng.formats.fragments import Piece
from igneous_ng.formats.info import new_info
from igneous_ng.geometry import Box, Vec3, Vec3f
from igneous_ng.io import IO
from igneous_ng.labelled import beyond, count_voxels, only, read_box
from igneous_ng.stage import Layer, Stage

Array = npt.NDArray[Any]
PLAN = Plan("mesh", 0, (4, 4, 4), Box((-2, 0, 0), (6, 4, 4)), (4.0, 4.0, 40.0), 3, {"labels": []})


def make_layer(
    folder: Path,
    labels: Array,
    lo: Vec3 = (-5, 7, 0),
    resolution: Vec3f = (16, 16, 40),
    kind: str = "segmentation",
) -> Layer:
    """A layer of ``labels`` [x, y, z] whose first voxel is ``lo``."""
    layer, io = Layer.parse(str(folder / "seg")), IO()
    bounds = Box.sized(lo, labels.shape)
    info = new_info(
        kind=kind,
        dtype=labels.dtype.name,
        channels=1,
        bounds=bounds,
        resolution=resolution,
        chunk=(16, 16, 16),
        encoding="raw",
    )
    io.create_layer(layer, info)
    io.write(io.volume(layer, 0), bounds, labels[..., np.newaxis])
    return layer


def run(stage: Stage, seed: int = 0) -> dict[str, Any]:
    """Carry out a stage, its units in an order that ``seed`` shuffles; what its units noted, summed."""
    stage.prepare(IO())
    units = list(stage.units(IO()))
    noted: dict[str, Any] = {}
    for i in np.random.default_rng(seed).permutation(len(units)).tolist():
        io = IO()
        stage.execute(units[i], io)
        for key, value in io.ledger.notes.items():
            if isinstance(value, dict):  # a place, of which there is no sum
                continue
            more = value if isinstance(value, list) else int(value)
            noted[key] = noted[key] + more if key in noted else more
    stage.finish(IO())
    return noted


def files(folder: Path) -> dict[str, bytes]:
    """Every file directly in ``folder``."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def shelf(tmp_path: Path) -> Shelf:
    return Shelf(IO(), Layer.parse(str(tmp_path / "seg")), "mesh")


def test_a_plan_comes_back_and_a_wrong_one_is_refused() -> None:
    assert Plan.parse(PLAN.to_json(), "x") == PLAN
    for raw in (None, {}, {**PLAN.to_json(), "bounds": "1:2"}):
        with pytest.raises(DataError, match=r"^x: not a plan"):
            Plan.parse(raw, "x")


def test_the_same_plan_may_begin_again_and_another_may_not(tmp_path: Path) -> None:
    place = shelf(tmp_path)
    place.begin(PLAN)
    place.begin(PLAN)
    with pytest.raises(SpecError, match=r"cell \[4, 4, 4\] there, \[8, 4, 4\] asked for.*--dir"):
        place.begin(dataclasses.replace(PLAN, cell=(8, 4, 4)))
    assert place.plan("mesh") == PLAN
    with pytest.raises(DataError, match="kind mesh, not skeleton"):
        place.plan("skeleton")


def test_merging_waits_for_forging(tmp_path: Path) -> None:
    place = shelf(tmp_path)
    with pytest.raises(DataError, match="nothing is forged"):
        place.plan("mesh")
    with pytest.raises(DataError, match="has not finished"):
        place.completed("mesh")


def test_regions_are_kept_once(tmp_path: Path) -> None:
    place = shelf(tmp_path)
    low, high, all_of_it = Box((-2, 0, 0), (2, 4, 4)), Box((2, 0, 0), (6, 4, 4)), PLAN.bounds
    place.complete(low)
    place.complete(high)
    place.complete(low)
    assert place.completed("mesh") == [low, high]
    place.complete(all_of_it)
    place.complete(low)
    assert place.completed("mesh") == [all_of_it]


def test_a_bucket_gathers_the_pieces_of_its_labels(tmp_path: Path) -> None:
    place, top = shelf(tmp_path), 2**64 - 1
    place.begin(PLAN)
    first, second = PLAN.grid
    place.store(first, {5: Piece(3, 10, b"a"), top: Piece(1, 20, b"b"), 8: Piece(1, 0, b"")}, 3)
    place.store(second, {5: Piece(4, 30, b"c"), top: Piece(0, 1, b"d")}, 3)
    place.complete(PLAN.bounds)
    found = {}
    for number in range(3):
        bucket = Bucket(place, PLAN, number)
        for label, rows in bucket.objects():
            payloads = [data for data, _ in bucket.payloads(rows)]
            found[label] = (bucket.voxels(rows), bucket.size(rows), payloads)
    assert found == {5: (7, 40, [b"a", b"c"]), top: (1, 21, [b"b", b"d"]), 8: (1, 0, [])}


def test_a_missing_container_is_named(tmp_path: Path) -> None:
    place = shelf(tmp_path)
    place.begin(PLAN)
    place.store(PLAN.grid[0], {}, 3)
    place.complete(PLAN.grid[0])
    assert not len(Bucket(place, PLAN, 0).entries)
    place.complete(PLAN.bounds)
    with pytest.raises(DataError, match=r"2-6_0-4_0-4\.frags: this container is missing"):
        Bucket(place, PLAN, 0)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "\u00e9"])
def test_folder_names_stay_inside_the_layer(name: str) -> None:
    with pytest.raises(SpecError, match=r"mesh forge\.dir"):
        check_dir(name, "mesh forge.dir")


def test_cells_are_read_with_one_voxel_more_where_there_is_one(tmp_path: Path) -> None:
    labels = np.arange(4 * 5 * 6, dtype=np.int32).reshape(4, 5, 6)
    layer = make_layer(tmp_path, labels, lo=(0, 0, 0))
    volume = IO().volume(layer, 0)
    inner = read_box(IO(), volume, beyond(Box((1, 2, 3), (3, 4, 5)), volume))
    assert np.array_equal(inner, labels[1:4, 2:5, 3:6])
    assert inner.dtype == np.uint32
    assert read_box(IO(), volume, beyond(volume.bounds, volume)).shape == (4, 5, 6)


def test_labels_below_zero_are_refused(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, np.full((2, 2, 2), -1, np.int32))
    volume = IO().volume(layer, 0)
    with pytest.raises(DataError, match="below 0"):
        read_box(IO(), volume, beyond(volume.bounds, volume))


def test_voxels_are_counted_in_the_cell_proper() -> None:
    labels = np.array([[[7, 7, 9]], [[0, 7, 9]]], np.uint64)
    assert count_voxels(labels, Box((0, 0, 0), (2, 1, 2))) == {7: 3, 9: 0}


def test_only_the_labels_asked_for_are_left() -> None:
    labels = np.array([[[1, 2, 3]]], np.uint8)
    assert only(labels, (2, 3, 2**64 - 1)).tolist() == [[[0, 2, 3]]]
    assert only(labels, ()) is labels
    assert not only(labels, (2**64 - 1,)).any()
    assert labels.tolist() == [[[1, 2, 3]]]


GROWTH = """
import sys
from tests.test_forging import *
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge

def high_water() -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) * 1024

tiny, large, name = sys.argv[1:]
forge, merge = {"mesh": (MeshForge, MeshMerge), "skeleton": (SkeletonForge, SkeletonMerge)}[name]
for layer in (tiny, tiny, large):
    for stage in (forge(layer=Layer(layer)), merge(layer=Layer(layer))):
        stage.prepare(IO())
        for unit in stage.units(IO()):
            declared = stage.peak_bytes(unit, IO())
            before = high_water()
            stage.execute(unit, IO())
            grown = high_water() - before
            if layer == large:
                assert grown <= declared, (stage.name, grown, declared)
        stage.finish(IO())
"""


@pytest.mark.parametrize("name", ["mesh", "skeleton"])
def test_declared_memory_holds_what_is_taken(tmp_path: Path, name: str) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is measured through /proc, which this system lacks")
    x, y, z = np.ogrid[:100, :100, :100]
    waves = np.sin(x / 4) * np.sin(y / 5) + np.sin(z / 3) > 0
    for folder in ("tiny", "large"):
        (tmp_path / folder).mkdir()
    tiny = make_layer(tmp_path / "tiny", waves[:20, :20, :20].astype(np.uint64))
    large = make_layer(tmp_path / "large", waves.astype(np.uint64) * 7)
    command = [sys.executable, "-c", "import re\n" + GROWTH, tiny, large, name]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
