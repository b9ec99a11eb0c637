"""Checks of alignments made by hand: what is right is found right, what is planted is found where it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import interpolate

from igneous_ng import run
from igneous_ng.alignment import Alignment, Rough
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.kernels import fields as lattices
from igneous_ng.kernels.align_quality import rough
from igneous_ng.stages.align_check import AlignCheck
from igneous_ng.windows import FOLD
from tests.alignments import begun, fields, stack
from tests.montages import scenery
from tests.test_pages import checked

SIZE, STEP, COUNT = (640, 480), 40, 4
NODES = (16, 12)
SHIFTS = np.array([(3, -2), (0, 0), (-4, 5), (2, 2)])


def flow(shape: tuple[int, ...], status: int = 0) -> np.ndarray:
    """A flow layer without displacements."""
    values = np.zeros((*shape, 6), np.float32)
    values[..., 5] = status
    return values


def aligned(folder: Path, inverse: np.ndarray | None = None, gone: int | None = None, mask: str = "") -> Alignment:
    """The same picture in all sections, which lie otherwise in each; the rough maps are right."""
    picture = scenery(SIZE)
    voxels = np.stack([np.roll(picture, tuple(-shift), (0, 1)) for shift in SHIFTS], axis=2)[..., np.newaxis]
    layer = stack(folder / "layer", voxels)
    maps = [Rough(np.eye(2), shift.astype(float), source=-1 if z == gone else z) for z, shift in enumerate(SHIFTS)]
    made = begun(f"file://{folder}/alignment", layer, maps, mask)
    shape = (*NODES, COUNT)
    none = np.zeros((*shape, 2))
    fields(made, 1, STEP, "inverse", none if inverse is None else inverse)
    fields(made, 1, STEP, "forward", none)
    near = flow(shape)
    near[:, :, 0, 5] = 1
    fields(made, 1, STEP, "flow/1", near)
    far = flow(shape, 1)
    far[:, :, 2:, 5] = 0
    fields(made, 1, STEP, "flow/2", far)
    return made


def figures(made: Alignment, z: int) -> dict[str, Any]:
    url = made.url("checks", z, ".json").removeprefix("file://")
    found: dict[str, Any] = json.loads(Path(url).read_text())
    return found


def verdict(made: Alignment) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"{made.home}/verdict.json".removeprefix("file://")).read_text())
    return found


def heat(made: Alignment, z: int) -> np.ndarray:
    volume = IO().volume(f"{made.home}/heat", 0)
    return np.asarray(volume.read(volume.bounds)[0][:, :, z - volume.bounds.lo[2]])


def do(made: Alignment, **more: Any) -> AlignCheck:
    stage = AlignCheck(alignment=made.home, **more)
    run.inline(stage)
    return stage


def test_true_maps_are_found_true(tmp_path: Path) -> None:
    made = aligned(tmp_path)
    stage = do(made)
    for z in range(1, COUNT):
        found = figures(made, z)
        assert (found["held_out_p95"], found["misaligned"], found["alike"]) == (pytest.approx(0, abs=0.02), 0, 1)
        assert (found["gap_p95"], found["residual_max"], found["folded"], found["strain_max"]) == (0, 0, 0, 0)
        assert (found["against"], found["good"], found["blocks"]) == (z - 1, 1, 48)
        assert found["correlation"] > 0.999
        assert (heat(made, z)[..., 0] <= 0.03).all()
    assert figures(made, 0)["held_out_p95"] is None
    assert figures(made, 0)["against"] is None
    assert (heat(made, 0)[..., :2] == -1).all()
    assert verdict(made)["publish"]
    assert "round 1 may be published: 4 sections, 0 beyond bounds, missing: none" in stage.said(IO())
    assert sorted(path.name for path in (tmp_path / "alignment/report").iterdir()) == ["index.html"]
    assert checked((tmp_path / "alignment/report/index.html").read_bytes()).links


@pytest.mark.long
def test_a_region_that_is_off_is_found_there(tmp_path: Path) -> None:
    inverse = np.zeros((*NODES, COUNT, 2))
    inverse[8:, :, 2, 0] = 3
    made = aligned(tmp_path, inverse)
    stage = do(made)
    assert figures(made, 1)["misaligned"] == 0
    for z in (2, 3):
        off = heat(made, z)[..., 0]
        assert off[5:, 1:-1] == pytest.approx(3, abs=0.15)
        assert off[:3] == pytest.approx(0, abs=0.05)
        found = figures(made, z)
        assert 0.3 < found["misaligned"] < 0.7
        assert found["held_out_p95"] == pytest.approx(3, abs=0.2)
        assert all(x > 250 for x, _, _ in found["worst"])
        assert len(found["worst"]) == 6
        page = checked((tmp_path / f"alignment/report/z{z:06d}.html").read_bytes())
        assert f"Section {z}" in page.said
    assert not verdict(made)["publish"]
    assert "beyond it: sections 2-3" in verdict(made)["reasons"][0]
    assert "is held back" in stage.said(IO())
    do(made, misaligned=0.9, blocks=12)  # another heat map in the place of the first
    assert verdict(made)["publish"]
    assert heat(made, 2).shape == (4, 3, 3)
    assert not (tmp_path / "alignment/report/z000002.html").exists()


def bilinear(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """By other means than the package's."""
    nodes = [lattices.points((0, 0), (n, n), STEP)[:, 0, 0] for n in values.shape[:2]]
    inside = np.clip(at, [axis[0] for axis in nodes], [axis[-1] for axis in nodes])
    found: np.ndarray = interpolate.RegularGridInterpolator(tuple(nodes), values)(inside)
    return found


