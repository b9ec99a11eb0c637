from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import skeleton, swc
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.stage import Layer
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from igneous_ng.stages.skeleton_files import SkeletonConvert, SkeletonDelete, SkeletonTransfer
from tests.test_forging import files, make_layer, run

LO: Vec3 = (-20, 7, 3)
LABELS = [*range(100, 140), 2**64 - 1]


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    """Forty-one rods, as files and as shards."""
    block = np.zeros((45, 30, 12), np.uint64)
    for i, label in enumerate(LABELS):
        block[i, 3 + i % 5 : 28, 4:9] = label
    layer = make_layer(tmp_path, block, LO, (16.0, 16.0, 40.0))
    for folder, sharded in (("shards", True), ("plain", False)):
        run(SkeletonForge(layer=layer, dir=folder, const=100.0))
        run(SkeletonMerge(layer=layer, dir=folder, sharded=sharded))
    return layer


def other(tmp_path: Path) -> Layer:
    (tmp_path / "b").mkdir(exist_ok=True)
    return make_layer(tmp_path / "b", np.zeros((16, 16, 16), np.uint64))


def path(layer: Layer, folder: str = "") -> Path:
    return Path(layer.removeprefix("file://")) / folder


def seen(layer: Layer, folder: str) -> dict[int, bytes]:
    """Every skeleton as an independent reader sees it."""
    from cloudvolume import CloudVolume

    reader = CloudVolume(layer, progress=False, skel_dir=folder).skeleton
    return {label: reader.get(label).to_precomputed() for label in LABELS}


@pytest.mark.parametrize("source", ["plain", "shards"])
@pytest.mark.parametrize("sharded", [True, False, None])
def test_a_copy_is_read_as_the_source(tmp_path: Path, layer: Layer, source: str, sharded: bool | None) -> None:
    target = other(tmp_path)
    stage = SkeletonTransfer(layer=layer, dir=source, dest=target, dest_dir="copy", sharded=sharded)
    run(stage)
    once = files(path(target, "copy"))
    run(stage, seed=1)
    assert files(path(target, "copy")) == once
    assert seen(target, "copy") == seen(layer, source)
    assert IO().info(target).extra["skeletons"] == "copy"
    assert any(name.endswith(".shard") for name in once) == (source == "shards" if sharded is None else sharded)


@pytest.mark.parametrize("source", ["plain", "shards"])
def test_chosen_labels_are_copied(tmp_path: Path, layer: Layer, source: str) -> None:
    target = other(tmp_path)
    noted = run(SkeletonTransfer(layer=layer, dir=source, dest=target, labels=(LABELS[-1], 101, 7)))
    assert noted["objects"] == 2
    copied = run(SkeletonConvert(layer=target, dest=str(tmp_path / "swc")))
    assert copied["objects"] == 2
    assert sorted(files(tmp_path / "swc")) == ["101.swc", f"{LABELS[-1]}.swc"]


def test_a_copy_onto_itself_is_refused(layer: Layer) -> None:
    with pytest.raises(SpecError, match="onto itself"):
        SkeletonTransfer(layer=layer, dir="plain", dest=layer)
    with pytest.raises(SpecError, match="onto itself"):
        SkeletonTransfer(layer=layer, dest=layer, dest_dir="plain").prepare(IO())
    with pytest.raises(SpecError, match="power of two"):
        SkeletonTransfer(layer=layer, dest=layer, parts=12)


@pytest.mark.parametrize("source", ["plain", "shards"])
def test_every_skeleton_becomes_an_swc(tmp_path: Path, layer: Layer, source: str) -> None:
    assert run(SkeletonConvert(layer=layer, dir=source, dest=str(tmp_path / "swc")))["objects"] == len(LABELS)
    for label in LABELS:
        points, edges, radii, _ = swc.decode((tmp_path / "swc" / f"{label}.swc").read_bytes(), "x")
        stored = IO().get(f"{layer}/plain/{label}")
        assert stored is not None
        graph = skeleton.decode(stored, "x", skeleton.info(0)["vertex_attributes"])
        order = np.lexsort(graph.vertices.T), np.lexsort(points.T)
        assert np.allclose(graph.vertices[order[0]], points[order[1]], rtol=1e-5)
        assert np.allclose(graph.attributes["radius"][order[0]], radii[order[1]], rtol=1e-5)
        assert len(edges) == len(points) - 1


def test_a_loop_of_others_is_exported_as_well(tmp_path: Path, layer: Layer) -> None:
    ring: dict[str, Any] = {"@type": skeleton.TYPE, "transform": [2, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0]}
    (path(layer) / "ring").mkdir()
    (path(layer) / "ring" / "info").write_text(json.dumps(ring))
    points, edges = np.eye(3) * 1000, np.array([[0, 1], [1, 2], [2, 0]])
    (path(layer) / "ring" / "5").write_bytes(skeleton.encode(skeleton.Graph(points, edges, {})))
    run(SkeletonConvert(layer=layer, dir="ring", dest=str(tmp_path / "swc")))
    points, edges, radii, _ = swc.decode((tmp_path / "swc" / "5.swc").read_bytes(), "x")
    assert len(edges) == 2
    assert points[0].tolist() == [2001, 0, 0]
    assert not radii.any()


@pytest.mark.parametrize("source", ["plain", "shards"])
def test_a_folder_goes_from_readers_first_and_then_altogether(layer: Layer, source: str) -> None:
    run(SkeletonTransfer(layer=layer, dir=source, dest=layer, dest_dir="copy"))
    stage = SkeletonDelete(layer=layer, dir="copy")
    stage.prepare(IO())
    units = stage.units(IO())
    stage.execute(units[5], IO())
    assert "skeletons" not in IO().info(layer).extra
    run(stage, seed=2)
    stage.finish(IO())
    assert not files(path(layer, "copy"))
    assert len(files(path(layer, source))) > 2
    run(SkeletonDelete(layer=layer, dir=source))
    assert not files(path(layer, source))
    assert not files(path(layer, source) / "fragments")


def test_single_labels_are_removed(layer: Layer) -> None:
    before = set(files(path(layer, "plain")))
    run(SkeletonDelete(layer=layer, dir="plain", labels=(101, LABELS[-1])))
    assert before - set(files(path(layer, "plain"))) == {"101.gz", f"{LABELS[-1]}.gz"}
    assert IO().info(layer).extra["skeletons"] == "plain"
    with pytest.raises(SpecError, match="no part is removed"):
        SkeletonDelete(layer=layer, dir="shards", labels=(101,)).prepare(IO())
    with pytest.raises(SpecError, match="name the folder"):
        SkeletonDelete(layer=layer)
    with pytest.raises(DataError, match="no info here"):
        SkeletonDelete(layer=layer, dir="nowhere").prepare(IO())


def test_a_torn_shard_is_named(layer: Layer) -> None:
    shard = next(p for p in sorted(path(layer, "shards").iterdir()) if p.suffix == ".shard")
    shard.write_bytes(shard.read_bytes()[:-3])
    with pytest.raises(DataError, match=shard.name):
        run(SkeletonConvert(layer=layer, dir="shards", dest="/nowhere"))
