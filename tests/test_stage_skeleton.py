from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import skeleton
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.stage import Layer
from igneous_ng.stages.mesh import MeshForge
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from tests.test_forging import files, make_layer, run

Array = npt.NDArray[Any]
BIG = 2**64 - 1
LO, RESOLUTION = (-20, 7, 3), (16.0, 16.0, 40.0)


def tube() -> Array:
    """An object that runs along x, and a second one that bends from x to y."""
    labels = np.zeros((60, 40, 12), np.uint64)
    labels[2:58, 4:9, 4:9] = BIG
    labels[5:50, 20:25, 2:6] = 3
    labels[45:50, 20:38, 2:6] = 3
    return labels


def made(layer: Layer, cell: Vec3, folder: str = "skeletons", seed: int = 0, **merge: Any) -> Path:
    run(SkeletonForge(layer=layer, cell=cell, dir=folder, const=100.0), seed)
    run(SkeletonMerge(layer=layer, dir=folder, **merge), seed)
    return Path(layer.removeprefix("file://")) / folder


def read(layer: Layer, label: int, folder: str = "skeletons") -> tuple[Array, Array, Array]:
    stored = IO().get(f"{layer}/{folder}/{label}")
    assert stored is not None
    info = IO().get_json(f"{layer}/{folder}/info") or {}
    graph = skeleton.decode(stored, "x", info["vertex_attributes"])
    return graph.vertices, graph.edges, graph.attributes["radius"]


def parts(vertices: Array, edges: Array) -> int:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(edges)), edges.T.astype(int)), shape=(len(vertices),) * 2)
    return int(connected_components(graph, directed=False)[0])


@pytest.mark.parametrize("cell", [(60, 40, 12), (16, 16, 16), (7, 40, 12), (13, 6, 12)])
def test_a_tube_gives_one_path_whatever_the_cells(tmp_path: Path, cell: Vec3) -> None:
    layer = make_layer(tmp_path, tube(), LO, RESOLUTION)
    made(layer, cell, tick=250.0)
    for label, expected in ((BIG, 55 * 16), (3, (44 + 16) * 16)):
        vertices, edges, radii = read(layer, label)
        assert parts(vertices, edges) == 1
        assert len(edges) == len(vertices) - 1
        steps = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
        assert 0.75 * expected < steps.sum() < 1.5 * expected
        assert radii.min() > 0
        inside = np.argwhere(tube() == label) + LO
        assert (vertices >= (inside.min(axis=0) - 1) * RESOLUTION).all()
        assert (vertices <= (inside.max(axis=0) + 2) * RESOLUTION).all()
        voxels = np.floor(vertices / RESOLUTION).astype(int) - LO
        assert (tube()[tuple(voxels.T)] == label).all()
        assert np.allclose((vertices / RESOLUTION) % 1, 0.5)


def test_bytes_depend_on_neither_order_nor_repetition(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, tube(), LO, RESOLUTION)
    one = files(made(layer, (16, 16, 16), "one"))
    assert files(made(layer, (16, 16, 16), "two", seed=1)) == one
    assert files(made(layer, (16, 16, 16), "two", seed=2)) == one


def test_dust_and_length_decide_over_the_whole_object(tmp_path: Path) -> None:
    labels = tube()
    labels[1:9, 37:39, 10] = 7  # 16 voxels, split by the cells
    layer = make_layer(tmp_path, labels, LO, RESOLUTION)
    for dust, length, left in (
        (15, 0.0, {3, 7, BIG}),
        (16, 0.0, {3, BIG}),
        (0, 400.0, {3, BIG}),
        (0, 1e6, set()),
    ):
        folder = f"d{dust}-{int(length)}"
        made(layer, (5, 40, 12), folder, dust=dust, min_length=length)
        assert {label for label in (3, 7, BIG) if IO().exists(f"{layer}/{folder}/{label}")} == left


def test_a_soma_across_cells_stays_one_part(tmp_path: Path) -> None:
    x, y, z = np.ogrid[:44, :24, :24]
    labels = ((x - 22) ** 2 + (y - 12) ** 2 + (z - 12) ** 2 < 100).astype(np.uint32)
    labels[:, 11:14, 11:14] = 1
    layer = make_layer(tmp_path, labels, LO, (400.0, 400.0, 400.0))
    for cell in ((44, 24, 24), (22, 24, 24)):
        folder = f"s{cell[0]}"
        run(SkeletonForge(layer=layer, cell=cell, dir=folder, soma_acceptance=3000.0))
        run(SkeletonMerge(layer=layer, dir=folder))
        vertices, edges, _ = read(layer, 1, folder)
        assert parts(vertices, edges) == 1
        assert np.ptp(vertices[:, 0]) == 43 * 400


def test_phases_and_kinds_are_kept_apart(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, tube(), LO, RESOLUTION)
    with pytest.raises(DataError, match="run `skeleton forge`"):
        SkeletonMerge(layer=layer).units(IO())
    MeshForge(layer=layer, dir="skeletons").prepare(IO())
    with pytest.raises(SpecError, match="kind mesh there, skeleton asked for"):
        SkeletonForge(layer=layer).prepare(IO())
    with pytest.raises(SpecError, match="soma"):
        SkeletonForge(layer=layer, soma_acceptance=-1.0)
    with pytest.raises(SpecError, match="tick -1"):
        SkeletonMerge(layer=layer, tick=-1.0)