def test_residuals_and_loops_are_those_of_brute_force(tmp_path: Path) -> None:
    made, rng = aligned(tmp_path), np.random.default_rng(0)
    shape = (*NODES, COUNT)
    before = np.round(rng.normal(size=(*shape, 2)) * 64 * 5) / 64
    fields(made, 2, STEP, "inverse", np.zeros((*shape, 2)))
    shutil.rmtree(tmp_path / "alignment/rounds/1/inverse")
    fields(made, 1, STEP, "inverse", before)
    forward = np.round(rng.normal(size=(*shape, 2)) * 64 * 5) / 64
    fields(made, 2, STEP, "forward", forward)
    flows = {}
    for k in (1, 2, 3, 4):
        flows[k] = flow(shape)
        flows[k][..., :2] = rng.normal(size=(*shape, 2)) * 6
        flows[k][..., 5] = rng.choice(5, shape, p=(0.7, 0.1, 0.1, 0.05, 0.05))
        flows[k][..., 5][:, :, :k] = 1
        flows[k][..., :2][flows[k][..., 5] == 1] = np.nan
        fields(made, 2, STEP, f"flow/{k}", flows[k])
    IO().put_json(made.url("rounds/2/weights", 3, ".json"), {"sigma": {"1": 2.5}})
    do(made, round=2, blocks=4)
    points = lattices.points((0, 0), NODES, STEP)
    for z in (1, 2, 3):
        residual, loops, used = [], [], [0, 0, 0, 0]
        for i, j in np.ndindex(NODES):
            r = points[i, j]
            nearest = [k for k in (1, 2, 3, 4) if k <= z and flows[k][i, j, z, 5] == 0]
            for k in nearest[:1]:
                used[k - 1] += 1
                ends = []
                for section, at in ((z, r), (z - k, r + flows[k][i, j, z, :2])):
                    straight = at + bilinear(before[:, :, section], at)
                    ends.append(straight + bilinear(forward[:, :, section], straight))
                residual.append(np.hypot(*(ends[0] - ends[1]).ravel()))
            if z > 1 and flows[1][i, j, z, 5] == flows[2][i, j, z, 5] == 0:
                one, two = flows[1][i, j, z, :2], flows[2][i, j, z, :2]
                between = lattices.bilinear(flows[1][:, :, z - 1], (0, 0), lattices.places(r + one, STEP))
                if between[5] == 0 and np.isfinite(between[:2]).all():
                    loops.append(np.hypot(*(one + between[:2] - two)))
        found = figures(made, z)
        short = rough(forward[:, :, z] - forward[:, :, z - 1])
        assert found["jitter"] == pytest.approx(np.sqrt((short**2).mean()), rel=1e-4)
        sure = 2.5 if z == 3 else 0.3 * 32 / 8
        assert found["jitter_ratio"] == pytest.approx(found["jitter"] / sure, rel=1e-4)
        assert found["links"] == used
        seen = np.logical_or.reduce([flows[k][:, :, z, 5] != 1 for k in range(1, z + 1)])
        assert found["good"] == pytest.approx(sum(used) / seen.sum(), rel=1e-4)
        assert found["statuses"] == [int((flows[1][:, :, z, 5] == n).sum()) for n in range(5)]
        known = found["residual_p50"], found["residual_p95"], found["residual_max"]
        assert known == pytest.approx(np.percentile(residual, (50, 95, 100)), rel=1e-4)
        assert found["loops"] == len(loops)
        if z > 1:
            assert len(loops) > 5
            assert (found["loop_p50"], found["loop_p95"]) == pytest.approx(np.percentile(loops, (50, 95)), rel=1e-4)


def test_loops_that_do_not_close_are_told(tmp_path: Path) -> None:
    made = aligned(tmp_path)
    shutil.rmtree(tmp_path / "alignment/rounds/1/flow")
    one, two = flow((*NODES, COUNT)), flow((*NODES, COUNT))
    one[..., :2], two[..., :2] = (2, -1), (4.75, -3)
    fields(made, 1, STEP, "flow/1", one)
    fields(made, 1, STEP, "flow/2", two)
    do(made, blocks=4)
    assert (figures(made, 2)["loop_p50"], figures(made, 2)["loop_p95"]) == (1.25, 1.25)
    assert figures(made, 2)["loops"] == NODES[0] * NODES[1]
    assert figures(made, 1)["loop_p50"] is None


