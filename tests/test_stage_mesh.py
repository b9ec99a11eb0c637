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
from igneous_ng.formats import mesh
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.kernels import meshing
from igneous_ng.stage import Layer
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from tests.test_forging import files, make_layer, run
from tests.test_kernel_meshing import faces_per_edge, is_closed, volume

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
    whole = dict(meshing.march(np.pad(labels, 1)))
    assert {n for n in files(folder) if n.endswith(":0")} == {mesh.manifest_name(label) for label in whole}
    for label, (vertices, faces) in whole.items():
        got, triangles = read(layer, label)
        assert np.array_equal(got, (vertices - 2) * 4.0 + np.multiply(lo, 8))
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
        assert run(MeshMerge(layer=layer, dust=dust, dir=folder)) == {
            "objects": len(left),
            "dust": 2 - len(left),
        }
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


@pytest.mark.parametrize("wrong", [{"max_error": -1.0}, {"reduction": 0.5}, {"dust": -1}])
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
