from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import mesh, multires
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.native.distance import distances
from igneous_ng.stage import Layer
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from tests.test_forging import files, make_layer, run
from tests.test_kernel_meshing import closed, faces_per_edge, is_closed, volume

Array = npt.NDArray[Any]
BIG = 2**63 + 5


def made(layer: Layer, cell: Vec3 = (16, 16, 16), seed: int = 0, folder: str = "mesh", **merge: Any) -> Path:
    """Forge and merge; the folder of the meshes."""
    run(MeshForge(layer=layer, cell=cell, dir=folder), seed)
    run(MeshMerge(layer=layer, dir=folder, **merge), seed)
    return Path(layer.removeprefix("file://")) / folder


def read(layer: Layer, label: int, folder: str = "mesh") -> tuple[Array, Array]:
    stored = IO().get(f"{layer}/{folder}/{label}.mesh")
    assert stored is not None
    return mesh.decode(stored, "x")


def two_objects() -> Array:
    labels = np.zeros((50, 20, 20), np.uint64)
    labels[3:47, 8:13, 8:12] = BIG
    labels[:, 0:3, 0:3] = 9  # ends at the edges of the layer
    return labels


def test_an_object_stands_where_its_voxels_are_in_nanometres(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects(), lo=(-5, 7, 1000), resolution=(16, 16, 40))
    made(layer, simplify=False)
    vertices, faces = read(layer, BIG)
    assert vertices.min(axis=0).tolist() == [(3 - 5) * 16, (8 + 7) * 16, 1008 * 40]
    assert vertices.max(axis=0).tolist() == [(47 - 5) * 16, (13 + 7) * 16, 1012 * 40]
    assert faces_per_edge(faces) == {2}
    voxels = 44 * 5 * 4 * 16 * 16 * 40
    assert 0.95 * voxels < volume(vertices - vertices[0], faces) < voxels
    at_the_edge, faces = read(layer, 9)
    assert at_the_edge.min(axis=0).tolist() == [-80, 7 * 16, 40000]
    assert at_the_edge.max(axis=0).tolist() == [45 * 16, 10 * 16, 1003 * 40]
    assert faces_per_edge(faces) == {2}


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=hnp.arrays(np.uint64, st.tuples(*[st.integers(1, 9)] * 3), elements=st.sampled_from([0, 3, BIG])),
    lo=st.tuples(*[st.integers(-9, 9)] * 3),
    cell=st.tuples(*[st.integers(2, 6)] * 3),
)
def test_the_mesh_of_the_whole_comes_from_any_cells(
    tmp_path_factory: pytest.TempPathFactory, labels: Array, lo: Vec3, cell: Vec3
) -> None:
    layer = make_layer(tmp_path_factory.mktemp("any"), labels, lo, (8, 8, 8))
    folder = made(layer, cell, simplify=False)
    whole = closed(labels)
    assert {n for n in files(folder) if n.endswith(":0")} == {mesh.manifest_name(label) for label in whole}
    for label, (vertices, faces) in whole.items():
        got, triangles = read(layer, label)
        assert np.array_equal(got, vertices * 4.0 + np.multiply(lo, 8))
        assert np.array_equal(triangles, faces)
        assert is_closed(triangles)


def test_bytes_depend_on_neither_cells_nor_order_nor_repetition(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects())
    one = files(made(layer, (50, 20, 20), folder="one"))
    assert files(made(layer, (16, 16, 16), 1, folder="many")) == one
    assert files(made(layer, (16, 16, 16), 2, folder="many")) == one
    assert files(made(layer, (7, 20, 5), folder="odd")) == one
    containers = Path(layer.removeprefix("file://")) / "many" / "fragments"
    before = files(containers)
    run(MeshForge(layer=layer, cell=(16, 16, 16), dir="many"), 3)
    assert files(containers) == before