@pytest.mark.parametrize("masked", [False, True])
def test_folded_cells_are_counted_but_for_those_at_folds_of_the_tissue(tmp_path: Path, masked: bool) -> None:
    codes = np.zeros((*SIZE, COUNT, 1), np.uint8)
    codes[200:300, 200:280] = FOLD
    mask = stack(tmp_path / "mask", codes) if masked else ""
    made = aligned(tmp_path, mask=mask)
    forward = np.zeros((*NODES, COUNT, 2))
    forward[5, 5, 2, 0] = 60  # node (5, 5), at 219.5, goes beyond the next at 259.5
    shutil.rmtree(tmp_path / "alignment/rounds/1/forward")
    fields(made, 1, STEP, "forward", forward)
    do(made, residual_p95=100.0)
    found = figures(made, 2)
    assert (found["folded"], found["torn"]) == ((0, 2) if masked else (2, 0))
    assert (found["area_min"], found["area_max"]) == (-0.5, 2.5)
    assert np.argwhere(heat(made, 2)[..., 2] > 0.5).tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]
    assert found["drift_x"] == pytest.approx(60 / 192, rel=1e-4)
    assert verdict(made)["publish"] == masked


def test_a_missing_section_is_told_and_spanned(tmp_path: Path) -> None:
    made = aligned(tmp_path, gone=2)
    shutil.rmtree(tmp_path / "alignment/rounds/1/flow/1")
    near = flow((*NODES, COUNT), 1)
    near[:, :, 1, 5] = 0
    fields(made, 1, STEP, "flow/1", near)
    do(made)
    assert figures(made, 2)["source"] == -1
    assert figures(made, 2)["blocks"] == 0
    assert (heat(made, 2) == -1).all()
    found = figures(made, 3)
    assert (found["against"], found["links"], found["misaligned"]) == (1, [0, 192, 0, 0], 0)
    assert verdict(made)["publish"]
    assert verdict(made)["figures"]["missing"] == "section 2"
    checked((tmp_path / "alignment/report/index.html").read_bytes())


def test_any_order_and_repetition_gives_the_same_bytes(tmp_path: Path) -> None:
    inverse = np.zeros((*NODES, COUNT, 2))
    inverse[8:, :, 2, 0] = 3
    made = aligned(tmp_path, inverse)
    stage, left = AlignCheck(alignment=made.home, blocks=12), []
    for backwards in (False, True):
        stage.prepare(IO())
        units = list(stage.units(IO()))
        for unit in (units[::-1] + units[:1]) if backwards else units:
            stage.execute(unit, IO())
        stage.finish(IO())
        left.append({str(p): p.read_bytes() for p in (tmp_path / "alignment").rglob("*") if p.is_file()})
    assert left[0] == left[1]
    assert sum("/heat/" in name for name in left[0]) == COUNT + 1


def test_an_operator_may_accept_what_was_checked(tmp_path: Path) -> None:
    inverse = np.zeros((*NODES, COUNT, 2))
    inverse[8:, :, 2, 0] = 3
    made = aligned(tmp_path, inverse)
    with pytest.raises(DataError, match="says nothing of round 1"):
        do(made, accept=True, because="B.: of no matter")
    do(made, blocks=12)
    before = (tmp_path / "alignment/checks/z000002.json").stat().st_mtime_ns
    stage = do(made, accept=True, because="B.: of no matter")
    found = verdict(made)
    assert (found["publish"], found["accepted"]) == (True, "B.: of no matter")
    assert found["reasons"]
    assert "is published all the same (B.: of no matter)" in stage.said(IO())
    assert (tmp_path / "alignment/checks/z000002.json").stat().st_mtime_ns == before


def test_what_cannot_be_checked_is_refused(tmp_path: Path) -> None:
    made = aligned(tmp_path)
    with pytest.raises(DataError, match="this round was not begun"):
        do(made, round=2)
    with pytest.raises(SpecError, match="has no mip 3"):
        do(made, mip=3)
    with pytest.raises(SpecError, match="has 1 channel"):
        do(made, channel=1)
    shutil.rmtree(tmp_path / "alignment/rounds/1/inverse")
    with pytest.raises(DataError, match="run `align relax --round 1` first"):
        do(made)
    for wrong in ({"round": 0}, {"misaligned": 1.5}, {"held_out_p95": 0.0}, {"folded": -1}, {"accept": True}):
        with pytest.raises(SpecError, match="align check"):
            AlignCheck(alignment=made.home, **wrong)
