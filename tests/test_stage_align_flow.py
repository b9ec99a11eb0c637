from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from igneous_ng import run
from igneous_ng.alignment import Alignment, Rough
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels.block_matching import Status
from igneous_ng.stage import to_dict
from igneous_ng.stages import align_flow
from igneous_ng.stages.align_flow import Flow
from igneous_ng.windows import CRACK, FOLD
from tests.alignments import begun, stack
from tests.alignments import fields as put_fields
from tests.measuring import MEASURE
from tests.montages import scenery

SIZE = (560, 480)
PATTERN = scenery((640, 640)).astype(np.float64)
AT = [(0.0, 0.0), (6.0, -3.0), (1.5, 8.0), (-5.25, 4.5), (2.0, 2.0)]
"""How far the tissue has moved in each section."""


def section(at: tuple[float, float], size: tuple[int, int] = SIZE) -> np.ndarray:
    moved = ndimage.shift(PATTERN, at, order=5, mode="grid-wrap")[::1, :]
    return np.asarray(np.clip(moved[40 : 40 + size[0], 40 : 40 + size[1]], 1, 255).astype(np.uint8))


def voxels() -> np.ndarray:
    return np.asfortranarray(np.stack([section(at) for at in AT], axis=2)[..., np.newaxis])


def begin(
    folder: Path, pixels: np.ndarray, maps: list[Rough] | None = None, mask: np.ndarray | None = None
) -> Alignment:
    covered = "" if mask is None else stack(folder / "mask", mask)
    return begun(f"file://{folder}/alignment", stack(folder / "layer", pixels), maps, covered)


def measured(made: Alignment, **more: Any) -> dict[int, np.ndarray]:
    """The layers of flow, ``[x, y, z, channel]``."""
    run.inline(Flow(alignment=made.home, **more))
    return read(made, more.get("round", 1))


def read(made: Alignment, number: int = 1) -> dict[int, np.ndarray]:
    io = IO()
    box = made.round(io, number).box
    urls = {k: f"{made.home}/rounds/{number}/flow/{k}" for k in (1, 2, 3, 4)}
    return {k: io.read(io.volume(url, 0), box) for k, url in urls.items()}


def good(values: np.ndarray) -> np.ndarray:
    return np.asarray(values[..., 5] == Status.GOOD)


def expect(values: np.ndarray, z: int, distance: int, within: float = 0.1) -> None:
    """Vectors of a section are what was planted."""
    truth = np.subtract(AT[z - distance], AT[z])
    found = values[:, :, z, :2][good(values[:, :, z])]
    assert len(found)
    assert np.abs(found - truth).max() < within


def test_neighbours_are_measured_and_every_fourth_node_one_farther(tmp_path: Path) -> None:
    made = begin(tmp_path, voxels())
    flow = measured(made, mip=0)
    inner = slice(2, -3), slice(2, -2)
    for z in range(1, 5):
        assert good(flow[1][inner][:, :, z]).all()
        expect(flow[1], z, 1)
    for z in range(2, 5):
        expect(flow[2], z, 2)
    asked = flow[2][inner][:, :, 2:, 5] != Status.NOTHING
    at = np.add.outer(np.arange(2, 2 + asked.shape[0]) % 4, 4 * (np.arange(2, 2 + asked.shape[1]) % 4))
    assert (asked == (at == 0)[..., np.newaxis]).all()
    assert (flow[1][:, :, 0, 5] == Status.NOTHING).all()
    assert np.isnan(flow[1][:, :, 0, :5]).all()
    assert (flow[3][inner][..., 5] == Status.NOTHING).all()
    assert (flow[1][good(flow[1])][:, [0, 1, 4]] * 64 % 1 == 0).all()


@pytest.mark.long
def test_other_chunks_of_other_lattices_give_the_same_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = voxels()
    pixels[230:390, 160:340, 2] = np.random.default_rng(0).integers(1, 255, (160, 180, 1))
    pixels[400:470, 100:300, 2] = 0
    whole = measured(begin(tmp_path / "whole", pixels))
    monkeypatch.setattr(align_flow, "CHUNK", 6)
    made = begin(tmp_path / "parts", pixels)
    io, stage = IO(), Flow(alignment=made.home)
    stage.prepare(io)
    lattice = made.round(io, 1)
    assert lattice.box.shape[:2] == (14, 12)
    kept: dict[int, np.ndarray] = {k: np.full(values.shape, -1, np.float32) for k, values in whole.items()}

    def write(_: IO, volume: Any, box: Box, values: np.ndarray) -> None:
        kept[int(volume.path[-1])][box.slices(lattice.box.lo)] = values

    monkeypatch.setattr(IO, "write", write)
    for unit in list(stage.units(io))[::-1]:
        stage.execute(unit, IO())
    for distance, values in whole.items():
        assert np.array_equal(kept[distance], values, equal_nan=True), distance
    assert {Status.GOOD, Status.NOTHING, Status.WEAK} <= set(np.unique(whole[1][..., 5]).astype(int))
    assert good(whole[2][2:-3, 2:-2, 3]).sum() > 6  # where the first is spoilt