def test_dust_is_counted_over_all_cells(tmp_path: Path) -> None:
    labels = np.zeros((40, 8, 8), np.uint32)
    labels[10:20, 2, 2] = 1  # ten voxels, split by the cells
    labels[30:32, 2:5, 2] = 2  # six, in one cell
    layer = make_layer(tmp_path, labels)
    for dust, left in ((5, {1, 2}), (6, {1}), (9, {1}), (10, set())):
        folder = f"dust{dust}"
        run(MeshForge(layer=layer, cell=(16, 8, 8), dir=folder))
        noted = run(MeshMerge(layer=layer, dust=dust, dir=folder))
        assert (noted["objects"], noted["dust"]) == (len(left), 2 - len(left))
        assert {label for label in (1, 2) if IO().exists(f"{layer}/{folder}/{label}:0")} == left


def test_only_labels_asked_for_are_made(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects())
    run(MeshForge(layer=layer, cell=(16, 16, 16), labels=(BIG,)))
    assert run(MeshMerge(layer=layer))["objects"] == 1
    with pytest.raises(SpecError, match="labels"):
        MeshForge(layer=layer).prepare(IO())


def test_nothing_is_published_before_the_end(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects())
    forge, merge = MeshForge(layer=layer, cell=(32, 32, 32)), MeshMerge(layer=layer)
    forge.prepare(IO())
    for unit in forge.units(IO()):
        forge.execute(unit, IO())
    with pytest.raises(DataError, match="forging has not finished"):
        merge.prepare(IO())
    forge.finish(IO())
    merge.prepare(IO())
    for number in merge.units(IO()):
        merge.execute(number, IO())
    assert "mesh" not in IO().info(layer).extra
    assert not IO().exists(f"{layer}/mesh/info")
    merge.finish(IO())
    assert IO().info(layer).extra["mesh"] == "mesh"


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects())
    run(MeshForge(layer=layer))
    IO().put_json(f"{layer}/mesh/info", {"@type": "neuroglancer_multilod_draco"})
    with pytest.raises(SpecError, match=r"neuroglancer_multilod_draco.*--dir"):
        MeshMerge(layer=layer).prepare(IO())


def test_a_region_done_again_covers_every_cell_that_sees_it(tmp_path: Path) -> None:
    labels = two_objects()
    layer = make_layer(tmp_path, labels, lo=(0, 0, 0))
    made(layer, (16, 20, 20))
    labels[16:32, 0:3, 0:3] = 0  # what changes also takes the cell before it along
    make_layer(tmp_path, labels, lo=(0, 0, 0))
    run(MeshForge(layer=layer, cell=(16, 20, 20), roi=Box((16, 0, 0), (32, 20, 20))))
    folder = Path(layer.removeprefix("file://")) / "mesh"
    run(MeshMerge(layer=layer))
    assert files(folder) == files(made(layer, (16, 20, 20), folder="fresh"))


def test_an_object_beyond_memory_is_named(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects())
    run(MeshForge(layer=layer))
    with pytest.raises(DataError, match=rf"label ({BIG}|9) takes [\d,]+ bytes to merge and memory is 20,000"):
        run(MeshMerge(layer=layer, memory=20_000))


def test_an_image_has_no_meshes(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, np.zeros((4, 4, 4), np.uint8), kind="image")
    with pytest.raises(SpecError, match="of type image"):
        MeshForge(layer=layer).prepare(IO())


@pytest.mark.parametrize("wrong", [{"cell": (0, 8, 8)}, {"buckets": -1}, {"labels": (0,)}, {"dir": "../x"}])
def test_wrong_requests_to_forge_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=rf"mesh forge\.{next(iter(wrong))}"):
        MeshForge(layer=Layer("file:///x"), **wrong)


@pytest.mark.parametrize(
    "wrong", [{"max_error": -1.0}, {"reduction": 0.5}, {"dust": -1}, {"levels": 13}, {"chunk": (8, 0, 8)}]
)
def test_wrong_requests_to_merge_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=rf"mesh merge\.{next(iter(wrong))}"):
        MeshMerge(layer=Layer("file:///x"), **wrong)


def test_cloudvolume_reads_the_meshes(tmp_path: Path) -> None:
    from cloudvolume import CloudVolume

    layer = make_layer(tmp_path, two_objects())
    made(layer)
    seen = CloudVolume(layer, progress=False).mesh.get(BIG)
    vertices, faces = read(layer, BIG)
    triangles = np.asarray(seen.vertices)[np.asarray(seen.faces).reshape(-1, 3)]  # in an order of its own
    assert sorted(triangles.reshape(-1, 9).tolist()) == sorted(vertices[faces].reshape(-1, 9).tolist())
    assert json.loads(IO().get(f"{layer}/mesh/{BIG}:0") or b"") == {"fragments": [f"{BIG}.mesh"]}


