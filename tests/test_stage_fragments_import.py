from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import mesh, skeleton
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import meshing
from igneous_ng.stage import Layer
from igneous_ng.stages.fragments_import import MeshImport, SkeletonImport
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from tests import igneous_made
from tests.test_forging import files, make_layer, run
from tests.test_kernel_meshing import faces_per_edge
from tests.test_stage_mesh import corners, two_objects
from tests.test_stage_skeleton import tube

Array = npt.NDArray[Any]
CELL = (25, 10, 20)
BUCKETS = 2
RESOLUTION = (16, 16, 40)
SIZE = [25 * 16, 10 * 16, 20 * 40]
INDEX = {"resolution": list(RESOLUTION), "chunk_size": SIZE}
MESH_INFO = {"@type": "neuroglancer_legacy_mesh", "mip": 0, "chunk_size": list(CELL), "spatial_index": INDEX}
RADIUS = {"id": "radius", "data_type": "float32", "num_components": 1}
SKELETON_INFO = {"@type": "neuroglancer_skeletons", "mip": 0, "vertex_attributes": [RADIUS], "spatial_index": INDEX}
LO = (-5, 7, 1000)


def place(layer: Layer, folder: str) -> Path:
    return Path(layer.removeprefix("file://")) / folder


def surfaces(layer: Layer) -> dict[Box, dict[int, bytes]]:
    """The pieces of our own forging as legacy meshes in nm, a fragment a cell."""
    found: dict[Box, dict[int, bytes]] = {}
    for cell, pieces in igneous_made.pieces(layer, "mesh", "mesh").items():
        found[cell] = {}
        for label, (payload, where) in pieces.items():
            vertices, faces = meshing.join([meshing.Piece(*mesh.decode_piece(payload, where))])
            found[cell][label] = mesh.encode(vertices * (np.array(RESOLUTION) / 2) + np.multiply(LO, RESOLUTION), faces)
    return found


@pytest.fixture
def meshed(tmp_path: Path) -> Layer:
    """A layer with meshes that we merged, unsimplified, from cells whose surfaces Igneous could have left."""
    layer = make_layer(tmp_path, two_objects(), LO, RESOLUTION)
    run(MeshForge(layer=layer, cell=CELL, buckets=BUCKETS))
    run(MeshMerge(layer=layer, simplify=False))
    return layer


def same_meshes(layer: Layer, folder: str) -> None:
    expected, found = files(place(layer, "mesh")), files(place(layer, folder))
    assert found.keys() == expected.keys()
    for one in (n for n in found if n.endswith(".mesh.gz")):
        a, b = (IO().get(f"{layer}/{where}/{one.removesuffix('.gz')}") or b"" for where in ("mesh", folder))
        assert np.array_equal(np.sort(corners(*mesh.decode(b, "b"))), np.sort(corners(*mesh.decode(a, "a"))))
        assert faces_per_edge(mesh.decode(b, "b")[1]) == {2}


@pytest.mark.parametrize(("sharded", "indexed"), [(True, True), (False, True), (False, False)])
def test_meshes_of_fragments_are_those_of_the_cells(meshed: Layer, sharded: bool, indexed: bool) -> None:
    igneous_made.leave(place(meshed, "mesh_mip_0_err_40"), surfaces(meshed), MESH_INFO, sharded, indexed)
    before = files(place(meshed, "mesh_mip_0_err_40"))
    noted = run(MeshImport(layer=meshed, source_dir="mesh_mip_0_err_40", dir="other", buckets=BUCKETS), seed=3)
    assert noted["objects"] == sum(map(len, surfaces(meshed).values()))
    run(MeshMerge(layer=meshed, dir="other", simplify=False))
    same_meshes(meshed, "other")
    assert files(place(meshed, "mesh_mip_0_err_40")) == before
    assert IO().info(meshed).extra["mesh"] == "other"
    run(MeshMerge(layer=meshed, dir="other", fill_holes=True, smooth=2))  # and simplified


def test_cells_that_igneous_did_not_finish_are_named(meshed: Layer) -> None:
    folder = place(meshed, "theirs")
    igneous_made.leave(folder, surfaces(meshed), MESH_INFO, sharded=True)
    next(folder.glob("*.spatial.gz")).unlink()
    with pytest.raises(DataError, match="Igneous did not finish this cell"):
        run(MeshImport(layer=meshed, source_dir="theirs", dir="other", buckets=BUCKETS))


def test_a_missing_fragment_is_named(meshed: Layer) -> None:
    folder = place(meshed, "theirs")
    igneous_made.leave(folder, surfaces(meshed), MESH_INFO, sharded=False)
    next(folder.glob("9:0:*.gz")).unlink()
    with pytest.raises(DataError, match="9:0:.* this fragment is missing"):
        run(MeshImport(layer=meshed, source_dir="theirs", dir="other", buckets=BUCKETS))


def test_a_damaged_mesh_is_refused(meshed: Layer) -> None:
    bad = mesh.encode(np.zeros((3, 3)), np.array([[0, 1, 3]]))
    cells: dict[Box, dict[int, bytes]] = {cell: {9: bad} for cell in surfaces(meshed)}
    igneous_made.leave(place(meshed, "theirs"), cells, MESH_INFO, sharded=True)
    with pytest.raises(DataError, match="faces beyond its 3 vertices"):
        run(MeshImport(layer=meshed, source_dir="theirs", dir="other", buckets=BUCKETS))