def test_a_missing_section_is_looked_past(tmp_path: Path) -> None:
    maps = [Rough(np.eye(2), np.zeros(2), source=-1 if z == 2 else z) for z in range(5)]
    flow = measured(begin(tmp_path, voxels(), maps))
    assert (flow[1][:, :, 2:4, 5] == Status.NOTHING).all()
    assert (flow[2][:, :, 2, 5] == Status.NOTHING).all()
    assert good(flow[2][2:-3, 2:-2, 3]).all()
    expect(flow[2], 3, 2)
    assert (flow[3][2:-3, 2:-2, 3, 5] == Status.NOTHING).all()
    expect(flow[1], 4, 1)


def test_three_missing_sections_are_looked_past(tmp_path: Path) -> None:
    maps = [Rough(np.eye(2), np.zeros(2), source=z if z in (0, 4) else -1) for z in range(5)]
    flow = measured(begin(tmp_path, voxels(), maps))
    assert good(flow[4][2:-3, 2:-2, 4]).all()
    expect(flow[4], 4, 4)
    less = measured(begin(tmp_path / "less", voxels(), maps), distances=3)
    assert all((values[..., 5] == Status.NOTHING).all() for values in less.values())


def test_inverted_sections_are_seen_as_the_others(tmp_path: Path) -> None:
    pixels = voxels()
    pixels[:, :, 1] = 255 - pixels[:, :, 1]
    maps = [Rough(np.eye(2), np.zeros(2), source=z, inverted=z == 1) for z in range(5)]
    flow = measured(begin(tmp_path, pixels, maps))
    assert good(flow[1][2:-3, 2:-2, 1:]).all()
    expect(flow[1], 1, 1)
    expect(flow[1], 2, 1)


def test_nothing_is_matched_on_voids_folds_and_cracks(tmp_path: Path) -> None:
    codes = np.zeros((*SIZE, 5, 1), np.uint8)
    codes[300:308, :, 1], codes[:, 300:304, 1] = FOLD, CRACK
    codes[:200, :, 3] = 1
    pixels = voxels()
    pixels[:200, :, 3] = 77
    flow = measured(begin(tmp_path, pixels, mask=codes))
    assert (flow[1][:3, :, 3, 5] == Status.NOTHING).all()
    assert (flow[1][:3, :, 4, 5] == Status.NOTHING).all()
    assert good(flow[2][2:3, 2:-2, 4]).all()
    for z in (1, 2, 3, 4):
        expect(flow[1], z, 1, within=0.3)


def test_a_later_round_measures_what_is_left(tmp_path: Path) -> None:
    made = begin(tmp_path, voxels())
    with pytest.raises(DataError, match="align relax --round 1"):
        run.inline(Flow(alignment=made.home, round=2))
    shape = made.new_round(IO(), 1, 0, 40).box.shape
    inverse = np.add(AT, (0.25, -0.5)) * np.array([1, 1, 0, 1, 1])[:, np.newaxis]
    put_fields(made, 1, 40, "inverse", np.broadcast_to(inverse, (*shape, 2)))
    flow = measured(made, round=2)
    seen = flow[1][4:-4, 4:-4]
    assert good(seen[:, :, 1:]).all()
    left = np.add(AT[2], (0.25, -0.5))
    assert np.abs(seen[:, :, 1, :2]).max() < 0.03
    assert np.abs(seen[:, :, 2, :2] + left).max() < 0.03
    assert np.abs(seen[:, :, 3, :2] - left).max() < 0.03