def levels_of(layer: Layer, label: int, folder: str) -> list[tuple[Array, Array]]:
    """Every level of an object that lies in files of its own."""
    io = IO()
    manifest, data = io.get(f"{layer}/{folder}/{label}.index"), io.get(f"{layer}/{folder}/{label}")
    assert manifest is not None
    assert data is not None
    found = multires.decode(manifest, "x")
    return [multires.read(found, level, data, multires.BITS, "x") for level in range(len(found.scales))]


SMALL_BOXES: dict[str, Any] = {"chunk": (16, 8, 8), "max_error": 8.0}


def test_levels_of_detail_are_closed_and_near_the_whole(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects(), lo=(-5, 7, 1000), resolution=(16, 16, 40))
    made(layer, folder="whole", simplify=False)
    made(layer, folder="levels", format="multires", **SMALL_BOXES)
    info = IO().get_json(f"{layer}/levels/info")
    assert isinstance(info, dict)
    assert info["@type"] == "neuroglancer_multilod_draco"
    for label in (9, BIG):
        vertices, _ = read(layer, label, "whole")
        levels = levels_of(layer, label, "levels")
        assert len(levels) == 3
        for i, (points, triangles) in enumerate(levels):
            distinct, index = np.unique(np.rint(points * 1e3), axis=0, return_inverse=True)
            assert is_closed(index.ravel()[triangles])
            assert len(distinct) < len(points) or i == 2  # boxes share points, but there is one box at the top
            assert distances(vertices, points, triangles, 1e3).max() < 8 * 2 ** (i + 1)


@pytest.mark.parametrize("kind", ["multires", "sharded"])
def test_cloudvolume_reads_every_level(tmp_path: Path, kind: str) -> None:
    from cloudvolume import CloudVolume

    layer = make_layer(tmp_path, two_objects(), lo=(-5, 7, 1000))
    made(layer, folder="own", format="multires", **SMALL_BOXES)
    made(layer, folder="theirs", format=kind, **SMALL_BOXES)
    source = CloudVolume(layer, progress=False).mesh
    for label in (9, BIG):
        for level, (vertices, faces) in enumerate(levels_of(layer, label, "own")):
            seen = source.get(label, lod=level)[label]
            assert np.allclose(
                np.sort(corners(seen.vertices, seen.faces)), np.sort(corners(vertices, faces)), rtol=1e-6
            )
            assert len(seen.faces) == len(faces)


def corners(vertices: Array, faces: Array) -> Array:
    """A number for each triangle that tells its place."""
    found: Array = np.asarray(vertices, np.float64)[np.asarray(faces).reshape(-1, 3)].sum(axis=1) @ [1, 3, 7]
    return found


def test_shards_depend_on_neither_cells_nor_order_nor_repetition(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects())
    one = files(made(layer, (50, 20, 20), folder="one", format="sharded"))
    assert [name for name in one if name.endswith(".shard")]
    assert files(made(layer, (16, 16, 16), 1, folder="many", format="sharded")) == one
    run(MeshMerge(layer=layer, dir="many", format="sharded"), 3)
    assert files(Path(layer.removeprefix("file://")) / "many") == one


def test_a_shard_whose_objects_are_gone_goes_too(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects())
    folder = made(layer, format="sharded")
    run(MeshMerge(layer=layer, format="sharded", dust=10**6))
    assert not [name for name in files(folder) if name.endswith(".shard")]


def test_buckets_that_are_no_shards_are_refused(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects())
    run(MeshForge(layer=layer, buckets=3))
    with pytest.raises(SpecError, match="power of two"):
        MeshMerge(layer=layer, format="sharded").prepare(IO())


