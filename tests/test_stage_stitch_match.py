"""Matches of the pairs of a montage, as they are stored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns
from igneous_ng.formats.tiles import Picture
from igneous_ng.io import IO
from igneous_ng.montage import Montage, Placed, Row, Section
from igneous_ng.stage import to_dict
from igneous_ng.stages.stitch_match import Matching
from tests import tile_pairs as made

Array = npt.NDArray[Any]
SIDE, STEP = 160, 130


def laid(folder: Path, rows: int, cols: int, channels: int = 1, seed: int = 0) -> tuple[Section, Array]:
    """A montage of a lattice of tiles, a file for each channel, with the true places of its tiles ``[n, 2]``."""
    rng = np.random.default_rng(seed)
    waves = made.texture(1024, rng)
    tiles, places = [], []
    for n in range(rows * cols):
        meant = np.array([n % cols, n // cols]) * float(STEP)
        place = meant + rng.uniform(-8, 8, 2)
        files = []
        for c in range(channels):
            pixels = made.shot(made.cut(waves, tuple(place), (SIDE, SIDE)), rng)
            files.append(folder / f"r{n // cols}c{n % cols}_{c}.tif")
            tifffile.imwrite(files[-1], pixels.T)
        pictures = tuple(Picture(f"file://{file}") for file in files)
        x, y = meant.tolist()
        tiles.append(Placed(f"r{n // cols}c{n % cols}", x, y, SIDE, SIDE, pictures, camera="a"))
        places.append(place)
    section = Section(7, tuple(tiles), "uint8", channels)
    store(folder, section)
    return section, np.array(places)


def store(folder: Path, section: Section) -> None:
    home = f"file://{folder}/m"
    row = Row(section.z, len(section.tiles), len(section.pairs), section.box)
    IO().put_json(f"{home}/sections.json", Montage(home, 4.0, section.dtype, section.channels, (row,)).to_json())
    IO().put_json(f"{home}/sections/z{section.z:06d}.json", section.to_json())


def stage(folder: Path, **more: Any) -> Matching:
    return Matching(montage=f"{folder}/m", **more)


def table(folder: Path, batch: int = 0) -> dict[str, Array]:
    path = folder / "m" / "matches" / "z000007" / f"{batch:03d}.cols"
    return columns.unpack(path.read_bytes(), str(path))


def test_all_pairs_of_a_section_are_stored_as_they_lie(tmp_path: Path) -> None:
    section, places = laid(tmp_path, 3, 3, channels=2)
    run.inline(stage(tmp_path, margin=30, channel=1))
    found = table(tmp_path)
    n, m = len(section.pairs), len(found["of"])
    assert [tuple(pair) for pair in found["pair"].tolist()] == list(section.pairs)
    kinds = {name: (one.dtype.name, one.shape) for name, one in found.items()}
    assert kinds == {
        "pair": ("int32", (n, 2)),
        "status": ("uint8", (n,)),
        "shift": ("float64", (n, 2)),
        "confidence": ("float32", (n,)),
        "mean": ("float32", (n, 2, 2)),
        "spread": ("float32", (n, 2, 2)),
        "area": ("float32", (n,)),
        "of": ("int32", (m,)),
        "p": ("float64", (m, 2)),
        "q": ("float64", (m, 2)),
        "weight": ("float32", (m,)),
    }
    i, j = found["pair"].T
    assert not found["status"].any()
    assert np.abs(found["shift"] - (places[j] - places[i])).max() < 0.15
    true = (places[j] - places[i])[found["of"]]
    assert np.abs(found["p"] - found["q"] - true).max() < 0.5
    assert np.all((found["p"] >= 0) & (found["p"] <= SIDE - 1) & (found["q"] >= 0) & (found["q"] <= SIDE - 1))
    assert set(found["of"].tolist()) == set(range(n))
    shared = SIDE - np.abs(found["shift"])
    assert np.allclose(found["area"], np.prod(shared, axis=1), rtol=0.05)


def test_levels_tell_gain_and_offset(tmp_path: Path) -> None:
    section, _ = laid(tmp_path, 1, 2)
    first, second = (Path(t.pictures[0].url.removeprefix("file://")) for t in section.tiles)
    tifffile.imwrite(second, tifffile.imread(first)[:, STEP // 10 :][:, : SIDE - STEP // 10])
    field = tifffile.imread(first).astype(float)
    plain = np.pad(field, ((0, 0), (0, 200)), mode="reflect")
    tifffile.imwrite(first, plain[:, :SIDE].astype(np.uint8))
    tifffile.imwrite(second, np.round(0.8 * plain[:, STEP : STEP + SIDE] + 20).astype(np.uint8))
    run.inline(stage(tmp_path))
    found = table(tmp_path)
    assert found["status"].tolist() == [0]
    (a, b), (s, t) = found["mean"][0, 0], found["spread"][0, 0]
    assert t / s == pytest.approx(0.8, rel=0.02)
    assert b - 0.8 * a == pytest.approx(20, abs=0.5)


def test_a_flat_field_is_divided_by_and_enters_the_ledger(tmp_path: Path) -> None:
    laid(tmp_path, 1, 2)
    io = IO()
    stage(tmp_path).execute((7, 0), io)
    url = f"file://{tmp_path}/m/flat/a.cols"
    assert [one["digest"] for one in io.ledger.reads if one.get("url") == url] == ["missing"]
    before = table(tmp_path)
    nodes = np.ones((5, 4, 1), np.float32) * np.linspace(0.5, 1.5, 5, dtype=np.float32)[:, None, None]
    IO().put(url, columns.pack({"flat": nodes}))
    stage(tmp_path).execute((7, 0), IO())
    after = table(tmp_path)
    along = 1 / np.interp(np.arange(SIDE), np.linspace(0, SIDE - 1, 5), np.linspace(0.5, 1.5, 5))
    shared = SIDE - round(float(before["shift"][0, 0]))
    factor = along[-shared:].mean(), along[:shared].mean()
    assert after["mean"][0, 0] / before["mean"][0, 0] == pytest.approx(factor, rel=0.01)


def test_a_pair_is_matched_the_same_whatever_is_beside_it(tmp_path: Path) -> None:
    section, _ = laid(tmp_path, 2, 3)
    run.inline(stage(tmp_path))
    whole = table(tmp_path)
    for n, (i, j) in enumerate(section.pairs):
        alone = Section(7, (section.tiles[i], section.tiles[j]), "uint8", 1)
        store(tmp_path, alone)
        stage(tmp_path, memory=1).execute((7, 0), IO())  # the least that is kept: two tiles
        one = table(tmp_path)
        for name in ("status", "shift", "confidence", "mean", "spread", "area"):
            assert one[name][0].tobytes() == whole[name][n].tobytes(), name
        for name in ("p", "q", "weight"):
            assert one[name].tobytes() == whole[name][whole["of"] == n].tobytes(), name


def test_the_same_bytes_again_and_each_tile_read_once(tmp_path: Path) -> None:
    section, _ = laid(tmp_path, 3, 3)
    texts = []
    for _ in range(2):
        io = IO()
        stage(tmp_path).execute((7, 0), io)
        texts.append((tmp_path / "m" / "matches" / "z000007" / "000.cols").read_bytes())
        read = [one["url"] for one in io.ledger.reads if one.get("url", "").endswith(".tif")]
        assert sorted(read) == sorted(tile.pictures[0].url for tile in section.tiles)
    assert texts[0] == texts[1]


def test_batches_make_up_the_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section, _ = laid(tmp_path, 3, 3)
    run.inline(stage(tmp_path))
    whole = table(tmp_path)
    monkeypatch.setattr("igneous_ng.montage.BATCH", 5)
    monkeypatch.setattr("igneous_ng.stages.stitch_match.BATCH", 5)
    ready = stage(tmp_path)
    assert list(ready.units(IO())) == [(7, 0), (7, 1), (7, 2)]
    for unit in reversed(ready.units(IO())):
        ready.execute(unit, IO())
    parts = [table(tmp_path, n) for n in range(3)]
    for name in ("pair", "status", "shift", "confidence", "mean", "p", "q", "weight"):
        assert np.concatenate([part[name] for part in parts]).tobytes() == whole[name].tobytes(), name
    assert "12 of 12 pairs matched" in ready.said(IO())
    assert len(section.pairs) == 12


def test_what_shows_nothing_has_no_numbers(tmp_path: Path) -> None:
    section, _ = laid(tmp_path, 1, 3)
    blank = Path(section.tiles[2].pictures[0].url.removeprefix("file://"))
    tifffile.imwrite(blank, np.full((SIDE, SIDE), 255, np.uint8))
    run.inline(stage(tmp_path))
    found = table(tmp_path)
    assert found["status"].tolist() == [0, 2]
    assert all(np.isnan(found[name][1]).all() for name in ("shift", "mean", "spread", "area"))
    assert set(found["of"].tolist()) == {0}
    assert stage(tmp_path).said(IO()) == "1 of 2 pairs matched; 0 unsure, 1 empty, 0 apart"


def test_refused_are_wrong_requests_and_pictures_that_are_not_as_registered(tmp_path: Path) -> None:
    section, _ = laid(tmp_path, 1, 2)
    with pytest.raises(SpecError, match="margin"):
        stage(tmp_path, margin=0)
    with pytest.raises(SpecError, match="tiles have 1 channel"):
        run.inline(stage(tmp_path, channel=1))
    with pytest.raises(DataError, match="ingest register"):
        stage(tmp_path / "elsewhere").units(IO())
    first = Path(section.tiles[0].pictures[0].url.removeprefix("file://"))
    tifffile.imwrite(first, np.zeros((SIDE, SIDE - 1), np.uint8))
    with pytest.raises(DataError, match="registered as"):
        stage(tmp_path).execute((7, 0), IO())


MEASURE = """
import json, sys
from pathlib import Path
from igneous_ng import catalog
from igneous_ng.io import IO
def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
warm, stage = (catalog.decode(json.loads(text)) for text in sys.argv[1:])
warm.execute(warm.units(IO())[0], IO())
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
stage.execute(stage.units(IO())[0], IO())
print(json.dumps([resident("VmHWM") - before, stage.peak_bytes(stage.units(IO())[0], IO())]))
"""


@pytest.mark.long
@pytest.mark.parametrize("memory", [170_000_000, 3_000_000_000])
def test_memory_is_what_is_declared(tmp_path: Path, memory: int) -> None:
    """Three by three real tiles of 3.6 MB, and with little memory not all of them at once."""
    layout = made.grid("stitch_sem_3x3", overlap=0.1)
    (tmp_path / "big").mkdir()
    (tmp_path / "small").mkdir()
    store(tmp_path / "big", Section(7, layout.placed, "uint8", 1))
    laid(tmp_path / "small", 1, 2)
    requests = [json.dumps(to_dict(stage(tmp_path / one, memory=memory))) for one in ("small", "big")]
    made_of = subprocess.run(
        [sys.executable, "-c", MEASURE, *requests],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    used, declared = json.loads(made_of.stdout)
    made.told(f"used {used / 1e6:.0f} MB of {declared / 1e6:.0f} MB declared")
    assert used <= declared <= memory
    assert used > declared / 8