def test_cloudvolume_reads_the_skeletons(tmp_path: Path) -> None:
    from cloudvolume import CloudVolume

    layer = make_layer(tmp_path, tube(), LO, RESOLUTION)
    made(layer, (32, 32, 32))
    assert IO().info(layer).extra["skeletons"] == "skeletons"
    seen = CloudVolume(layer, progress=False).skeleton.get(BIG)
    vertices, edges, radii = read(layer, BIG)
    assert np.array_equal(seen.vertices, vertices)
    assert np.array_equal(seen.edges, edges)
    assert np.array_equal(seen.radius, radii)
    assert not seen.vertex_types.any()


def test_shards_hold_what_the_files_hold(tmp_path: Path) -> None:
    from cloudvolume import CloudVolume

    labels = tube()
    for i in range(40):
        labels[i, 36:40, 11] = 100 + i
    layer = make_layer(tmp_path, labels, LO, RESOLUTION)
    plain = files(made(layer, (32, 32, 32)))
    folder = made(layer, (32, 32, 32), "shards", sharded=True)
    stored = files(folder)
    assert files(made(layer, (32, 32, 32), "shards", seed=3, sharded=True)) == stored
    assert all(name == "info" or name.endswith(".shard") for name in stored)
    seen = CloudVolume(layer, progress=False, skel_dir="shards").skeleton
    names = sorted(int(name.removesuffix(".gz")) for name in plain if name != "info")
    assert len(names) > 20
    for label in names:
        vertices, edges, radii = read(layer, label)
        found = seen.get(label)
        assert np.array_equal(found.vertices, vertices)
        assert np.array_equal(found.edges, edges)
        assert np.array_equal(found.radius, radii)
    with pytest.raises(SpecError, match="has skeletons in shards"):
        SkeletonMerge(layer=layer, dir="shards").prepare(IO())
    run(SkeletonForge(layer=layer, dir="odd", buckets=7))
    with pytest.raises(SpecError, match="power of two"):
        SkeletonMerge(layer=layer, dir="odd", sharded=True).prepare(IO())


def test_records_say_how_good_the_skeletons_are(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, tube(), LO, RESOLUTION)
    noted = run(SkeletonForge(layer=layer, cell=(30, 40, 12), const=100.0))
    assert noted == {"objects": 4, "traced": 4, "somata": 0, "deferred": 0}
    noted = run(SkeletonMerge(layer=layer, tick=250.0))
    assert {k: noted[k] for k in ("objects", "dust", "in_parts")} == {"objects": 2, "dust": 0, "in_parts": 0}
    assert noted["ends"] == noted["branches"] + 4
    assert 1 < noted["cable_um"] < 4


def test_lines_reach_the_points_that_are_given(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, tube(), LO, RESOLUTION)
    spots = np.array([[20, 4, 4], [40, 8, 8], [30, 24, 5]]) + LO
    rows = [f"{x},{y},{z},{label},{kind}" for (x, y, z), label, kind in (
        *zip(((spots + 0.5) * RESOLUTION).tolist(), ("", BIG, 3), (7, 8, 9), strict=True),
        ((0, 0, 0), BIG, 1),  # too far from it
        ((1e9, 0, 0), "", 1),  # not in the layer
    )]  # fmt: skip
    path = tmp_path / "points.csv"
    path.write_text("x,y,z,label,type\n" + "\n".join(rows))
    noted = run(SkeletonForge(layer=layer, cell=(16, 16, 16), const=100.0, targets=str(path)))
    assert noted["targets"] == 3
    run(SkeletonMerge(layer=layer))
    attributes = (IO().get_json(f"{layer}/skeletons/info") or {})["vertex_attributes"]
    for label, wanted in ((BIG, {7: spots[0], 8: spots[1]}), (3, {9: spots[2]})):
        stored = IO().get(f"{layer}/skeletons/{label}")
        assert stored is not None
        graph = skeleton.decode(stored, "x", attributes)
        for kind, spot in wanted.items():
            (row,) = np.flatnonzero(graph.attributes["vertex_types"] == kind)
            assert np.floor(graph.vertices[row] / RESOLUTION).tolist() == spot.tolist()
    with pytest.raises(DataError, match="no such file"):
        SkeletonForge(layer=layer, dir="none", targets="/nowhere/points.csv").prepare(IO())


def test_areas_are_seen_across_cells(tmp_path: Path) -> None:
    from cloudvolume import CloudVolume

    layer = make_layer(tmp_path, tube(), LO, RESOLUTION)
    run(SkeletonForge(layer=layer, cell=(16, 40, 12), const=100.0, cross_section=3, context=8))
    run(SkeletonMerge(layer=layer, tick=300.0))
    seen = CloudVolume(layer, progress=False).skeleton.get(BIG)
    x = seen.vertices[:, 0] / RESOLUTION[0] - LO[0]
    middle = (x > 12) & (x < 48)
    assert middle.sum() > 30
    assert np.median(seen.cross_sectional_area[middle]) == pytest.approx(5 * 5 * 16 * 40, rel=0.05)
    assert (seen.cross_sectional_area[middle] > 0.9 * 5 * 5 * 16 * 40).all()
