"""Relaxing a round: known bends are found, two levels say what one would, and what is broken is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import linkage, relaxing, run
from igneous_ng.alignment import Alignment
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import fields as lattices
from igneous_ng.linkage import Linkage
from igneous_ng.relaxing import Material
from igneous_ng.stage import Layer, Stage
from igneous_ng.stages.align_lock import Lock
from igneous_ng.stages.align_relax import Invert, Loosen, Relax, Settle, Weigh
from igneous_ng.windows import CRACK, FOLD
from tests.alignments import begun, fields, stack
from tests.relaxations import STEP, bend, flow, measured, misplaced, read

LOOSE: dict[str, Any] = {"strain": 1.0, "motion": 0.0}


def relax(made: Alignment, **more: Any) -> list[dict[str, Any]]:
    """All steps here, one unit after the other; the notes of the last unit of each."""
    return [execute(step)[-1] for step in Relax(alignment=made.home, **more).steps(IO())]


def execute(stage: Stage, backwards: bool = False) -> list[dict[str, Any]]:
    stage.prepare(IO())
    units, notes = list(stage.units(IO())), []
    for unit in reversed(units) if backwards else units:
        io = IO()
        stage.execute(unit, io)
        notes.append(io.ledger.notes)
    return notes


def report(made: Alignment) -> dict[str, Any]:
    found: Any = IO().store.get_json(f"{made.home}/rounds/1/report.json")
    return dict(found)


def test_known_bends_are_found_and_turned_round(tmp_path: Path) -> None:
    bent = bend()
    made = measured(tmp_path, (26, 22, 6), bent)
    before = measured(tmp_path / "flat", (26, 22, 6), bent)
    notes = relax(made, **LOOSE)
    fields(before, 1, STEP, "forward", np.zeros((26, 22, 6, 2)))
    assert np.median(misplaced(before, bent)) > 3
    assert np.quantile(misplaced(made, bent)[2:-2, 2:-2], 0.99) < 0.1
    assert notes[-1]["unsolved"] == 0
    forward, inverse = read(made, "forward"), read(made, "inverse")
    nodes = lattices.points((0, 0), (26, 22), STEP)
    for z in range(6):
        straight = nodes + inverse[:, :, z]
        there = lattices.bilinear(forward[:, :, z], (0, 0), lattices.places(straight, STEP))
        assert np.abs(straight + there - nodes)[2:-2, 2:-2].max() < 0.03


@pytest.mark.long
def test_stiff_sections_are_bent_less_and_links_are_believed_less(tmp_path: Path) -> None:
    bent = bend(size=5, wave=150)
    made = measured(tmp_path, (20, 20, 4), bent)
    soft = relax(made, motion=0.0, strain=1.0)
    stiff = relax(made, motion=0.0, strain=1.0, stiffness=1e6)
    assert stiff[2]["strain"] < soft[2]["strain"] / 2
    assert stiff[2]["p50"] > 2 * soft[2]["p50"]


@pytest.mark.long
def test_two_levels_say_what_one_would(tmp_path: Path) -> None:
    made = measured(tmp_path, (70, 40, 14), bend(), noise=0.5)
    notes = relax(made, sections=6, strain=0.02)
    assert notes[3]["border"] < 0.3
    io = IO()
    links = Linkage(io, made, made.round(io, 1))
    direct = relaxing.settled(links, 1, Material(1 / (STEP * 0.02) ** 2, 1e-4), ())
    off = np.linalg.norm(read(made, "forward") - direct.solved.u.transpose(1, 2, 0, 3), axis=-1)
    assert np.quantile(off, 0.99) <= 0.05


def test_the_order_of_tasks_changes_no_byte(tmp_path: Path) -> None:
    found = []
    for n, backwards in enumerate((False, True)):
        made = measured(tmp_path / str(n), (66, 20, 5), bend(), noise=0.3)
        for step in Relax(alignment=made.home, sections=2).steps(IO()):
            execute(step, backwards)
        files = [one for one in (tmp_path / str(n) / "alignment/rounds").rglob("*") if one.is_file()]
        found.append({str(one.relative_to(tmp_path / str(n))): one.read_bytes() for one in files})
    assert found[0] == found[1]
    assert sum("forward" in name for name in found[0]) == 2 * 5 + 1


@pytest.mark.long
def test_a_broken_chain_is_told_and_both_pieces_are_solved(tmp_path: Path) -> None:
    bent = bend()
    made = measured(tmp_path, (20, 20, 8), bent)
    for distance in (1, 2):
        values = flow(made, bent, distance)
        values[:, :, 4 : 4 + distance, 5] = 2
        fields(made, 1, STEP, f"flow/{distance}", values)
    relax(made, **LOOSE)
    assert report(made)["pieces"] == [{"first": 0, "sections": 4}, {"first": 4, "sections": 4}]
    assert report(made)["unlinked"] == []
    off = misplaced(made, bent)[2:-2, 2:-2]
    assert np.quantile(off[:, :, [0, 1, 2, 4, 5, 6]], 0.99) < 0.1
    assert "2 pieces, which begin at sections 0, 4" in Settle(alignment=made.home).said(IO())


def test_a_missing_section_is_bridged_and_goes_with_its_neighbours(tmp_path: Path) -> None:
    bent = bend()
    made = measured(tmp_path, (20, 20, 7), bent)
    for distance in (1, 2):
        values = flow(made, bent, distance)
        values[:, :, [3, 3 + distance], 5] = 1
        values[:, :, 3, :5] = np.nan
        fields(made, 1, STEP, f"flow/{distance}", values)
    relax(made, **LOOSE)
    told = report(made)
    assert (told["unlinked"], len(told["pieces"])) == ([3], 1)
    u = read(made, "forward")
    off = np.abs(u[:, :, 3] - (u[:, :, 2] + u[:, :, 4]) / 2)  # springs of its own make it smoother
    assert np.quantile(off, 0.9) < 0.1
    assert off.max() < 0.4
    assert "1 section without links" in Settle(alignment=made.home).said(IO())


def test_wrong_links_do_not_count(tmp_path: Path) -> None:
    bent = bend()
    made = measured(tmp_path, (24, 24, 4), bent, noise=0.1)
    values = flow(made, bent, 1, 0.1)
    wrong = np.random.default_rng(5).random(values.shape[:3]) < 0.05
    values[wrong, :2] += [9.0, -7.0]
    fields(made, 1, STEP, "flow/1", values)
    notes = relax(made, motion=0.0, strain=0.01)
    assert 0.03 < notes[3]["doubted"] < 0.5
    assert np.quantile(misplaced(made, bent)[2:-2, 2:-2], 0.95) < 0.8


@pytest.mark.parametrize(("code", "share"), [(CRACK, 0.001), (FOLD, 0.01)])
def test_springs_across_folds_and_cracks_are_soft(tmp_path: Path, code: int, share: float) -> None:
    codes = np.zeros((400, 400, 3, 1), np.uint8)
    codes[198:203, :300, 1] = code
    mask = stack(tmp_path / "mask", codes)
    made = measured(tmp_path, (20, 20, 3), bend(size=0), mask=mask)
    io = IO()
    found = Linkage(io, made, made.round(io, 1)).springs(1, Box((2, 0, 0), (20, 20, 3)))
    assert found is not None
    along_x, along_y = found
    assert (along_x[7, :15] == share).all()
    assert (along_x[7, 15:] == 1).all()
    assert (np.delete(along_x, 7, axis=0) == 1).all()
    assert (along_y == 1).all()
    wide = relaxing._homogenised(Linkage(io, made, made.round(io, 1)), 1, 4, Box((0, 0, 0), (5, 5, 3)))
    assert wide is not None
    expected = 1 / (0.75 + 0.25 / share)
    assert np.allclose(wide[0][1, :3], expected)
    assert np.allclose(wide[0][1, 3], (3 * expected + 1) / 4)
    assert (wide[0][[0, 2, 3]] == 1).all()


@pytest.mark.parametrize("code", [CRACK, FOLD])
def test_tissue_jumps_at_a_tear(tmp_path: Path, code: int) -> None:
    codes = np.zeros((400, 400, 2, 1), np.uint8)
    codes[198:203, :, 1] = code

    def torn(z: int, points: np.ndarray) -> np.ndarray:
        return np.where(points[..., :1] > 200, 12.0, 0.0) * [z, 0]

    def result(folder: Path, mask: str) -> np.ndarray:
        made = measured(folder, (20, 20, 2), bend(size=0), mask=mask)
        values = flow(made, bend(size=0), 1)
        nodes = lattices.points((0, 0), (20, 20), STEP)
        values[:, :, 1, :2] = torn(1, nodes)
        fields(made, 1, STEP, "flow/1", values)
        relax(made)
        u = read(made, "forward")
        return np.asarray(u[:, :, 1, 0] - u[:, :, 0, 0])

    cut, whole = result(tmp_path / "a", stack(tmp_path / "mask", codes)), result(tmp_path / "b", "")
    assert np.diff(cut, axis=0)[9].min() > 11.4
    assert np.diff(whole, axis=0)[9].max() < 6


def test_known_places_are_kept(tmp_path: Path) -> None:
    made = measured(tmp_path, (20, 20, 6), bend(size=0))
    file = tmp_path / "anchors.jsonl"
    lines = [{"z": 2, "section": [x, y], "volume": [x + 4, y], "sigma": 0.1} for x in (80, 300) for y in (80, 300)]
    file.write_text("\n".join(map(json.dumps, lines)) + "\n")
    relax(made, anchors=str(file))
    u = read(made, "forward")
    assert np.abs(u[..., 0] - 4).max() < 0.3
    assert np.abs(u[..., 1]).max() < 0.1
    file.write_text('{"z": 2, "section": [1, 2]}\n')
    with pytest.raises(DataError, match="line 1: is no anchor"):
        Settle(alignment=made.home, anchors=Layer.parse(str(file))).prepare(IO())
    with pytest.raises(DataError, match="no such file"):
        linkage.anchors(IO(), f"file://{tmp_path}/nothing")


def test_folds_are_undone_by_stiffer_springs(tmp_path: Path) -> None:
    made = measured(tmp_path, (16, 16, 2), bend(size=0))
    values = flow(made, bend(size=0), 1)
    values[8, 5:11, 1, 0] = -60
    fields(made, 1, STEP, "flow/1", values)
    notes = relax(made, strain=20.0, motion=20.0)
    assert notes[2]["stiffened"] > 0
    assert not relaxing.folded(read(made, "forward").transpose(2, 0, 1, 3), STEP).any()


def test_locked_displacements_are_taken_as_they_are(tmp_path: Path) -> None:
    made = measured(tmp_path, (20, 20, 3), bend())
    execute(Weigh(alignment=made.home))
    execute(Settle(alignment=made.home))
    coarse = read(made, "coarse")
    (tmp_path / "alignment/locked/rounds/1").mkdir(parents=True)
    (tmp_path / "alignment/rounds/1/coarse").rename(tmp_path / "alignment/locked/rounds/1/coarse")
    execute(Settle(alignment=made.home, strain=0.5, coarsening=2))
    assert (read(made, "coarse") == coarse).all()
    assert report(made) == {"locked": True}
    execute(Loosen(alignment=made.home))


def test_locked_weights_are_kept_whatever_a_region_shows_now(tmp_path: Path) -> None:
    made = measured(tmp_path, (40, 40, 4), bend(size=1), noise=0.6)
    for step in (Weigh(alignment=made.home, motion=0.0), Settle(alignment=made.home)):
        execute(step)
    run.inline(Lock(alignment=made.home))
    urls = [made.url("rounds/1/weights", z, ".json") for z in range(4)]
    before = [IO().store.get(url) for url in urls]
    fields(made, 1, STEP, "flow/1", flow(made, bend(size=1), 1, 0.9))
    for unlock in (False, True):
        if unlock:
            run.inline(Lock(alignment=made.home, unlock=True))
        execute(Weigh(alignment=made.home, motion=0.0))
        assert ([IO().store.get(url) for url in urls] == before) == (not unlock)
    assert not IO().list(f"{made.home}/locked/rounds/1/weights")


@pytest.mark.long
def test_a_second_round_goes_on_from_the_first(tmp_path: Path) -> None:
    bent = bend()
    made = measured(tmp_path, (20, 20, 4), bent)
    relax(made, **LOOSE)
    same = np.zeros((20, 20, 4, 6))
    same[..., 4], same[:, :, 0, 5] = 0.1, 1
    for distance in (1, 2):
        fields(made, 2, STEP, f"flow/{distance}", same)
    for step in Relax(alignment=made.home, round=2, **LOOSE).steps(IO()):
        execute(step)
    off = misplaced(made, bent, "forward", 2)[2:-2, 2:-2]
    assert np.quantile(off, 0.99) < 0.1


def test_weights_follow_loops_and_never_claim_more_than_tissue_allows(tmp_path: Path) -> None:
    made = measured(tmp_path, (40, 40, 4), bend(size=1), noise=0.6)
    execute(Weigh(alignment=made.home, motion=0.0))
    told: list[Any] = [IO().store.get_json(made.url("rounds/1/weights", z, ".json")) for z in range(4)]
    assert [one["loops"] > 1000 for one in told] == [False, False, True, True]
    assert 0.5 < told[2]["sigma"]["1"] < 0.7
    assert 1.3 < told[2]["ratio"] < 2.8
    links = Linkage(IO(), made, made.round(IO(), 1))
    assert links.sigma(0, 1) == told[2]["sigma"]["1"]
    execute(Weigh(alignment=made.home))
    least: Any = IO().store.get_json(made.url("rounds/1/weights", 2, ".json"))
    assert least["sigma"] == {"1": 1.2, "2": 2.4, "3": 3.6, "4": 4.8}


def test_a_step_too_early_says_what_is_missing(tmp_path: Path) -> None:
    layer = stack(tmp_path / "layer", np.ones((100, 100, 3, 1), np.uint8))
    made = begun(f"file://{tmp_path}/alignment", layer)
    with pytest.raises(DataError, match="round was not begun"):
        Settle(alignment=made.home).prepare(IO())
    IO().put_json(f"{made.home}/rounds/1/round.json", made.new_round(IO(), 1, 0, STEP).to_json())
    for stage, missing in ((Weigh, "align flow"), (Loosen, "align settle"), (Invert, "align loosen --sweep 2")):
        with pytest.raises(DataError, match=missing):
            stage(alignment=made.home).prepare(IO())
    fields(made, 1, STEP, "flow/1", np.zeros((5, 5, 3, 6)))
    with pytest.raises(DataError, match="z000000.json: is not there; run `align weigh` first"):
        Settle(alignment=made.home).prepare(IO())
    wrongs: list[dict[str, Any]] = [{"strain": 0.0}, {"round": 0}, {"coarsening": 0}]
    for wrong in wrongs:
        with pytest.raises(SpecError):
            Settle(alignment=made.home, **wrong)


def test_it_runs_as_a_chain(tmp_path: Path) -> None:
    made = measured(tmp_path, (20, 20, 3), bend())
    stages = [run.inline(step).stage["stage"] for step in Relax(alignment=made.home).steps(IO())]
    assert stages == ["align weigh", "align settle", "align loosen", "align loosen", "align invert"]
    assert "px (an axis); loops close to" in Weigh(alignment=made.home).said(IO())