def test_labels_are_left_out_or_joined_by_a_table(tmp_path: Path) -> None:
    labels = two_objects()
    labels[3:47, 8:13, 12:14] = 4  # lies on the large one
    layer = make_layer(tmp_path, labels)
    run(MeshForge(layer=layer, exclude=(9, 4), dir="few"))
    assert run(MeshMerge(layer=layer, dir="few"))["objects"] == 1
    (tmp_path / "table.json").write_text(json.dumps({"4": str(BIG), "9": "0", "77": "78"}))
    run(MeshForge(layer=layer, remap=Layer.parse(f"{tmp_path}/table.json"), cell=(16, 16, 16), dir="joined"))
    assert run(MeshMerge(layer=layer, dir="joined", simplify=False))["objects"] == 1
    labels[labels == 4], labels[labels == 9] = BIG, 0
    (tmp_path / "one").mkdir()
    alone = make_layer(tmp_path / "one", labels)
    made(alone, simplify=False)
    assert all(np.array_equal(a, b) for a, b in zip(read(layer, BIG, "joined"), read(alone, BIG), strict=True))
    with pytest.raises(DataError, match="table of labels is missing"):
        run(MeshForge(layer=layer, remap=Layer.parse(f"{tmp_path}/no.json"), dir="none"))


def test_edges_of_the_layer_may_stay_open(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects())
    run(MeshForge(layer=layer, open_edges=True, cell=(16, 16, 16)))
    run(MeshMerge(layer=layer))
    assert not is_closed(read(layer, 9)[1])  # ends at the edges of the layer
    assert is_closed(read(layer, BIG)[1])


def test_cavities_are_filled_across_cells(tmp_path: Path) -> None:
    labels = np.zeros((40, 12, 12), np.uint8)
    labels[2:38, 2:10, 2:10] = 1
    full = make_layer(tmp_path, labels)
    whole = files(made(full, simplify=False))
    labels[10:30, 4:8, 4:8] = 0
    (tmp_path / "hollow").mkdir()
    layer = make_layer(tmp_path / "hollow", labels)
    hollow = files(made(layer, simplify=False))
    assert len(hollow["1.mesh.gz"]) > len(whole["1.mesh.gz"])
    assert files(made(layer, simplify=False, fill_holes=True)) == whole


def test_cloudvolume_finds_labels_by_box(tmp_path: Path) -> None:
    from cloudvolume import Bbox, CloudVolume

    resolution = (16, 16, 40)
    layer = make_layer(tmp_path, two_objects(), lo=(-5, 7, 1000), resolution=resolution)
    run(MeshForge(layer=layer, cell=(16, 16, 16), spatial_index=True))
    run(MeshMerge(layer=layer, simplify=False))
    index = CloudVolume(layer, progress=False).mesh.spatial_index
    low = np.multiply((-5, 7, 1000), resolution)
    assert set(index.query(Bbox(low, low + np.multiply((50, 20, 20), resolution)))) == {9, BIG}
    for label in (9, BIG):
        vertices, _ = read(layer, label)
        boxes = [
            b
            for f in (tmp_path / "seg" / "mesh").glob("*.spatial")
            for n, b in json.loads(f.read_text()).items()
            if n == str(label)
        ]
        assert np.allclose(np.min(boxes, axis=0)[:3], vertices.min(axis=0), atol=max(resolution))
        assert np.allclose(np.max(boxes, axis=0)[3:], vertices.max(axis=0), atol=max(resolution))


def test_what_merging_makes_is_noted(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, two_objects())
    noted = run(MeshForge(layer=layer, cell=(16, 16, 16)))
    merged = run(MeshMerge(layer=layer, simplify=False))
    assert noted["triangles"] == merged["triangles"] == sum(len(read(layer, label)[1]) for label in (9, BIG))
    assert merged["at_the_edge"] == 1


def test_objects_of_many_handles_are_suspected_to_be_several(tmp_path: Path) -> None:
    labels = np.zeros((20, 20, 6), np.uint64)
    labels[2:17, 2:17, 2:4] = BIG
    labels[4:16:4, 4:16:4, :] = 0  # nine holes
    labels[18, 2:17, 2:4] = 5
    for simplify in (True, False):
        run(MeshForge(layer=(layer := make_layer(tmp_path / str(simplify), labels)), cell=(8, 8, 8)))
        merged = run(MeshMerge(layer=layer, simplify=simplify))
        assert merged["suspected_mergers"] == [{"label": str(BIG), "handles": 9}]
