"""Boxes hold what is not empty, at any offset and mip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import cli, run
from igneous_ng.geometry import Box
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.image_roi import Roi
from tests.test_stage_ccl import store

OFFSET = (1001, -17, 5)


@pytest.fixture
def layer(tmp_path: Path) -> str:
    array = np.zeros((40, 32, 12), np.uint8)
    array[10:30, 4:8, 2:10] = 200
    array[0:3, 20:32, 0] = 5
    array[39, 31, 11] = 255
    url = f"file://{tmp_path}/em"
    store(array, url, OFFSET, (8, 8, 8))
    return url


def rois(layer: str, **fields: Any) -> list[Box]:
    run.inline(Roi(layer=layer, **fields))
    said = json.loads(Path(layer.removeprefix("file://"), "rois.json").read_text())
    return [Box.parse(text) for text in said["rois"]]


def at(x: tuple[int, int], y: tuple[int, int], z: tuple[int, int]) -> Box:
    lo, hi = zip(x, y, z, strict=True)
    return Box(lo, hi).shift(OFFSET)


def test_boxes_are_exact_at_mip_0(layer: str) -> None:
    faint, large, dot = at((0, 3), (20, 32), (0, 1)), at((10, 30), (4, 8), (2, 10)), at((39, 40), (31, 32), (11, 12))
    assert sorted(map(str, rois(layer, dust=0))) == sorted(map(str, [faint, large, dot]))
    assert set(rois(layer)) == {faint, large}
    assert rois(layer, faint=5.0) == [large]


def test_at_a_coarse_mip_boxes_hold_the_same_and_stay_inside(layer: str) -> None:
    run.inline(Downsample(layer=layer, num_mips=2, method="max"))
    found = rois(layer, dust=0)
    for exact in rois(layer, mip=0, dust=0):
        (around,) = [box for box in found if exact in box]
        grown = exact.grow((3, 3, 0), (3, 3, 0)) & at((0, 40), (0, 32), (0, 12))
        assert around in grown


def test_long_boxes_are_cut_without_a_gap(layer: str) -> None:
    found = rois(layer, faint=5.0, max_length=8)
    assert max(max(box.shape) for box in found) <= 8
    assert sum(box.voxels for box in found) == 20 * 4 * 8
    assert all(box in at((10, 30), (4, 8), (2, 10)) for box in found)


def test_an_empty_layer_has_none_and_the_command_prints_boxes(layer: str, tmp_path: Path) -> None:
    assert rois(layer, faint=255.0) == []
    done = CliRunner().invoke(cli.main, ["image", "roi", str(tmp_path / "em")], catch_exceptions=False)
    assert done.exit_code == 0
    assert "1011:1031,-13:-9,7:15" in done.output.splitlines()
