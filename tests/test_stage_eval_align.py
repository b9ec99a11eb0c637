"""Scores of an alignment: nothing for true maps, and what is wrong with wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.alignment import Alignment, Rough
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.kernels import fields
from igneous_ng.kernels.align_scores import Gauge, spread
from igneous_ng.stages.eval_align import EvalAlign
from igneous_ng.truths import Truth
from tests.alignments import begun, stack
from tests.alignments import fields as put
from tests.test_stage_synth_sections import cut, scenery

SHAPE = (300, 240, 6)


def planted(path: Path, **more: Any) -> Truth:
    """Sections, by default merely shifted, with their truth."""
    return cut(path / "out", stack(path / "stack", scenery(SHAPE)), **{"warp": 0.0, **more})[1]


def truly(truth: Truth) -> list[Rough]:
    """The maps of sections that are affine, as they should be."""
    found = []
    for section in truth.sections:
        frame, matrix = (np.array(m).reshape(2, 2) for m in (section.frame, section.matrix))
        whole = matrix @ frame
        shift = section.centre + np.array(section.shift) - whole @ section.centre
        found.append(Rough(whole, shift, source=section.z))
    return found


def aligned(path: Path, truth: Truth, maps: list[Rough]) -> Alignment:
    return begun(f"file://{path}/alignment", f"{truth.home}/image", maps)


def scores(made: Alignment, truth: Truth, **more: Any) -> dict[str, Any]:
    stage = EvalAlign(alignment=made.home, truth=truth.home, **more)
    run.inline(stage)
    found: dict[str, Any] = json.loads(
        Path(f"{made.home}/scores/{stage.round}/scores.json".removeprefix("file://")).read_text()
    )
    assert f"round {stage.round}: {found['shown']} sections shown" in stage.said(IO())
    return found


def moved(rough: Rough, *shift: float) -> Rough:
    return Rough(rough.matrix, rough.shift + np.array(shift), source=rough.source)


def test_true_maps_are_without_error(tmp_path: Path) -> None:
    truth = planted(tmp_path, turn=5.0, stretch=0.02)
    found = scores(aligned(tmp_path, truth, truly(truth)), truth)
    assert found["neighbour"]["all"]["max"] < 1e-3
    assert found["absolute"]["all"]["max"] < 1e-3
    assert found["neighbour"]["all"]["count"] > 5 * 19 * 15 * 0.7
    assert found["neighbour"]["all"] == found["neighbour"]["elsewhere"]
    assert (found["shown"], found["hidden"], found["disorder"], found["tears"]) == (6, [], [], {})


def test_true_fields_are_without_error(tmp_path: Path) -> None:
    truth = planted(tmp_path, warp=1.0)
    made = aligned(tmp_path, truth, [Rough(np.eye(2), np.zeros(2), source=z) for z in range(6)])
    lattice = made.new_round(IO(), 1, 0, 4)
    nodes = fields.points(lattice.box.lo[:2], lattice.box.hi[:2], 4)
    inverse = np.zeros((*nodes.shape[:2], 6, 2))
    for z in range(6):
        at = nodes.copy()
        for _ in range(40):
            at = at - (truth.places(z, at) - nodes)
        inverse[:, :, z] = at - nodes
    put(made, 1, 4, "inverse", inverse)
    found = scores(made, truth, round=1)
    assert found["neighbour"]["all"]["p95"] < 0.02
    assert found["absolute"]["all"]["p95"] < 0.02
    assert scores(made, truth)["neighbour"]["all"]["p50"] > 1


def test_a_section_out_of_place_is_wrong_by_as_much(tmp_path: Path) -> None:
    truth = planted(tmp_path)
    maps = truly(truth)
    maps[3] = moved(maps[3], 3, -4)
    found = scores(aligned(tmp_path, truth, maps), truth)
    sections = {int(z): one for z, one in found["sections"].items()}
    assert [round(sections[z]["p50"], 3) for z in (1, 2, 3, 4, 5)] == [0, 0, 5, 5, 0]
    assert sections[0]["count"] == 0
    assert found["neighbour"]["all"]["max"] == pytest.approx(5, abs=1e-3)
    left = found["absolute"]["all"]  # the gauge follows by a sixth
    assert left["max"] == pytest.approx(5 * 5 / 6, abs=0.05)
    assert left["p50"] == pytest.approx(5 / 6, abs=0.05)


def test_one_map_for_all_is_no_error_but_a_drift_is(tmp_path: Path) -> None:
    truth = planted(tmp_path)
    bent = np.array([[1.02, 0.03], [-0.04, 0.97]])
    whole = [Rough(bent @ m.matrix, bent @ m.shift + [9, 4], source=m.source) for m in truly(truth)]
    found = scores(aligned(tmp_path / "a", truth, whole), truth)
    assert found["neighbour"]["all"]["max"] < 2  # of P - r, where r of both is the same
    assert found["absolute"]["all"]["max"] < 1e-3
    drift = [moved(m, z, 0) for z, m in enumerate(truly(truth))]
    found = scores(aligned(tmp_path / "b", truth, drift), truth)
    assert found["neighbour"]["all"]["p50"] == pytest.approx(1, abs=1e-3)
    assert found["absolute"]["all"]["max"] == pytest.approx(
        2.5, abs=0.2
    )  # the middle of six, and a little of their borders


def test_faults_are_told_apart_from_elsewhere(tmp_path: Path) -> None:
    truth = planted(tmp_path, lost=(1,), inverted=(4,))
    maps = truly(truth)
    maps[1] = Rough(np.eye(2), np.zeros(2))
    maps[2] = moved(maps[2], 7, 0)
    found = scores(aligned(tmp_path, truth, maps), truth)
    assert found["hidden"] == [1]
    assert found["sections"]["2"]["p50"] == pytest.approx(7, abs=1e-3)  # against 0, over the gap
    assert found["sections"]["4"]["fault"] == "inverted"
    assert found["neighbour"]["elsewhere"]["count"] == found["sections"]["3"]["count"]


def test_only_what_is_far_from_a_mask_is_elsewhere(tmp_path: Path) -> None:
    truth = planted(tmp_path, masked=(2,), shift=0.0)
    found = scores(aligned(tmp_path, truth, truly(truth)), truth, near=30)
    before = found["sections"]["1"]["count"]
    assert found["sections"]["2"]["count"] == pytest.approx(0.7 * before, rel=0.08)
    lost = found["neighbour"]["all"]["count"] - found["neighbour"]["elsewhere"]["count"]
    side = truth.sections[2].void
    assert side
    across = 240 if side[2] - side[0] < 240 * 0.99 and side[3] - side[1] == 239 else 300
    assert lost == pytest.approx(2 * 30 * across / 256, rel=0.3)
    everything = scores(aligned(tmp_path, truth, truly(truth)), truth, near=30, margin=60)
    assert everything["sections"]["1"]["count"] == pytest.approx(before * 180 * 120 / (300 * 240), rel=0.15)


def test_sections_in_the_wrong_order_are_told(tmp_path: Path) -> None:
    truth = planted(tmp_path, swapped=(2,))
    maps = truly(truth)
    assert scores(aligned(tmp_path / "a", truth, maps), truth)["disorder"] == [3]
    maps[2], maps[3] = maps[3], maps[2]
    found = scores(aligned(tmp_path / "b", truth, maps), truth)
    assert found["disorder"] == []
    assert found["neighbour"]["all"]["max"] < 1e-3


def test_the_jump_of_a_tear_is_missed_by_a_map_without_one(tmp_path: Path) -> None:
    truth = planted(tmp_path, folded=(1,), cracked=(4,), jump=16.0)
    found = scores(aligned(tmp_path, truth, truly(truth)), truth)
    assert sorted(found["tears"]) == ["1", "4"]
    for one in found["tears"].values():
        assert one["count"] > 15
        assert one["p50"] == pytest.approx(16, abs=1e-3)
    assert found["neighbour"]["all"]["p50"] == pytest.approx(8, abs=1e-3)  # each side of a tear
    assert found["neighbour"]["elsewhere"]["max"] == pytest.approx(8, abs=1e-3)


def test_the_jump_of_a_tear_is_there_beyond_the_nodes_at_its_sides(tmp_path: Path) -> None:
    truth = planted(tmp_path, folded=(1,), cracked=(4,), jump=16.0)
    maps, step = truly(truth), 20
    made = aligned(tmp_path, truth, maps)
    box = made.new_round(IO(), 1, 0, step).box
    nodes = fields.points((box.lo[0], box.lo[1]), (box.hi[0], box.hi[1]), step)
    at = [rough.section(nodes) for rough in maps]
    right = [truth.places(z, one) - nodes for z, one in enumerate(at)]  # at nodes the field is as it should be
    put(made, 1, step, "forward", np.stack(right, axis=2))
    put(made, 1, step, "inverse", -np.stack(right, axis=2))
    for one in scores(made, truth, round=1)["tears"].values():
        assert one["p50"] > 4
        assert one["beyond"]["count"] > 10
        assert one["beyond"]["max"] < 1e-2


def test_displacements_are_held_against_the_truth(tmp_path: Path) -> None:
    truth = planted(tmp_path)
    maps = truly(truth)
    made = aligned(tmp_path, truth, [Rough(np.eye(2), np.zeros(2), source=m.source) for m in maps])
    shape = made.new_round(IO(), 1, 0, 20).box.shape
    put(made, 1, 20, "inverse", np.zeros((*shape, 2)))
    flow = np.full((*shape, 6), np.nan)
    flow[..., 5] = 1
    for z in range(1, 6):  # r of z shows r + shift of z, and the other at r + d shows r + d + shift of the other
        flow[:, :, z, :2] = maps[z].shift - maps[z - 1].shift
        flow[:, :, z, 5] = 0
    flow[:, :, 2, 0] += 6
    flow[:, : shape[1] // 2, 4, 5] = 2
    put(made, 1, 20, "flow/1", flow)
    one = scores(made, truth, round=1)["flow"]["1"]
    assert one["p50"] < 1e-3
    assert one["max"] == pytest.approx(6, abs=1e-3)
    assert one["far"] == pytest.approx(1 / 4.5, abs=0.03)
    assert one["good"] == pytest.approx(0.9, abs=0.02)


def test_the_gauge_is_the_best_affine_map() -> None:
    rng = np.random.default_rng(0)
    points, errors = rng.uniform(0, 1e5, (200, 2)), rng.normal(size=(200, 2))
    errors += points @ np.array([[1e-3, 2e-3], [-1e-3, 3e-3]]) + 7
    gauge = Gauge(np.array([5e4, 5e4]), 1e5)
    gauge.add(points[:50], errors[:50])
    gauge.add(points[50:], errors[50:])
    terms = np.concatenate([points, np.ones((200, 1))], axis=1)
    wanted = errors - terms @ np.linalg.lstsq(terms, errors, rcond=None)[0]
    assert np.allclose(gauge.left(points, errors), wanted, atol=1e-7)
    assert spread(np.zeros(0)) == {"count": 0}


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    truth = planted(tmp_path)
    made = begun(f"file://{tmp_path}/other", stack(tmp_path / "few", scenery((50, 40, 2))))
    with pytest.raises(SpecError, match="tells of 6 sections"):
        run.inline(EvalAlign(alignment=made.home, truth=truth.home))
    with pytest.raises(DataError, match="synth sections"):
        run.inline(EvalAlign(alignment=made.home, truth=f"{truth.home}/nothing"))
    with pytest.raises(SpecError, match="cannot be negative"):
        EvalAlign(alignment=made.home, truth=truth.home, round=-1)
