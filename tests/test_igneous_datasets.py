"""Datasets that Igneous itself made. Needs a Python with igneous-pipeline: this one, or IGNEOUS_PYTHON."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng import run as ours
from igneous_ng.errors import DataError
from igneous_ng.formats import skeleton
from igneous_ng.holdings import Holding
from igneous_ng.io import IO
from igneous_ng.meshes import Folder
from igneous_ng.stage import Stage
from igneous_ng.stages.fragments_import import MeshImport, SkeletonImport
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.image_transfer import Transfer
from igneous_ng.stages.mesh import MeshMerge
from igneous_ng.stages.mesh_files import MeshConvert, MeshTransfer
from igneous_ng.stages.skeleton import SkeletonMerge
from igneous_ng.stages.skeleton_files import SkeletonConvert, SkeletonTransfer
from tests.layers import whole
from tests.test_forging import run
from tests.test_kernel_meshing import faces_per_edge, volume

Array = npt.NDArray[Any]
LABELS = (7, 12, 2**40 + 3)
MESHES, SKELETONS = "mesh_mip_0_err_40.0", "skeletons_mip_0"
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all datasets; tests leave it as it is, or work on parts that no other test reads."""
    python = os.environ.get("IGNEOUS_PYTHON") or (sys.executable if importlib.util.find_spec("igneous") else "")
    if not python:
        pytest.skip("igneous-pipeline is not installed; install it, or set IGNEOUS_PYTHON to a Python that has it")
    folder = tmp_path_factory.mktemp("igneous")
    script = Path(__file__).with_name("make_igneous_datasets.py")
    done = subprocess.run([python, str(script), str(folder)], capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    return folder


def url(folder: Path) -> str:
    return f"file://{folder}"


@pytest.mark.parametrize("name", ["raw", "compressed_segmentation", "compresso", "crackle", "shards"])
def test_labels_in_each_encoding_are_read_and_copied(made: Path, name: str, tmp_path: Path) -> None:
    expected = np.load(made / "labels.npy")
    assert np.array_equal(whole(made / name)[..., 0], expected)
    ours.inline(Transfer(source=url(made / name), layer=url(tmp_path / "copy")))
    assert np.array_equal(whole(tmp_path / "copy")[..., 0], expected)


def test_images_are_read(made: Path) -> None:
    assert np.array_equal(whole(made / "image")[..., 0], np.load(made / "image.npy"))


def test_a_pyramid_goes_on_and_the_provenance_is_kept(made: Path) -> None:
    layer = made / "files-forged"
    before = json.loads((layer / "provenance").read_text())["processing"]
    assert len(before) == 4
    ours.here(Downsample(layer=url(layer), mip=1, factor=(2, 2, 1)))
    assert whole(layer, 2).shape == (13, 12, 48, 1)  # from 5 to 29 halved is from 2 to 15
    after = json.loads((layer / "provenance").read_text())["processing"]
    assert after[:4] == before
    assert len(after) == 5


def mesh_of(layer: Path, label: int, folder: str = MESHES) -> tuple[Array, Array]:
    found = Folder.open(IO(), f"{url(layer)}/{folder}").read(label)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["files", "containers"])
def test_merged_meshes_are_read_copied_and_converted(made: Path, name: str, tmp_path: Path) -> None:
    layer, target = made / name, tmp_path / "target"
    ours.inline(Transfer(source=url(layer), layer=url(target)))
    ours.inline(MeshTransfer(source=url(layer), layer=url(target), dir=MESHES))
    ours.inline(MeshConvert(layer=url(target), dest=url(tmp_path / "out"), labels=LABELS, dir=MESHES))
    voxels = np.load(made / "labels.npy")
    for label in LABELS:
        vertices, _ = mesh_of(target, label)
        where = np.argwhere(voxels == label)
        low, high = (
            (edge + np.array([10, 20, 30])) * [8, 8, 16] for edge in (where.min(axis=0), where.max(axis=0) + 1)
        )
        assert np.allclose(vertices.min(axis=0), low, atol=45)
        assert np.allclose(vertices.max(axis=0), high, atol=45)
        assert (tmp_path / "out" / f"{label}.ply").exists()


@pytest.mark.parametrize("name", ["containers", "files", "draco"])
@pytest.mark.parametrize("format", ["legacy", "sharded"])
def test_fragments_of_meshes_are_merged(made: Path, name: str, format: Any, tmp_path: Path) -> None:
    layer = made / (name if name == "draco" else f"{name}-forged")
    folder = f"from-{name}-{format}"
    run(MeshImport(layer=url(layer), source_dir=MESHES, dir=folder))
    run(MeshMerge(layer=url(layer), dir=folder, format=format, simplify=False))
    voxels = np.load(made / "labels.npy")
    for label in LABELS:
        vertices, faces = mesh_of(layer, label, folder)
        if format == "legacy" and name != "draco":
            assert faces_per_edge(faces) == {2}
            truth = np.count_nonzero(voxels == label) * 8 * 8 * 16
            assert 0.8 * truth < volume(vertices - vertices[0], faces) < 1.05 * truth
            merged = mesh_of(made / "files", label)
            assert len(faces) == len(merged[1])  # Igneous' manifests name the same fragments


@pytest.mark.parametrize("name", ["files", "containers"])
def test_merged_skeletons_are_read_copied_and_converted(made: Path, name: str, tmp_path: Path) -> None:
    layer, target = made / name, tmp_path / "target"
    ours.inline(Transfer(source=url(layer), layer=url(target)))
    ours.inline(SkeletonTransfer(layer=url(layer), dest=url(target)))
    ours.inline(SkeletonConvert(layer=url(target), dest=url(tmp_path / "out")))
    assert {p.name for p in (tmp_path / "out").glob("*.swc")} == {f"{label}.swc" for label in LABELS}


def graphs(layer: Path, folder: str) -> dict[int, skeleton.Graph]:
    held = Holding.open(IO(), f"{url(layer)}/{folder}", skeleton.TYPE, 1)
    found = (pair for unit in held.units for pair in held.read(unit))
    return {label: skeleton.decode(data, "x", held.info["vertex_attributes"]) for label, data in found}


def test_fragments_of_skeletons_are_merged(made: Path) -> None:
    layer = made / "containers-forged"
    run(SkeletonImport(layer=url(layer), source_dir=SKELETONS, scale=1.5, const=30.0))
    run(SkeletonMerge(layer=url(layer)))
    found, theirs = graphs(layer, "skeletons"), graphs(made / "containers", SKELETONS)
    assert found.keys() == theirs.keys() == set(LABELS)
    for label in LABELS:
        apart = np.linalg.norm(theirs[label].vertices[:, None] - found[label].vertices[None], axis=2)
        assert apart.min(axis=0).max() == 0  # ours has no vertex that theirs lacks
        assert apart.min(axis=1).max() < (200 if label == 7 else 40)  # twigs go, of the ball the most


def test_pickled_skeletons_are_refused(made: Path) -> None:
    stage: Stage = SkeletonImport(layer=url(made / "files-forged"), source_dir=SKELETONS)
    with pytest.raises(DataError, match="never opened"):
        stage.prepare(IO())
