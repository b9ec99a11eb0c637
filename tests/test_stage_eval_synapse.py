"""Synapses against the truth: figures of a plain definition over whole tables, whatever the cells; real tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import linear_sum_assignment

from igneous_ng import cli, run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.stages.eval_synapse import Candidates, EvalSynapse, Match, Outcomes, Sites
from igneous_ng.stages.synapse_import import SynapseImport
from igneous_ng.synapses import AUTAPSE, DUPLICATE, NO_POST, NO_PRE, Frame, Synapses, empty
from tests import synaptic
from tests.data import data
from tests.layers import create, files, notes

Array = np.ndarray[Any, Any]
FRAME = Frame(Box((-20, 7, 100), (180, 150, 163)), (8.0, 8.0, 30.0), 64, None, 0, {})
OTHER = Frame(Box((-10, 0, 400), (380, 310, 660)), (4.0, 4.0, 7.5), 128, None, 0, {})


def stored(url: str, frame: Frame, rows: dict[str, Array]) -> None:
    desk, blocks = Synapses(IO(), url), frame.blocks_of(rows["id"])
    for box in frame.grid:
        inside = (blocks == frame.grid.at(box)).all(axis=1)
        desk.write(frame.grid.at(box), {name: column[inside] for name, column in rows.items()})
    desk.finish(frame)


def scene(folder: Path, count: int = 160, seed: int = 0) -> tuple[dict[str, Array], dict[str, Array]]:
    """True rows, and found ones near most of them in a table of other voxels; some clefts have several rows."""
    rng = np.random.default_rng(seed)
    truth = synaptic.drawn(FRAME, count, 6, seed)
    inside = (truth["place"] > np.array([0, 60, 3050])).all(axis=1)
    picked = np.flatnonzero(inside & (rng.random(count) < 0.8))
    picked = np.sort(np.concatenate([picked, rng.choice(picked, 30)]))
    found = empty(len(picked))
    for name in ("pre", "post", "flags"):
        found[name] = truth[name][picked]
    found["flags"][rng.random(len(picked)) < 0.05] |= DUPLICATE
    wrong = rng.random(len(picked)) < 0.2
    found["post"][wrong] = rng.choice(truth["post"], wrong.sum())
    for name in ("place", "pre_place", "post_place"):
        found[name] = truth[name][picked] + rng.integers(-60, 61, (len(picked), 3))
    found["confidence"] = rng.integers(0, 256, len(picked))
    voxels = np.floor(found["place"] / np.array(OTHER.resolution)).astype(int)
    voxels = np.clip(voxels, OTHER.bounds.lo, np.array(OTHER.bounds.hi) - 1)
    voxels[1::7] = voxels[::7][: len(voxels[1::7])]  # several rows at one voxel: one cleft
    first = OTHER.ids(voxels)
    order = np.argsort(first, kind="stable")
    found = {name: column[order] for name, column in found.items()}
    ids = first[order]
    ranks = np.arange(len(ids)) - np.searchsorted(ids, ids)
    found["id"] = ids + ranks.astype(np.uint64)
    stored(f"file://{folder}/truth", FRAME, truth)
    stored(f"file://{folder}/found", OTHER, found)
    return found, truth


def evaluated(folder: Path, out: str, **fields: Any) -> dict[str, Any]:
    chain = EvalSynapse(found=f"{folder}/found", truth=f"{folder}/truth", layer=f"{folder}/{out}", **fields)
    for stage in chain.steps(IO()):
        run.inline(stage)
    told: dict[str, Any] = json.loads((folder / out / "scores.json").read_text())
    return told


def assigned(costs: Array, most: float) -> int:
    size = max(costs.shape, default=0)
    matrix = np.full((size, size), 2 * most)
    matrix[: costs.shape[0], : costs.shape[1]] = costs
    return int((matrix[linear_sum_assignment(matrix)] <= most).sum())


def clefts(rows: dict[str, Array]) -> tuple[Array, Array]:
    """Places, and the best scores."""
    kept = np.flatnonzero((rows["flags"] & DUPLICATE) == 0)
    ids, first, which = np.unique(rows["id"][kept] >> np.uint64(8), return_index=True, return_inverse=True)
    score = np.zeros(len(ids), int)
    np.maximum.at(score, which, rows["confidence"][kept])
    return rows["place"][kept][first].astype(float), score


def detected(found: dict[str, Array], truth: dict[str, Array], most: float, threshold: int) -> tuple[int, int, int]:
    (one, score), (other, _) = clefts(found), clefts(truth)
    one = one[score >= threshold]
    costs = np.linalg.norm(one[:, None] - other[None], axis=2)
    return assigned(np.where(costs <= most, costs, 2 * most), most), len(one), len(other)


def paired(
    found: dict[str, Array], truth: dict[str, Array], most: float, threshold: int, partial: bool, by: str, sites: str
) -> tuple[int, int, int]:
    unfit = DUPLICATE | AUTAPSE | (0 if partial else NO_PRE | NO_POST)
    one = np.flatnonzero(((found["flags"] & unfit) == 0) & (found["confidence"] >= threshold))
    other = np.flatnonzero((truth["flags"] & unfit) == 0)
    away = {
        side: np.linalg.norm(
            found[f"{side}_place"][one].astype(float)[:, None] - truth[f"{side}_place"][other].astype(float)[None],
            axis=2,
        )
        for side in ("pre", "post")
    }
    used = [away[side] for side in away if sites in ("both", side)]
    allowed = np.all([one <= most for one in used], axis=0)
    if by == "labels":
        for side in ("pre", "post"):
            labels = found[side][one][:, None]
            allowed &= (labels == truth[side][other][None]) & (labels > 0)
    return assigned(np.where(allowed, np.mean(used, axis=0), 2 * most), most), len(one), len(other)


def counts(one: dict[str, Any]) -> tuple[int, int, int]:
    return one["true"], one["true"] + one["false"], one["true"] + one["missed"]


@pytest.mark.long
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"by": "places", "distance": 90.0, "reach": 70.0},
        {"partial": True, "sites": "pre", "reach": 65.0, "threshold": 100},
        {"sites": "post", "distance": 120.0, "thresholds": (0, 255)},
    ],
)
def test_the_figures_are_those_of_the_definition(tmp_path: Path, fields: dict[str, Any]) -> None:
    found, truth = scene(tmp_path)
    told = evaluated(tmp_path, "out", cell=700, **fields)
    distance, reach = fields.get("distance", 200.0), fields.get("reach", 400.0)
    how = fields.get("partial", False), fields.get("by", "labels"), fields.get("sites", "both")
    for one, pair in zip(told["detection"], told["partners"], strict=True):
        threshold = one["threshold"]
        assert counts(one) == detected(found, truth, distance, threshold)
        assert counts(pair) == paired(found, truth, reach, threshold, *how)
    assert told["detection"][0]["true"] > 20
    assert 5 < told["partners"][0]["true"] < told["detection"][0]["true"]


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_any_cells_give_the_same_bytes(tmp_path: Path, seed: int) -> None:
    scene(tmp_path, seed=seed)
    made = []
    for cell in (30_000, 997, 601, 1409):
        evaluated(tmp_path, str(cell), cell=cell, distance=150.0)
        kept = {k: v for k, v in files(tmp_path / str(cell)).items() if not k.startswith("groups/")}
        made.append(kept)
    assert made[0] == made[1] == made[2] == made[3]
    assert {name.partition("/")[0] for name in made[0]} == {"found", "truth", "scores.json"}


def outcomes(folder: Path, side: str) -> dict[str, Array]:
    parts = [columns.unpack(path.read_bytes(), str(path)) for path in sorted((folder / side).iterdir())]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.long
def test_outcomes_say_of_each_synapse_what_became_of_it(tmp_path: Path) -> None:
    scene(tmp_path)
    told = evaluated(tmp_path, "out", cell=500, threshold=60)
    found, truth = (outcomes(tmp_path / "out", side) for side in ("found", "truth"))
    at = next(one for one in told["partners"] if one["threshold"] == 60)
    for rows, bad in ((found, "false"), (truth, "missed")):
        assert (rows["partner_outcome"] == 1).sum() == at["true"]
        assert (rows["partner_outcome"] == 2).sum() == at[bad]
        assert np.array_equal(rows["partner_match"] > 0, rows["partner_outcome"] == 1)
    matches = dict(zip(found["id"].tolist(), found["partner_match"].tolist(), strict=True))
    back = dict(zip(truth["id"].tolist(), truth["partner_match"].tolist(), strict=True))
    assert {(a, b) for a, b in matches.items() if b} == {(a, b) for b, a in back.items() if a}
    places = dict(zip(truth["id"].tolist(), truth["place"].tolist(), strict=True))
    for row in np.flatnonzero(found["cleft_outcome"] == 1):
        away = np.linalg.norm(found["place"][row] - np.array(places[int(found["cleft_match"][row])]))
        assert found["cleft_nm"][row] == pytest.approx(away, rel=1e-6)
    seen = found["cleft"] > 0
    assert (found["cleft_outcome"][seen] == 1).sum() == next(
        one["true"] for one in told["detection"] if one["threshold"] == 60
    )
    noted = [note for note in notes(tmp_path / "out") if "cleft_true" in note]
    assert not noted  # the newest run is that of the outcomes


def test_labels_of_a_segmentation_decide_where_one_is_given(tmp_path: Path) -> None:
    box = Box((0, 0, 0), (40, 20, 4))
    segments = np.zeros((40, 20, 4, 1), np.uint64)
    segments[:20, ..., 0], segments[20:, ..., 0] = (1 << 60) + 1, (1 << 60) + 2
    create(tmp_path / "segments", segments, (0, 0, 0), (8, 8, 4), kind="segmentation", resolution=(10.0, 10.0, 40.0))
    frame = Frame(box, (10.0, 10.0, 40.0), 64, None, 0, {})

    def table(url: str, ends: list[tuple[int, int]], labels: tuple[int, int]) -> None:
        rows = empty(len(ends))
        voxels = np.array([[(a + b) // 2, n, 0] for n, (a, b) in enumerate(ends)])
        rows["id"], rows["place"] = frame.ids(voxels), voxels * 10
        for name, side, label in zip(("pre", "post"), zip(*ends, strict=True), labels, strict=True):
            rows[f"{name}_place"] = np.array([[x * 10 + 5, n * 10, 20] for n, x in enumerate(side)])
            rows[name][:] = label
        order = np.argsort(rows["id"])
        stored(f"file://{tmp_path}/{url}", frame, {key: column[order] for key, column in rows.items()})

    table("truth", [(15, 25), (16, 26)], (1, 2))
    table("found", [(16, 24), (22, 26)], (7, 8))  # labels of another segmentation; the second is wrong
    told = evaluated(tmp_path, "out", segmentation=f"{tmp_path}/segments", thresholds=())
    assert counts(told["partners"][0]) == (1, 2, 2)
    assert counts(evaluated(tmp_path, "labels")["partners"][0]) == (0, 2, 2)
    assert counts(evaluated(tmp_path, "places", by="places")["partners"][0]) == (2, 2, 2)


@pytest.mark.long
def test_empty_tables_have_scores(tmp_path: Path) -> None:
    _, truth = scene(tmp_path)
    stored(f"file://{tmp_path}/found", OTHER, empty())
    told = evaluated(tmp_path, "none", thresholds=(255,))
    assert [one["precision"] for one in told["detection"]] == [1.0, 1.0]
    assert [one["recall"] for one in told["partners"]] == [0.0, 0.0]
    stored(f"file://{tmp_path}/truth", FRAME, empty())
    assert evaluated(tmp_path, "nothing")["partners"][0]["f1"] == 1.0
    assert len(truth["id"])


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    scene(tmp_path)
    common: dict[str, Any] = {"found": f"{tmp_path}/found", "truth": f"{tmp_path}/truth", "layer": f"{tmp_path}/out"}
    with pytest.raises(SpecError, match="give 0 to 1,000,000"):
        Sites(**common, distance=0.0)
    with pytest.raises(SpecError, match="not within 0 to 255"):
        Sites(**common, threshold=256)
    with pytest.raises(SpecError, match="another folder for the scores"):
        Sites(**{**common, "layer": common["found"]})
    with pytest.raises(DataError, match="there is no table of synapses"):
        run.inline(Sites(**{**common, "found": f"{tmp_path}/none"}))
    apart = Frame(Box((10**6, 0, 0), (10**6 + 9, 9, 9)), (8.0, 8.0, 8.0), 64, None, 0, {})
    stored(f"file://{tmp_path}/apart", apart, empty())
    with pytest.raises(SpecError, match="nothing in common"):
        run.inline(Sites(**{**common, "found": f"{tmp_path}/apart"}))
    create(tmp_path / "grey", np.zeros((8, 8, 8, 1), np.float32), (0, 0, 0))
    with pytest.raises(SpecError, match="no layer of labels"):
        run.inline(Sites(**{**common, "segmentation": f"{tmp_path}/grey"}))
    for stage in (Candidates, Match, Outcomes):
        with pytest.raises(DataError, match="nothing is evaluated here"):
            run.plan(stage(layer=f"{tmp_path}/empty"))
    run.inline(Sites(**common))
    with pytest.raises(SpecError, match="evaluated otherwise.*distance 200.0 there, 90.0 asked for"):
        run.inline(Sites(**common, distance=90.0))
    with pytest.raises(DataError, match="run the steps of the evaluation again"):
        run.inline(Match(layer=common["layer"]))


def test_it_is_a_command(tmp_path: Path) -> None:
    scene(tmp_path)
    words = ["eval", "synapse", f"{tmp_path}/found", f"{tmp_path}/truth", f"{tmp_path}/out"]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0, done.output
    assert "detection within 200 nm: precision" in done.output


@pytest.mark.long
def test_real_partners_of_a_fly(tmp_path: Path) -> None:
    """The protocerebral bridge of FAFB, 14,779 true pairs, against the published prediction (Buhmann et al. 2021)."""
    for name, more in (("truth", {}), ("found", {"sure": 255.0, "nothing": (-2,)})):
        file = data("synapse_tables", f"pbfull_{'gt' if name == 'truth' else 'pred'}.json")
        fields: dict[str, Any] = {"resolution": (4.0, 4.0, 40.0), "block": 8192, **more}
        for stage in SynapseImport(source=str(file), layer=f"{tmp_path}/{name}", **fields).steps(IO()):
            run.inline(stage)
    told = evaluated(tmp_path, "out", distance=400.0, partial=True, thresholds=(0, 16, 32))
    assert counts(told["detection"][0]) == (11_281, 17_633, 14_779)
    assert counts(told["partners"][0]) == (8_086, 17_173, 14_779)
    assert [round(one["f1"], 3) for one in told["partners"]] == [0.506, 0.514, 0.517]
