from __future__ import annotations

import io as buffers
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.meshes import Folder
from igneous_ng.stage import Layer
from igneous_ng.stages.mesh_files import MeshConvert, MeshDelete, MeshTransfer
from tests.test_forging import files, make_layer, run
from tests.test_kernel_meshing import is_closed, volume
from tests.test_stage_mesh import BIG, SMALL_BOXES, corners, levels_of, made, read, two_objects

Array = npt.NDArray[Any]
KINDS = ["legacy", "multires", "sharded"]


def layer_of(folder: Path, kind: str = "legacy") -> Layer:
    folder.mkdir(exist_ok=True)
    layer = make_layer(folder, two_objects(), lo=(-5, 7, 1000))
    made(layer, format=kind, **SMALL_BOXES)
    return layer


def path(layer: Layer) -> Path:
    return Path(layer.removeprefix("file://")) / "mesh"


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_read_whatever_its_format(tmp_path: Path, kind: str) -> None:
    layer = layer_of(tmp_path / "a", kind)
    folder = Folder.open(IO(), f"{layer}/mesh")
    if kind != "sharded":
        assert folder.labels() == [9, BIG]
    expected = layer_of(tmp_path / "b", "multires")
    for label in (9, BIG):
        meshes = [read(layer, label)] if kind == "legacy" else levels_of(expected, label, "mesh")
        for level, (vertices, faces) in enumerate(meshes):
            found = folder.read(label, level)
            assert found is not None
            assert np.array_equal(found[0], vertices)
            assert np.array_equal(found[1], faces)
    assert folder.read(77) is None
    if kind != "legacy":
        with pytest.raises(DataError, match="levels 0 to 2, and not 3"):
            folder.read(BIG, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_meshes_are_copied_byte_by_byte_and_shown_at_the_end(tmp_path: Path, kind: str) -> None:
    source = layer_of(tmp_path / "a", kind)
    (tmp_path / "b").mkdir()
    target = make_layer(tmp_path / "b", two_objects())
    stage = MeshTransfer(source=source, layer=target)
    stage.prepare(IO())
    for unit in stage.units(IO()):
        stage.execute(unit, IO())
    assert "mesh" not in IO().info(target).extra
    stage.finish(IO())
    assert files(path(target)) == files(path(source))
    assert IO().info(target).extra["mesh"] == "mesh"
    other = layer_of(tmp_path / "c", "sharded" if kind == "legacy" else "legacy")
    with pytest.raises(SpecError, match="another format"):
        MeshTransfer(source=source, layer=other).prepare(IO())
    with pytest.raises(SpecError, match="onto itself"):
        MeshTransfer(source=source, layer=source)


@pytest.mark.parametrize("kind", KINDS)
def test_all_meshes_are_removed_and_never_shown_in_part(tmp_path: Path, kind: str) -> None:
    layer = layer_of(tmp_path / "a", kind)
    stage = MeshDelete(layer=layer)
    stage.prepare(IO())
    for unit in stage.units(IO()):
        stage.execute(unit, IO())
        assert "mesh" not in IO().info(layer).extra
    stage.finish(IO())
    assert files(path(layer)) == {}
    assert (path(layer) / "fragments").exists()
    run(stage)  # again


def test_some_labels_are_removed(tmp_path: Path) -> None:
    layer = layer_of(tmp_path / "a")
    assert run(MeshDelete(layer=layer, labels=(9,)))["objects"] == 2
    assert Folder.open(IO(), f"{layer}/mesh").labels() == [BIG]
    assert IO().info(layer).extra["mesh"] == "mesh"
    with pytest.raises(SpecError, match="shards"):
        MeshDelete(layer=layer_of(tmp_path / "b", "sharded"), labels=(9,)).prepare(IO())


@pytest.mark.parametrize("format", ["obj", "ply", "glb"])
@pytest.mark.parametrize("kind", ["legacy", "sharded"])
def test_other_programs_read_the_same_surface(tmp_path: Path, kind: str, format: Any) -> None:
    import trimesh

    layer = layer_of(tmp_path / "a", kind)
    run(MeshConvert(layer=layer, dest=f"{tmp_path}/out", labels=(BIG, 9), format=format))
    for label in (9, BIG):
        expected = Folder.open(IO(), f"{layer}/mesh").read(label)
        assert expected is not None
        data = (tmp_path / "out" / f"{label}.{format}").read_bytes()
        found: Any = trimesh.load(buffers.BytesIO(data), file_type=format, force="mesh", process=False)
        vertices = np.asarray(found.vertices, np.float64) * (1e9 if format == "glb" else 1)
        assert np.allclose(np.sort(corners(vertices, found.faces)), np.sort(corners(*expected)), rtol=1e-6)
        if kind == "legacy":
            assert is_closed(np.asarray(found.faces))
            assert volume(vertices - vertices[0], np.asarray(found.faces)) > 0


def test_a_label_without_a_mesh_is_named(tmp_path: Path) -> None:
    layer = layer_of(tmp_path / "a")
    with pytest.raises(DataError, match="no mesh of label 77"):
        run(MeshConvert(layer=layer, dest=f"{tmp_path}/out", labels=(77,)))
    with pytest.raises(DataError, match="no folder of meshes"):
        MeshConvert(layer=layer, dest=f"{tmp_path}/out", labels=(7,), dir="none").prepare(IO())
    with pytest.raises(SpecError, match="mesh convert.labels"):
        MeshConvert(layer=layer, dest=f"{tmp_path}/out")