def test_wrong_requests_are_refused_before_anything_is_written(meshed: Layer) -> None:
    igneous_made.leave(place(meshed, "empty"), {}, MESH_INFO, sharded=True, indexed=False)
    with pytest.raises(DataError, match="there are no fragments of Igneous here"):
        run(MeshImport(layer=meshed, source_dir="empty", dir="other", buckets=BUCKETS))
    with pytest.raises(DataError, match="Igneous has not forged here"):
        MeshImport(layer=meshed, source_dir="none", dir="other", buckets=BUCKETS).prepare(IO())
    with pytest.raises(SpecError, match="imported into itself"):
        MeshImport(layer=meshed, source_dir="mesh")
    with pytest.raises(SpecError, match="at least 1 voxel"):
        MeshImport(layer=meshed, source_dir="theirs", cell=(0, 1, 1))
    with pytest.raises(DataError, match="`mesh import` where Igneous forged"):
        MeshMerge(layer=meshed, dir="none").prepare(IO())


def test_dust_is_not_known_of_fragments(meshed: Layer) -> None:
    igneous_made.leave(place(meshed, "theirs"), surfaces(meshed), MESH_INFO, sharded=True)
    run(MeshImport(layer=meshed, source_dir="theirs", dir="other", buckets=BUCKETS))
    with pytest.raises(SpecError, match="do not tell voxels"):
        MeshMerge(layer=meshed, dir="other", dust=5).prepare(IO())


@pytest.fixture
def traced(tmp_path: Path) -> Layer:
    layer = make_layer(tmp_path, tube(), LO, RESOLUTION)
    run(SkeletonForge(layer=layer, cell=CELL, scale=4.0, const=10.0, buckets=BUCKETS))
    run(SkeletonMerge(layer=layer))
    return layer


def lines(layer: Layer) -> dict[Box, dict[int, bytes]]:
    """The pieces of our own forging as Precomputed skeletons in nm with radii, a fragment a cell."""
    found: dict[Box, dict[int, bytes]] = {}
    for cell, pieces in igneous_made.pieces(layer, "skeletons", "skeleton").items():
        found[cell] = {}
        for label, (payload, where) in pieces.items():
            graph = skeleton.decode_piece(payload, where)
            nm = (graph.vertices + 0.5 + np.array(LO)) * np.array(RESOLUTION)
            radii = {"radius": graph.attributes["radius"]}
            found[cell][label] = skeleton.encode(skeleton.Graph(nm, graph.edges, radii))
    return found


def test_skeletons_of_fragments_are_those_of_the_cells_to_the_byte(traced: Layer) -> None:
    igneous_made.leave(place(traced, "skeletons_mip_0"), lines(traced), SKELETON_INFO, sharded=True)
    run(SkeletonImport(layer=traced, source_dir="skeletons_mip_0", dir="other", buckets=BUCKETS), seed=5)
    run(SkeletonMerge(layer=traced, dir="other"))
    assert files(place(traced, "other")) == files(place(traced, "skeletons"))
    assert IO().info(traced).extra["skeletons"] == "other"


@dataclass(frozen=True)
class Trap:
    """What runs code when it is unpickled: it makes a file."""

    path: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("indexed", [True, False])
def test_pickles_are_refused_and_never_opened(traced: Layer, indexed: bool, tmp_path: Path) -> None:
    trap = pickle.dumps(Trap(tmp_path / "opened"))
    cells = {cell: dict.fromkeys(found, trap) for cell, found in lines(traced).items()}
    igneous_made.leave(place(traced, "theirs"), cells, SKELETON_INFO, sharded=False, indexed=indexed)
    stage = SkeletonImport(layer=traced, source_dir="theirs", dir="other", cell=CELL, buckets=BUCKETS)
    with pytest.raises(DataError, match=r"are never opened; run `skeleton forge` here, or `igneous .* --sharded`"):
        stage.prepare(IO())
    assert not (tmp_path / "opened").exists()
    pickle.loads(trap)
    assert (tmp_path / "opened").exists()


def test_skeletons_that_lie_on_no_voxels_are_refused(traced: Layer) -> None:
    def moved(data: bytes) -> bytes:
        graph = skeleton.decode(data, "x", [RADIUS])
        return skeleton.encode(skeleton.Graph(graph.vertices + 8, graph.edges, graph.attributes))

    cells = {cell: {label: moved(data) for label, data in found.items()} for cell, found in lines(traced).items()}
    igneous_made.leave(place(traced, "theirs"), cells, SKELETON_INFO, sharded=True)
    with pytest.raises(DataError, match="lie on no voxels of level 0"):
        run(SkeletonImport(layer=traced, source_dir="theirs", dir="other", buckets=BUCKETS))


def test_cells_must_be_known(traced: Layer) -> None:
    igneous_made.leave(place(traced, "theirs"), lines(traced), SKELETON_INFO, sharded=True, indexed=False)
    with pytest.raises(DataError, match="give --cell, the --shape that Igneous was given"):
        SkeletonImport(layer=traced, source_dir="theirs", dir="other", buckets=BUCKETS).prepare(IO())
    with pytest.raises(SpecError, match="0 or positive"):
        SkeletonImport(layer=traced, source_dir="theirs", scale=-1)
    run(SkeletonImport(layer=traced, source_dir="theirs", dir="other", cell=CELL, buckets=BUCKETS))
    run(SkeletonMerge(layer=traced, dir="other"))
    assert files(place(traced, "other")) == files(place(traced, "skeletons"))
