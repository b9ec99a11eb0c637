"""Points and meshes carried to the volume and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng import run
from igneous_ng.alignment import Alignment, Rough
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import mesh as legacy
from igneous_ng.formats import multires
from igneous_ng.formats.sharding import Spec
from igneous_ng.io import IO
from igneous_ng.mapping import Stack
from igneous_ng.meshes import Folder, coded
from igneous_ng.stages.align_points import AlignMeshes, AlignPoints
from igneous_ng.warps import Warp
from tests import alignments
from tests.alignments import begun, stack
from tests.layers import files, notes

Array = npt.NDArray[Any]


def bent(folder: Path, depth: int = 6) -> Alignment:
    """Sections 3 to 8, turned and bent; 5 is missing, 6 and 7 are swapped."""
    layer = stack(folder / "stack", np.zeros((300, 260, depth, 1), np.uint8), offset=(-20, 7, 3))
    rng = np.random.default_rng(1)
    shown = [3, 4, -1, 7, 6, 8]
    maps = [Rough(np.eye(2) + rng.normal(0, 0.02, (2, 2)), rng.uniform(-9, 9, 2), source=z) for z in shown]
    made = begun(f"file://{folder}/alignment", layer, maps)
    shape = made.new_round(IO(), 1, 0, 40).box.shape
    moved = np.round(rng.normal(0, 1.5, (1, 1, shape[2], 2)) * 64) / 64  # the same all over: its inverse is exact
    alignments.fields(made, 1, 40, "forward", np.broadcast_to(moved, (*shape, 2)))
    alignments.fields(made, 1, 40, "inverse", np.broadcast_to(-moved, (*shape, 2)))
    return made


def moved(made: Alignment, points: Array, **fields: Any) -> Array:
    folder = Path(made.home.removeprefix("file://")).parent
    np.save(folder / "in.npy", points)
    run.inline(AlignPoints(alignment=made.home, file=str(folder / "in.npy"), out=str(folder / "out.npy"), **fields))
    found: Array = np.load(folder / "out.npy")
    return found


def test_points_of_sections_are_where_the_maps_put_them_and_come_back(tmp_path: Path) -> None:
    made = bent(tmp_path)
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(0, 250, (600, 2)), rng.choice([3, 4, 6, 7, 8], 600)])
    there = moved(made, points)
    for z, place in ((3, 3), (4, 4), (7, 6), (6, 7), (8, 8)):
        own = points[:, 2] == z
        assert (there[own, 2] == place).all()
        assert np.array_equal(there[own, :2], Warp(IO(), made, place, 1).volume(points[own, :2]))
    assert np.allclose(moved(made, there, to="sections"), points, atol=1e-9)
    rough = moved(made, points, round=0)
    assert not np.allclose(rough, there, atol=0.1)
    assert np.allclose(moved(made, rough, to="sections", round=0), points, atol=1e-9)


def test_between_two_sections_a_point_moves_as_both_say(tmp_path: Path) -> None:
    made = bent(tmp_path)
    at = np.array([120.0, 90.0])
    three, four = (Warp(IO(), made, z, 1).volume(at) for z in (3, 4))
    there = moved(made, np.array([[*at, 3.25], [*at, 4.0], [*at, 4.75], [*at, 6.5]]))
    assert np.allclose(there[0], [*(0.75 * three + 0.25 * four), 3.25])
    assert np.allclose(there[1], [*four, 4])
    assert np.allclose(there[2, :2], four)  # 5 is not shown
    assert there[3, 2] == 6.5  # of two swapped sections the middle is the middle


def test_points_of_what_is_not_shown_are_nan_and_counted(tmp_path: Path) -> None:
    made = bent(tmp_path)
    points = np.array([[10.0, 10, 5], [10, 10, 4], [np.nan, 0, 4], [10, 10, 99]])
    there = moved(made, points)
    assert np.isnan(there[[0, 2, 3]]).all()
    assert np.isfinite(there[1]).all()
    assert notes(tmp_path / "alignment") == [{"points": 4, "nowhere": 3}]
    stage = AlignPoints(alignment=made.home, file=str(tmp_path / "in.npy"), out=str(tmp_path / "out.npy"))
    assert stage.said(IO()) == "4 points carried to the volume; 3 points of sections that are not shown became nan"


def test_a_point_does_not_depend_on_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bent(tmp_path)
    rng = np.random.default_rng(2)
    points = np.column_stack([rng.uniform(0, 250, (200, 2)), rng.uniform(3, 8, 200)])
    whole = moved(made, points)
    monkeypatch.setattr("igneous_ng.stages.align_points._BATCH", 7)
    assert np.array_equal(moved(made, points), whole, equal_nan=True)
    alone = Stack(IO(), made, 1).moved(points[17:18], "volume")
    assert np.array_equal(alone[0], whole[17], equal_nan=True)


def test_tables_keep_what_else_they_say(tmp_path: Path) -> None:
    made = bent(tmp_path)
    (tmp_path / "in.csv").write_text('name, z,y,x,note\na,3,20,10,"one, two"\nb,5,1,2,\n\nc,4,7.5,3e1,x\n')
    run.inline(AlignPoints(alignment=made.home, file=str(tmp_path / "in.csv"), out=str(tmp_path / "out.csv")))
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "name,z,y,x,note"
    (x, y), (u, v) = (Warp(IO(), made, z, 1).volume(np.array(p)).tolist() for z, p in ((3, (10, 20)), (4, (30, 7.5))))
    assert lines[1] == f'a,3.0,{round(y, 6)},{round(x, 6)},"one, two"'
    assert lines[2] == "b,nan,nan,nan,"
    assert lines[3] == f"c,4.0,{round(v, 6)},{round(u, 6)},x"
    assert len(lines) == 4


def test_nanometres_count_from_the_corner_of_a_voxel(tmp_path: Path) -> None:
    made = bent(tmp_path)
    points, size = np.array([[10.0, 20, 3], [40, 30, 3.5]]), np.array(made.resolution)
    assert np.allclose(moved(made, (points + 0.5) * size, unit="nm"), (moved(made, points) + 0.5) * size)


def test_wrong_tables_are_told(tmp_path: Path) -> None:
    made = bent(tmp_path)

    def ask(text: str) -> None:
        (tmp_path / "in.csv").write_text(text)
        run.inline(AlignPoints(alignment=made.home, file=str(tmp_path / "in.csv"), out=str(tmp_path / "out.csv")))

    with pytest.raises(DataError, match="the first line names the columns x, y and z"):
        ask("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"row 2, \['1', 'a', '2'\], is no point"):
        ask("x,y,z\n1,2,3\n1,a,2\n")
    with pytest.raises(DataError, match="2 columns and not 3"):
        ask("x,y,z\n1,2\n")
    with pytest.raises(DataError, match="points are numbers"):
        moved(made, np.zeros((3, 2)))
    with pytest.raises(SpecError, match=r"both .csv or both .npy"):
        run.inline(AlignPoints(alignment=made.home, file="a.csv", out="b.npy"))
    with pytest.raises(DataError, match="there is no such table"):
        run.inline(AlignPoints(alignment=made.home, file=str(tmp_path / "no.csv"), out=str(tmp_path / "out.csv")))


def balls(made: Alignment) -> dict[int, tuple[Array, Array]]:
    """Closed surfaces around places of the stack, some of them where no section is shown."""
    x, y, z = made.resolution
    octahedron = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    faces = np.array(
        [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]], np.uint32
    )
    centres = {7: (100, 90, 4.2), 12: (60, 200, 5.4), 900: (220, 40, 8.3)}
    return {
        label: (octahedron * (300, 250, 60) + (np.array(at) + 0.5) * (x, y, z), faces) for label, at in centres.items()
    }


def test_meshes_are_carried_vertex_by_vertex(tmp_path: Path) -> None:
    made, io, source = bent(tmp_path), IO(), f"file://{tmp_path}/meshes"
    for label, mesh in balls(made).items():
        io.put(f"{source}/{legacy.fragment_name(label)}", legacy.encode(*mesh))
        io.put(f"{source}/{legacy.manifest_name(label)}", legacy.manifest(label))
    io.put_json(f"{source}/info", legacy.info(0))
    run.inline(AlignMeshes(alignment=made.home, meshes=source, out=str(tmp_path / "out")))
    folder, maps = Folder.open(io, f"file://{tmp_path}/out"), Stack(io, made, 1)
    assert folder.labels() == [7, 12, 900]
    for label, (vertices, faces) in balls(made).items():
        found = folder.read(label)
        assert found is not None
        assert np.array_equal(found[1], faces)
        wanted = maps.moved_nm(vertices.astype("<f4").astype(float), "volume", nearest=True)
        assert np.isfinite(wanted).all()
        assert np.array_equal(found[0], wanted.astype("<f4"))
        assert np.abs(wanted - vertices).max() > 4
    back = AlignMeshes(alignment=made.home, meshes=str(tmp_path / "out"), out=str(tmp_path / "back"), to="sections")
    run.inline(back)
    again = Folder.open(io, f"file://{tmp_path}/back").read(7)
    assert again is not None
    assert np.abs(again[0] - balls(made)[7][0]).max() < 0.5  # nm: straight between sections, but not the same way back
    before = files(tmp_path / "out")
    run.inline(AlignMeshes(alignment=made.home, meshes=source, out=str(tmp_path / "out")))
    assert files(tmp_path / "out") == before


def test_levels_of_detail_are_carried_each(tmp_path: Path) -> None:
    made, io, source = bent(tmp_path), IO(), f"file://{tmp_path}/meshes"
    for label, (vertices, faces) in balls(made).items():
        manifest, data = coded([(vertices, faces)] * 2, (1.0, 2.0), (400.0, 400.0, 400.0))
        io.put(f"{source}/{multires.manifest_name(label)}", manifest)
        io.put(f"{source}/{multires.data_name(label)}", data)
    io.put_json(f"{source}/info", multires.info(0, None))
    run.inline(AlignMeshes(alignment=made.home, meshes=source, out=str(tmp_path / "out")))
    old, new, maps = Folder.open(io, source), Folder.open(io, f"file://{tmp_path}/out"), Stack(io, made, 1)
    assert new.labels() == [7, 12, 900]
    for label in new.labels():
        for level in range(2):
            was, found = old.read(label, level), new.read(label, level)
            assert was is not None
            assert found is not None
            wanted = maps.moved_nm(was[0], "volume", nearest=True)
            for end in ("min", "max"):  # boxes cut faces in other places, and round to 1/160 nm
                assert np.allclose(getattr(wanted, end)(axis=0), getattr(found[0], end)(axis=0), atol=0.02)
            assert volume(found) == pytest.approx(volume((wanted, was[1])), rel=1e-3)


def volume(mesh: tuple[Array, Array]) -> float:
    a, b, c = (mesh[0][mesh[1][:, n]] for n in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_meshes_that_cannot_be_carried_are_refused(tmp_path: Path) -> None:
    made, io, source = bent(tmp_path), IO(), f"file://{tmp_path}/meshes"
    with pytest.raises(DataError, match="no folder of meshes"):
        run.inline(AlignMeshes(alignment=made.home, meshes=source, out=str(tmp_path / "out")))
    io.put_json(f"{source}/info", multires.info(0, Spec(0, 2, 2, "murmurhash3_x86_128")))
    with pytest.raises(SpecError, match="in shards"):
        run.inline(AlignMeshes(alignment=made.home, meshes=source, out=str(tmp_path / "out")))
    with pytest.raises(SpecError, match="is read"):
        AlignMeshes(alignment=made.home, meshes=source, out=source)
