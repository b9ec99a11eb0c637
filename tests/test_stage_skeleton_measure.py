"""Measures of a layer's skeletons: a row each, whatever holds them; they join graphs and become properties."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import parquet_tables, segment_properties
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.stage import Layer
from igneous_ng.stages.annotate_properties import Properties
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from igneous_ng.stages.skeleton_files import SkeletonMeasure
from tests.layers import files
from tests.test_forging import make_layer, run

Array = npt.NDArray[Any]
LO: Vec3 = (-20, 7, 3)
LABELS = [*range(100, 112), 2**64 - 1]


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    """Thirteen rods, as files and as shards."""
    block = np.zeros((16, 30, 12), np.uint64)
    for i, label in enumerate(LABELS):
        block[i, 3 + i % 5 : 28, 4:9] = label
    made = make_layer(tmp_path_factory.mktemp("rods"), block, LO, (16.0, 16.0, 40.0))
    for folder, sharded in (("shards", True), ("plain", False)):
        run(SkeletonForge(layer=made, dir=folder, const=100.0))
        run(SkeletonMerge(layer=made, dir=folder, sharded=sharded))
    return made


def rows(folder: Path) -> dict[int, dict[str, float]]:
    """All rows of a table by segment; every file is ascending."""
    found = dict[int, dict[str, float]]()
    for path in sorted(folder.glob("*.parquet")):
        part = parquet_tables.read(str(path))
        assert (np.diff(part["segment"].astype(object)) > 0).all()
        for number, segment in enumerate(part.pop("segment").tolist()):
            assert segment not in found
            found[segment] = {name: column[number] for name, column in part.items()}
    return found


@pytest.mark.parametrize("source", ["plain", "shards"])
def test_each_skeleton_is_measured_as_others_measure_it(tmp_path: Path, layer: Layer, source: str) -> None:
    from cloudvolume import CloudVolume

    stage = SkeletonMeasure(layer=layer, dir=source, table=f"{tmp_path}/table", parts=4)
    run(stage)
    found, reader = rows(tmp_path / "table"), CloudVolume(layer, progress=False, skel_dir=source).skeleton
    assert sorted(found) == LABELS
    for label, row in found.items():
        skeleton = reader.get(label)
        assert row["cable_length"] == pytest.approx(skeleton.cable_length(), rel=1e-6)
        assert (row["end_points"], row["branch_points"]) == (len(skeleton.terminals()), len(skeleton.branches()))
        assert (row["radius_min"], row["radius_max"]) == (skeleton.radii.min(), skeleton.radii.max())
        assert row["radius_min"] <= row["radius_mean"] <= row["radius_max"]
        assert [row[f"min_{axis}"] for axis in "xyz"] == skeleton.vertices.min(axis=0).tolist()
        assert row["strahler"] == 1 + (row["branch_points"] > 0)
        assert 0 < row["longest_path"] <= row["cable_length"] * (1 + 1e-12)
    cable = sum(row["cable_length"] for row in found.values())
    assert stage.said(IO()) == f"13 skeletons with {cable / 1000:,.1f} um of cable"
    once = files(tmp_path / "table")
    run(stage, seed=1)
    assert files(tmp_path / "table") == once
    assert json.loads(once["table.json"])["files"] == len(list((tmp_path / "table").glob("*.parquet")))


def test_some_labels_and_no_radii(tmp_path: Path, layer: Layer) -> None:
    bare = Path(layer.removeprefix("file://")) / "bare"
    bare.mkdir(exist_ok=True)
    points = np.array([[0, 0, 0], [3, 4, 0]], "<f4")
    data = np.array([2, 1], "<u4").tobytes() + points.tobytes() + np.array([0, 1], "<u4").tobytes()
    for label in (7, 2**63 + 1):
        (bare / str(label)).write_bytes(data)
    (bare / "info").write_text(json.dumps({"@type": "neuroglancer_skeletons", "vertex_attributes": [],
                                           "transform": [2, 0, 0, 100, 0, 1, 0, 0, 0, 0, 1, 0]}))  # fmt: skip
    run(SkeletonMeasure(layer=layer, dir="bare", table=f"{tmp_path}/all", parts=1))
    found = rows(tmp_path / "all")
    assert sorted(found) == [7, 2**63 + 1]
    assert found[7]["cable_length"] == math.sqrt(36 + 16)
    assert (found[7]["min_x"], found[7]["max_x"]) == (100, 106)
    assert not [name for name in found[7] if name.startswith("radius")]
    run(SkeletonMeasure(layer=layer, dir="bare", table=f"{tmp_path}/one", parts=2, labels=(7,)))
    assert sorted(rows(tmp_path / "one")) == [7]
    with pytest.raises(DataError, match="neuroglancer_skeletons is wanted"):
        run(SkeletonMeasure(layer=layer, dir="nothing", table=f"{tmp_path}/none"))


def test_measures_become_properties_of_segments(tmp_path: Path, layer: Layer) -> None:
    run(SkeletonMeasure(layer=layer, dir="plain", table=f"{tmp_path}/table", parts=4))
    columns = ("cable_length", "end_points")
    run(Properties(layer=layer, tables=(Layer.parse(f"{tmp_path}/table"),), columns=columns))
    url = f"{layer}/properties/info"
    ids, made = segment_properties.parse(IO().get(url) or b"", url)
    found = rows(tmp_path / "table")
    assert ids.tolist() == LABELS
    assert [one.id for one in made] == list(columns)
    assert made[1].values == [found[label]["end_points"] for label in LABELS]
    assert np.allclose(made[0].values, [found[label]["cable_length"] for label in LABELS])
    for name, told in (("none", "there is no such table"), ("table.txt", "files end in")):
        with pytest.raises((DataError, SpecError), match=told):
            run(Properties(layer=layer, tables=(Layer.parse(f"{tmp_path}/{name}"),)))