def test_levels_and_defaults(tmp_path: Path) -> None:
    coarse = begin(tmp_path / "coarse", voxels())  # 8 nm in sections of 32 nm
    assert Flow(alignment=coarse.home)._new_lattice(IO(), coarse).mip == 0
    run.inline(catalogued("image downsample", layer=coarse.layer, num_mips=2, factor=(2, 2, 1)))
    assert Flow(alignment=coarse.home)._new_lattice(IO(), coarse).mip == 0
    assert (Flow(alignment="/a")._reach, Flow(alignment="/a", round=2)._reach) == (40, 12)
    flow = measured(coarse, mip=1, search=24)
    assert coarse.round(IO(), 1).step == 80
    truth = np.subtract(AT[0], AT[1])
    assert np.abs(flow[1][2:-2, 2:-2, 1, :2] - truth).max() < 0.25


def catalogued(name: str, **more: Any) -> Any:
    from igneous_ng import catalog

    return catalog.load(name)(**more)


def test_requests_that_cannot_be_are_refused(tmp_path: Path) -> None:
    made = begin(tmp_path, voxels()[:200, :200])
    stage = Flow(alignment=made.home)
    stage.prepare(IO())
    stage.prepare(IO())
    with pytest.raises(SpecError, match="nodes 40 pixels apart"):
        Flow(alignment=made.home, stride=32, patch=96).prepare(IO())
    with pytest.raises(SpecError, match="has 1 channel"):
        Flow(alignment=made.home, channel=1).prepare(IO())
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"round": 0}, "counted from 1"),
        ({"stride": 42}, "multiple of 4"),
        ({"patch": 100}, "multiple of the stride"),
        ({"search": 13}, "even number"),
        ({"distances": 5}, "give 1 to 4"),
        ({"channel": -1}, "counted from 0"),
    ]
    for fields, words in wrong:
        with pytest.raises(SpecError, match=words):
            Flow(alignment="/a", **fields)


def test_it_tells_how_much_is_good(tmp_path: Path) -> None:
    pixels = voxels()
    pixels[:, :, 3] = np.random.default_rng(2).integers(1, 255, pixels[:, :, 3].shape)
    made = begin(tmp_path, pixels)
    measured(made)
    said = Flow(alignment=made.home).said(IO())
    assert "1 section away" in said
    assert "fewest good nodes: z000000 0%, z000003 0%, z000004 0%" in said
    stage, io = Flow(alignment=made.home), IO()
    stage.execute(stage.units(io)[1], io)
    notes = io.ledger.notes
    assert sum(notes[f"{kind.name.lower()}_1"] for kind in Status) == 14 * 12
    assert notes["far_1"] == pytest.approx(np.hypot(6, 3), abs=0.1)
    assert notes["backend"] == "cpu"


def test_torch_is_asked_for_by_name(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is an optional extra")
    made = begin(tmp_path, np.asfortranarray(voxels()[:160, :160, :2]))
    assert Flow(alignment=made.home).device_bytes(Box((0, 0, 0), (4, 4, 1)), IO()) == 0
    stage = Flow(alignment=made.home, backend="torch", search=8, stride=16, patch=48)
    stage.prepare(IO())
    unit = stage.units(IO())[1]
    assert stage.device_bytes(unit, IO()) > 0
    io = IO()
    stage.execute(unit, io)
    assert io.ledger.notes["backend"].startswith("torch ")
    assert io.ledger.notes["good_1"] > 20


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("which", ["plain", "masked", "later"])
def test_a_task_takes_no_more_memory_than_it_declares(tmp_path: Path, which: str) -> None:
    def staged(folder: Path, size: int) -> Flow:
        pixels = np.tile(section((0.0, 0.0))[:, :, np.newaxis, np.newaxis], (5, 5, 3, 1))[:size, :size]
        turned = [Rough(np.array([[0.98, 0.2], [-0.2, 0.98]]), np.array([0.0, size / 6]), source=z) for z in range(3)]
        mask = np.zeros_like(pixels)
        mask[size // 2 : size // 2 + 9] = FOLD
        made = begin(folder, np.asfortranarray(pixels), turned, np.asfortranarray(mask) if which == "masked" else None)
        stage = Flow(alignment=made.home, search=12 if which == "later" else 40)
        stage.prepare(IO())
        return stage

    big, small = staged(tmp_path / "big", 2800), staged(tmp_path / "small", 300)
    words = [json.dumps(to_dict(one)) for one in (big, small)]
    code = MEASURE.replace("units[0]", "units[-4]")  # of the last section
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    taken, declared = json.loads(done.stdout)
    assert 0 < taken <= declared, f"{which} took {taken / 1e6:.0f} MB and declares {declared / 1e6:.0f} MB"
    print(f"{which}: {taken / 1e6:.0f} of {declared / 1e6:.0f} MB")  # noqa: T201 - shown with -s
