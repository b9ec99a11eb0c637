"""Cleft scores of layers: those of each voxel, whatever the cells; what is not counted; what is empty."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import cli, run
from igneous_ng.errors import SpecError
from igneous_ng.stages.eval_clefts import EvalClefts
from tests.layers import create

Array = np.ndarray[Any, Any]
RES = (16.0, 16.0, 40.0)
BACKGROUND, IGNORED = (1 << 64) - 1, (1 << 64) - 2


def layers(folder: Path, found: Array, truth: Array) -> None:
    for name, array in (("found", found), ("truth", truth)):
        create(folder / name, np.asfortranarray(array[..., None]), (-3, 5, 2), kind="segmentation", resolution=RES)


def drawn(seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    truth = np.full((26, 22, 9), BACKGROUND, np.uint64)
    truth[4:9, 3:6, 2:4], truth[18:20, 12:19, 5:8] = 1, 1 << 60
    found = np.roll(np.where(truth == BACKGROUND, 0, truth), (1, 2, 0), (0, 1, 2))
    found[rng.random(found.shape) < 0.01] = 9
    return found, truth


def evaluated(folder: Path, out: str, **fields: Any) -> dict[str, Any]:
    run.inline(EvalClefts(found=f"{folder}/found", truth=f"{folder}/truth", layer=f"{folder}/{out}", **fields))
    told: dict[str, Any] = json.loads((folder / out / "clefts.json").read_text())
    return told


def defined(of: Array, to: Array, far: float, reach: float) -> tuple[int, int, float, int]:
    """Voxels, those that are far, their mean distance, and how many distances were cut."""
    targets = np.argwhere(to) * RES
    away = np.array([np.linalg.norm(targets - v, axis=1).min(initial=np.inf) for v in np.argwhere(of) * RES])
    return (
        len(away),
        int((away > far).sum()),
        float(np.minimum(away, reach).mean()) if len(away) else 0,
        int((away > reach).sum()),
    )


@pytest.mark.long
@pytest.mark.parametrize(("far", "reach"), [(60.0, 100.0), (200.0, 2000.0)])
def test_scores_are_those_of_each_voxel_whatever_the_cells(tmp_path: Path, far: float, reach: float) -> None:
    found, truth = drawn()
    layers(tmp_path, found, truth)
    made = {
        json.dumps(evaluated(tmp_path, str(n), far=far, reach=reach, cell=cell))
        for n, cell in enumerate([(64, 64, 64), (7, 5, 3), (4, 30, 4)])
    }
    assert len(made) == 1
    told = json.loads(made.pop())
    one = defined(found > 0, truth != BACKGROUND, far, reach)
    other = defined(truth != BACKGROUND, found > 0, far, reach)
    assert (told["found"], told["false"], told["truth"], told["missed"]) == (*one[:2], *other[:2])
    assert told["cut"] == one[3] + other[3]
    assert told["exact"] == (reach == 2000.0)
    assert (told["adgt"], told["adf"]) == pytest.approx((one[2], other[2]), abs=0.002)
    assert told["score"] == pytest.approx((told["adgt"] + told["adf"]) / 2, abs=0.001)
    true = one[0] - one[1]
    assert told["f1"] == round(2 * true / (2 * true + one[1] + other[1]), 6)
    assert one[1] > 0


def test_what_is_ignored_counts_for_neither_side(tmp_path: Path) -> None:
    found, truth = drawn()
    plain = truth.copy()
    truth[12:, :12] = IGNORED
    layers(tmp_path, found, truth)
    told = evaluated(tmp_path, "ignored", reach=2000.0)
    kept = truth != IGNORED
    expected = defined((found > 0) & kept, (plain != BACKGROUND) & kept, 200.0, 2000.0)
    assert (told["found"], told["false"]) == expected[:2]
    assert told["found"] < (found > 0).sum()


@pytest.mark.parametrize(("some", "none"), [("found", "truth"), ("truth", "found")])
def test_one_empty_side_is_as_far_as_is_measured(tmp_path: Path, some: str, none: str) -> None:
    found, truth = drawn()
    arrays = {"found": found, "truth": np.where(truth == BACKGROUND, 0, truth)}
    arrays[none] = np.zeros_like(found)
    layers(tmp_path, arrays["found"], arrays["truth"])
    told = evaluated(tmp_path, "out", reach=300.0)
    assert (told[some], told[none]) == ((arrays[some] > 0).sum(), 0)
    assert told["score"] == 150.0
    assert told["f1"] == 0.0
    assert not told["exact"]


def test_two_empty_sides_and_equal_ones_are_perfect(tmp_path: Path) -> None:
    found, _ = drawn()
    layers(tmp_path / "none", np.zeros_like(found), np.zeros_like(found))
    layers(tmp_path / "same", found, found)
    for name in ("none", "same"):
        told = evaluated(tmp_path / name, "out")
        assert (told["score"], told["f1"], told["exact"]) == (0.0, 1.0, True)


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    found, truth = drawn()
    layers(tmp_path, found, truth)
    common: dict[str, Any] = {"found": f"{tmp_path}/found", "truth": f"{tmp_path}/truth", "layer": f"{tmp_path}/out"}
    with pytest.raises(SpecError, match="far <= reach"):
        EvalClefts(**common, far=500.0)
    with pytest.raises(SpecError, match="another folder for the scores"):
        EvalClefts(**{**common, "layer": common["truth"]})
    create(tmp_path / "grey", np.zeros((4, 4, 4, 1), np.float32), (0, 0, 0), resolution=RES)
    with pytest.raises(SpecError, match="no layer of labels"):
        run.inline(EvalClefts(**{**common, "found": f"{tmp_path}/grey"}))
    create(tmp_path / "fine", np.zeros((4, 4, 4, 1), np.uint32), (0, 5, 2), kind="segmentation")
    with pytest.raises(SpecError, match="give levels of one size"):
        run.inline(EvalClefts(**{**common, "found": f"{tmp_path}/fine"}))
    create(tmp_path / "off", np.zeros((4, 4, 4, 1), np.uint32), (500, 5, 2), kind="segmentation", resolution=RES)
    with pytest.raises(SpecError, match="no voxel in common"):
        run.inline(EvalClefts(**{**common, "found": f"{tmp_path}/off"}))


def test_it_is_a_command(tmp_path: Path) -> None:
    layers(tmp_path, *drawn())
    done = CliRunner().invoke(cli.main, ["eval", "clefts", *(f"{tmp_path}/{n}" for n in ("found", "truth", "out"))])
    assert done.exit_code == 0, done.output
    assert "cleft score" in done.output
