"""Meshes of real labels: closed, facing outwards, near the surface they stand for, the same whatever the cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.geometry import vec
from igneous_ng.io import IO
from igneous_ng.kernels import meshing
from igneous_ng.meshes import Folder
from igneous_ng.native.distance import distances
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from tests.data import data
from tests.test_forging import make_layer, run
from tests.test_kernel_meshing import euler, spread

Array = npt.NDArray[Any]
RESOLUTION = (16, 16, 40)
ERROR = 40.0
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def labels() -> Array:
    with np.load(data("pinky40", "seg_mip1_16x16x40.npz")) as file:
        found: Array = file["labels"]
    return found


@pytest.fixture(scope="module")
def folders(labels: Array, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Folder]:
    """The centre of the volume, meshed in one piece and in eight, and cut into boxes."""
    part, path = labels[128:384, 128:384, 128:384], tmp_path_factory.mktemp("quality")
    layer, found = make_layer(path, part, (0, 0, 0), RESOLUTION), {}
    for name, cell, options in (
        ("one", (256, 256, 256), {}),
        ("eight", (128, 128, 128), {}),
        ("boxes", (128, 128, 128), {"format": "multires", "chunk": (64, 64, 64)}),
    ):
        run(MeshForge(layer=layer, dir=name, cell=cell))
        run(MeshMerge(layer=layer, dir=name, max_error=ERROR, **options))  # type: ignore[arg-type]
        found[name] = Folder.open(IO(), f"{layer}/{name}")
    return found


def whole(labels: Array) -> dict[int, tuple[int, Array, Array]]:
    """Of each label its voxels and its unsimplified mesh in nm, closed at the edges."""
    ends, shape = (True, True, True), vec(labels.shape)
    found = meshing.march(labels, (0, 0, 0), shape, ends, ends)
    meshes = ((one, meshing.join([one.piece])) for one in found)
    return {one.label: (one.voxels, v * (np.array(RESOLUTION) / 2), f) for one, (v, f) in meshes}


def test_every_mesh_of_the_volume_is_a_closed_manifold_that_faces_outwards(labels: Array) -> None:
    import trimesh

    count = 0
    for _, vertices, faces in whole(labels).values():
        mesh = trimesh.Trimesh(*meshing.simplify(vertices, faces, ERROR, 100), process=False)
        assert mesh.is_volume
        count += 1
    assert count == 2523


def test_cells_change_nothing(folders: dict[str, Folder]) -> None:
    assert folders["one"].labels() == folders["eight"].labels()
    for label in folders["one"].labels():
        for name in folders["one"].names(label):
            assert Path(path(folders["one"], name)).read_bytes() == Path(path(folders["eight"], name)).read_bytes()


def path(folder: Folder, name: str) -> str:
    found = folder.url.removeprefix("file://") + "/" + name
    return found if Path(found).exists() else found + ".gz"


def test_surfaces_move_no_farther_than_was_asked(labels: Array, folders: dict[str, Folder]) -> None:
    exact = whole(labels[128:384, 128:384, 128:384])
    large = [label for label, (_, _, faces) in exact.items() if len(faces) > 1000]
    chosen = np.random.default_rng(0).choice(large, 200, replace=False).tolist()
    for label in chosen:
        found = folders["one"].read(label)
        assert found is not None
        voxels, vertices, faces = exact[label]
        assert distances(vertices[:: max(1, len(vertices) // 20000)], *found, 10 * ERROR).max() <= ERROR
        assert distances(spread(*found, each=4), vertices, faces, 10 * ERROR).max() <= ERROR
        assert euler(*found) == euler(vertices, faces)
        enclosed, expected = volume(*found), voxels * float(np.prod(RESOLUTION))
        if voxels > 10_000:
            assert abs(enclosed / expected - 1) < 0.05, label


def volume(vertices: Array, faces: Array) -> float:
    a, b, c = (vertices[faces[:, i]] - vertices[0] for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def test_boxes_hold_the_same_surface_within_their_lattice(folders: dict[str, Folder]) -> None:
    step = float(np.linalg.norm(np.multiply((64, 64, 64), RESOLUTION) / 65535))
    for label in folders["boxes"].labels():
        cut, exact = folders["boxes"].read(label), folders["one"].read(label)
        assert cut is not None
        assert exact is not None
        assert distances(exact[0], *cut, 100).max() <= step
        assert distances(cut[0], *exact, 100).max() <= 2 * step  # its ends are rounded, and each of its cuts
        keys, index = np.unique(np.rint(cut[0] / (step / 100)), axis=0, return_inverse=True)
        corners = index.ravel()[cut[1]]
        edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
        there, back = (np.unique(e, axis=0, return_counts=True) for e in (edges, edges[:, ::-1]))
        assert np.array_equal(there[0], back[0])
        assert np.array_equal(there[1], back[1])
        assert len(keys) < len(cut[0]) or len(cut[1]) < 5000
