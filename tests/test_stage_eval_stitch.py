"""Scores of stitching: nothing is wrong with the truth, and what is made wrong is measured as what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run, solutions
from igneous_ng.errors import DataError
from igneous_ng.formats import columns
from igneous_ng.formats.info import IMAGE, new_info
from igneous_ng.formats.tiles import Picture
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels.tile_maps import TileMap
from igneous_ng.montage import Montage, Placed, Row, Section
from igneous_ng.stages.eval_stitch import EvalStitch
from igneous_ng.stages.synth_tiles import SynthTiles


@pytest.fixture
def known(tmp_path: Path) -> tuple[Path, Path, list[TileMap], Section]:
    """A montage of synthetic tiles, their true maps, and its section."""
    io, layer, out = IO(), f"file://{tmp_path}/image", tmp_path / "tiles"
    bounds = Box((0, 0, 7), (420, 420, 8))
    info = new_info(kind=IMAGE, dtype="uint8", channels=1, bounds=bounds, resolution=(4, 4, 30),
                    chunk=(512, 512, 1), encoding="raw")  # fmt: skip
    io.create_layer(layer, info)
    io.write(io.volume(layer, 0), bounds, np.zeros((*bounds.shape, 1), np.uint8, "F"))
    run.inline(SynthTiles(image=layer, out=str(out), tile=(128, 128), lens=2.0, distortion=1.0, stage_error=3.0))
    told = json.loads((out / "truth/z000007.json").read_text())["tiles"]
    maps, _ = solutions.decode((out / "truth/z000007.maps").read_bytes(), "truth")
    tiles = tuple(Placed(f"{n:03d}", t["stage"][0], t["stage"][1], 128, 128, (Picture(f"{out}/{t['files'][0]}"),))
                  for n, t in enumerate(told))  # fmt: skip
    section = Section(7, tiles, "uint8", 1)
    home = tmp_path / "montage"
    montage = Montage(str(home), 4.0, "uint8", 1, (Row(7, len(tiles), len(section.pairs), section.box),))
    io.put_json(f"file://{home}/sections.json", montage.to_json())
    io.put_json(f"file://{home}/sections/z000007.json", section.to_json())
    return home, out, maps, section


def scored(home: Path, out: Path, maps: list[TileMap], section: Section, wrong: int = 0) -> dict[str, Any]:
    """The scores of ``maps``, with a match for each pair that is right but for the first ``wrong``."""
    io = IO()
    io.put(f"file://{home}/solutions/z000007.maps", solutions.encode(maps, [0] * len(maps)))
    truth, _ = solutions.decode((out / "truth/z000007.maps").read_bytes(), "truth")
    p = np.array([[60.0, 60.0]] * len(section.pairs))
    q = np.array([truth[j].inverse(truth[i](p[n])) for n, (i, j) in enumerate(section.pairs)])
    q[:wrong] += 3
    table: dict[str, np.ndarray] = {
        "pair": np.array(section.pairs, np.int32),
        "status": np.zeros(len(p), np.uint8),
        "of": np.arange(len(p), dtype=np.int32),
        "p": p,
        "q": q,
    }
    io.put(f"file://{home}/matches/z000007/000.cols", columns.pack(table))
    run.inline(EvalStitch(montage=str(home), truth=str(out)))
    found: dict[str, Any] = json.loads((home / "scores/z000007.json").read_text())
    return found


def test_the_truth_has_no_errors(known: tuple[Path, Path, list[TileMap], Section]) -> None:
    found = scored(*known)
    assert found["position_max"] < 1e-3
    assert found["overlap"]["max"] < 1e-3
    assert (found["matches"], found["wrong"]) == (len(known[3].pairs), 0)
    assert found["match"]["max"] < 1e-3


def test_moving_and_turning_the_whole_changes_nothing(known: tuple[Path, Path, list[TileMap], Section]) -> None:
    home, out, maps, section = known
    turn = np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
    moved = [TileMap(m.size, turn @ m.matrix, turn @ m.shift + [50, -7], m.lens, m.nodes) for m in maps]
    found = scored(home, out, moved, section)
    assert found["position_max"] < 1e-3
    assert found["overlap"]["max"] < 1e-3


def test_errors_are_measured_as_what_they_are(known: tuple[Path, Path, list[TileMap], Section]) -> None:
    home, out, maps, section = known
    rng = np.random.default_rng(1)
    stray = rng.normal(0, 0.5, (len(maps), 2))
    moved = [TileMap(m.size, m.matrix, m.shift + d, m.lens, m.nodes) for m, d in zip(maps, stray, strict=True)]
    found = scored(home, out, moved, section, wrong=3)
    left = np.hypot(*(stray - stray.mean(axis=0)).T)
    assert found["position_rms"] == pytest.approx(np.sqrt((left**2).mean()), rel=0.15)  # a part is like a turn
    apart = [np.hypot(*(stray[i] - stray[j])) for i, j in section.pairs]
    assert found["overlap"]["max"] == pytest.approx(max(apart), abs=2e-3)
    assert found["wrong"] == 3


def test_a_stranger_is_named(known: tuple[Path, Path, list[TileMap], Section]) -> None:
    home, out, maps, section = known
    told = json.loads((out / "truth/z000007.json").read_text())
    told["tiles"].pop()
    (out / "truth/z000007.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match="tells nothing of tile"):
        scored(home, out, maps, section)
