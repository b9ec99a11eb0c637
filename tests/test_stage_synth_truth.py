"""The truth in the frame of a volume: each voxel has the label of the place that it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.alignment import Rough
from igneous_ng.errors import SpecError
from igneous_ng.formats import swc
from igneous_ng.io import IO
from igneous_ng.specimens import STEP, Shown
from igneous_ng.stages.synth_truth import SynthTruth
from igneous_ng.truths import Truth
from tests.alignments import begun
from tests.layers import create, files, whole
from tests.test_stage_synth_sections import cut, scenery

SHAPE = (180, 150, 5)
FIRST = (3, -2, 7)  # of the specimen
SIZE = (8.0, 8.0, 32.0)
INNER = np.s_[2 * STEP : -2 * STEP, 2 * STEP : -2 * STEP]  # near what is no tissue there are no labels
LABELS = {"segmentation": np.uint64, "clefts": np.uint64, "sides": np.uint8}


def specimen(path: Path) -> dict[str, np.ndarray]:
    """Layers of labels, each voxel with a number of its own, two synapses, and a body's axis along z."""
    create(path / "image", scenery(SHAPE), FIRST, (256, 256, 1), resolution=SIZE)
    count = np.arange(np.prod(SHAPE)).reshape(*SHAPE, 1, order="F") + 1
    made = {
        name: np.asfortranarray(count % (251 if dtype is np.uint8 else 2**31), dtype) for name, dtype in LABELS.items()
    }
    for name, voxels in made.items():
        create(path / name, voxels, FIRST, (64, 64, 64), resolution=SIZE, kind="segmentation")
    synapses = [
        {"id": "1", "pre": "4", "post": "5", "position": [FIRST[0] + 80, FIRST[1] + 70, FIRST[2] + 2]},
        {"id": "2", "pre": "4", "post": "6", "position": [FIRST[0] + 1, FIRST[1] + 1, FIRST[2] + 4]},
    ]
    (path / "synapses.json").write_text(json.dumps({"resolution": list(SIZE), "synapses": synapses}))
    nodes = [[(FIRST[0] + 90.5) * 8, (FIRST[1] + 60.5) * 8, (FIRST[2] + z + 0.5) * 32] for z in range(5)]
    truth = {"nodes": nodes, "radius": [20.0] * 5, "labels": ["4"] * 5, "edges": [[z, z + 1] for z in range(4)]}
    (path / "truth.json").write_text(json.dumps(truth))
    return made


def shown(path: Path, maps: list[Rough] | None = None, cell: tuple[int, int, int] = (64, 64, 64), **bent: Any) -> Truth:
    """The truth of a volume whose sections lie as ``maps`` say, in the folder ``out``."""
    out, truth = cut(path / "sections", f"file://{path}/specimen/image", **bent)
    begun(f"file://{path}/alignment", f"{out}/image", maps)
    run.inline(stage(path, cell))
    return truth


def stage(path: Path, cell: tuple[int, int, int] = (64, 64, 64)) -> SynthTruth:
    return SynthTruth(
        specimen=f"{path}/specimen", sections=f"{path}/sections", alignment=f"{path}/alignment", out=f"{path}/out",
        cell=cell,
    )  # fmt: skip


def moved(*shift: float) -> list[Rough]:
    """Each section lies where the first one is, and so far away."""
    return [Rough(np.eye(2), np.array(shift), source=z) for z in range(SHAPE[2])]


def test_sections_in_their_places_show_the_specimen(tmp_path: Path) -> None:
    made = specimen(tmp_path / "specimen")
    shown(tmp_path, warp=0.0, shift=0.0)
    for name, voxels in made.items():
        np.testing.assert_array_equal(whole(tmp_path / "out" / name)[INNER], voxels[INNER])
    told = json.loads((tmp_path / "out/synapses.json").read_text())
    assert [row["position"] for row in told["synapses"]] == [[80, 70, 2], [1, 1, 4]]
    points, edges = swc.decode((tmp_path / "out/skeletons/4.swc").read_bytes(), "4")[:2]
    np.testing.assert_allclose(points, [[90.5 * 8, 60.5 * 8, (z + 0.5) * 32] for z in range(5)], atol=0.1)
    assert len(edges) == 4


def test_a_volume_that_is_moved_shows_it_moved(tmp_path: Path) -> None:
    made = specimen(tmp_path / "specimen")
    shown(tmp_path, moved(7, -4), warp=0.0, shift=0.0)
    found = whole(tmp_path / "out/segmentation")
    np.testing.assert_array_equal(found[7:, :-4][INNER], made["segmentation"][:-7, 4:][INNER])
    assert not found[:7].any()
    assert not found[:, -4:].any()
    told = json.loads((tmp_path / "out/synapses.json").read_text())
    assert [row["position"] for row in told["synapses"]] == [[87, 66, 2]]  # the other is not in the volume


@pytest.mark.long
def test_bent_sections_show_what_the_truth_says_they_do(tmp_path: Path) -> None:
    made = specimen(tmp_path / "specimen")
    truth = shown(tmp_path, warp=2.0, shift=5.0, turn=1.0)
    found = whole(tmp_path / "out/segmentation")[..., 0]
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE[:2]), indexing="ij"), axis=-1).reshape(-1, 2)
    for z in range(SHAPE[2]):
        places = truth.places(z, grid.astype(float))
        at = np.rint(places).astype(int)
        inside = ((at >= 0) & (at < SHAPE[:2])).all(axis=1)
        sure = inside & (np.abs(places - at) < 0.35).all(axis=1)  # maps are bilinear between nodes
        got = found[..., z].reshape(-1)
        there = sure & (got > 0)
        np.testing.assert_array_equal(got[there], made["segmentation"][..., z, 0][tuple(at[there].T)])
        assert there.sum() > 0.7 * sure.sum()


def test_places_are_found_back(tmp_path: Path) -> None:
    specimen(tmp_path / "specimen")
    truth = shown(tmp_path, warp=2.0, shift=5.0, turn=1.0)
    made = begun(f"file://{tmp_path}/alignment", f"file://{tmp_path}/sections/image")
    seen = Shown(IO(), made, 0, truth)
    points = np.random.default_rng(0).uniform(20, 130, (40, 2))
    places, there = seen.places(2, points)
    back, found = seen.volume(2, places)
    assert there.all()
    assert found.all()
    np.testing.assert_allclose(back, points, atol=0.02)


@pytest.mark.long
def test_cells_change_nothing(tmp_path: Path) -> None:
    specimen(tmp_path / "specimen")
    shown(tmp_path, cell=(64, 64, 64), warp=2.0, shift=5.0)
    one = files(tmp_path / "out")
    for name in ("segmentation", "clefts", "sides"):
        assert any(key.startswith(name) for key in one)
    (tmp_path / "out").rename(tmp_path / "other")
    run.inline(stage(tmp_path, (256, 128, 64)))
    assert files(tmp_path / "out") == one


def test_sections_of_another_specimen_are_refused(tmp_path: Path) -> None:
    specimen(tmp_path / "specimen")
    shown(tmp_path, warp=0.0)
    (tmp_path / "specimen").rename(tmp_path / "moved")
    with pytest.raises(SpecError, match="specimen"):
        run.inline(SynthTruth(specimen=f"{tmp_path}/moved", sections=f"{tmp_path}/sections",
                              alignment=f"{tmp_path}/alignment", out=f"{tmp_path}/other"))  # fmt: skip
    with pytest.raises(SpecError, match="both"):
        SynthTruth(specimen="a", sections="b", alignment="c", out="d", tiles="e")  # type: ignore[arg-type]
