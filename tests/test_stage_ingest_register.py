"""Every planted fault is reported, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.montage import Montage, Section
from igneous_ng.stage import Layer
from igneous_ng.stages.ingest_register import Register
from igneous_ng.stages.ingest_verify import Verify
from tests.tiles import PIXEL, Lattice, picture, texture

Rows = set[tuple[str, str, str]]


def registered(lattice: Lattice, **fields: Any) -> tuple[Section, Rows]:
    """The section of a lattice, and its findings as code, severity and tile."""
    montage = lattice.write()
    run.inline(Verify(montage=montage))
    return again(montage, **fields)


def again(montage: str, **fields: Any) -> tuple[Section, Rows]:
    run.inline(Register(montage=montage, **fields))
    return Montage.open(IO(), montage).section(IO(), 12), {
        (row["code"], row["severity"], row.get("tile", "")) for row in findings(montage)
    }


def findings(montage: str, name: str = "z000012") -> list[dict[str, Any]]:
    path = Path(montage.removeprefix("file://")) / "findings" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


# Faults, each with the rows that it must give.


def absent(lattice: Lattice, tile: str) -> Rows:
    lattice.files[tile] = None
    return {("absent", "bad", tile)}


def missing(lattice: Lattice, tile: str) -> Rows:
    del lattice.files[tile], lattice.lines[tile]
    return {("missing", "bad", "")}


def torn(lattice: Lattice, tile: str) -> Rows:
    lattice.files[tile] = (lattice.files[tile] or b"")[:1000]
    return {("corrupt", "bad", tile)}


def cut_short(lattice: Lattice, tile: str) -> Rows:
    lattice.spoil(tile, lambda rows: np.where(np.arange(len(rows))[:, None] < 80, rows, rows[79]).astype(rows.dtype))
    return {("truncated", "bad", tile)}


def blank(lattice: Lattice, tile: str) -> Rows:
    lattice.spoil(tile, np.zeros_like)
    return {("blank", "bad", tile)}


def blurred(lattice: Lattice, tile: str) -> Rows:
    lattice.spoil(tile, lambda rows: gaussian_filter(rows.astype(float), 3).astype(rows.dtype))
    return {("focus", "warn", tile)}


def saturated(lattice: Lattice, tile: str) -> Rows:
    lattice.spoil(tile, lambda rows: np.clip(rows.astype(float) + 110, 0, 255).astype(rows.dtype))
    return {("saturated", "warn", tile)}


def smaller(lattice: Lattice, tile: str) -> Rows:
    lattice.spoil(tile, lambda rows: rows[:100])
    return {("shape", "bad", tile)}


def wider(lattice: Lattice, tile: str) -> Rows:
    lattice.spoil(tile, lambda rows: rows.astype(np.uint16) * 256)
    return {("type", "bad", tile)}


def elsewhere(lattice: Lattice, tile: str) -> Rows:
    line = lattice.lines[tile]
    lattice.lines[tile] = replace(line, x=line.x + 0.7 * PIXEL * lattice.side)
    return {("place", "bad", tile)}


def stale(lattice: Lattice, tile: str) -> Rows:
    row, col = int(tile[1]), int(tile[3])
    before = f"r{row}c{col - 1}" if col else f"r{row - 1}c5"
    lattice.files[tile] = lattice.files[before]
    return {("stale", "bad", tile)}


def alike(lattice: Lattice, tile: str) -> Rows:
    row, col = int(tile[1]), int(tile[3])
    before = lattice.rows_of(f"r{row}c{col - 1}" if col else f"r{row - 1}c5")
    lattice.files[tile] = picture(before ^ 1)
    return {("similar", "warn", tile)}


def repeated(lattice: Lattice, tile: str) -> Rows:
    line = lattice.lines[tile]
    name = f"{tile}_again"
    lattice.files[name] = lattice.files[tile]
    lattice.spoil(name, lambda rows: rows ^ 1)
    lattice.lines[name] = replace(line, tile=name, url=lattice.url(name), time=line.time[:-2] + "30", x=line.x + 9)
    return {("duplicate", "warn", tile)}


FAULTS: list[Callable[[Lattice, str], Rows]] = [
    absent, missing, torn, cut_short, blank, blurred, saturated, smaller, wider, elsewhere, stale, alike, repeated,
]  # fmt: skip
KEPT = {"blurred", "saturated", "alike"}


@pytest.mark.parametrize("seed", range(6))
def test_a_sound_lattice_has_no_findings(tmp_path: Path, seed: int) -> None:
    section, rows = registered(Lattice(tmp_path, seed))
    assert rows == set()
    assert len(section.tiles) == 36


@pytest.mark.parametrize("seed", range(6))
def test_every_planted_fault_is_reported_and_nothing_else(tmp_path: Path, seed: int) -> None:
    lattice, wanted, gone = Lattice(tmp_path, seed), Rows(), set[str]()
    rng = np.random.default_rng(seed)
    free = [f"r{row}c{col}" for row in range(6) for col in range(6) if (row, col) != (0, 0)]
    for fault in FAULTS:
        # the tile before is what a stale frame shows, so that it stays as it is
        tile = free[int(rng.integers(len(free)))]
        row, col = int(tile[1]), int(tile[3])
        before = f"r{row}c{col - 1}" if col else f"r{row - 1}c5"
        after = f"r{row}c{col + 1}" if col < 5 else f"r{row + 1}c0"
        free = [one for one in free if one not in (tile, before, after)]
        wanted |= fault(lattice, tile)
        gone |= set() if fault.__name__ in KEPT else {tile}
    section, rows = registered(lattice)
    assert rows == wanted
    assert {tile.tile for tile in section.tiles} == set(lattice.lines) - gone


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_without_rows_and_columns_too(tmp_path: Path, fault: Callable[[Lattice, str], Rows]) -> None:
    lattice = Lattice(tmp_path, 3)
    wanted = fault(lattice, "r3c2")
    lattice.lines = {tile: replace(line, row=None, col=None) for tile, line in lattice.lines.items()}
    if fault is elsewhere:  # only positions tell of the lattice: there is a hole where nothing is
        wanted = {("place", "warn", "r3c2"), ("missing", "bad", "")}
    assert registered(lattice)[1] == wanted


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_section_says_what_stitching_needs(tmp_path: Path, dtype: str) -> None:
    lattice = Lattice(tmp_path, rows=2, columns=3, dtype=dtype)
    lattice.lines = {t: replace(line, camera="left", matrix=(1.0, 0.1, -0.1, 1.0)) for t, line in lattice.lines.items()}
    section, _ = registered(lattice)
    assert (section.z, section.dtype, section.channels) == (12, dtype, 1)
    assert [tile.tile for tile in section.tiles] == sorted(lattice.lines)
    for tile in section.tiles:
        line = lattice.lines[tile.tile]
        assert (tile.x, tile.y) == (line.x / PIXEL, line.y / PIXEL)
        assert (tile.width, tile.height, tile.row, tile.col) == (128, 128, line.row, line.col)
        assert (tile.matrix, tile.camera, tile.pictures) == (line.matrix, "left", (line.picture,))
    row = Montage.open(IO(), f"file://{tmp_path}/montage").rows[0]
    assert (row.z, row.tiles, row.pairs, row.box) == (12, 6, len(section.pairs), section.box)


def test_pixels_of_two_sizes_need_one_to_be_chosen(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path, rows=1, columns=3)
    lattice.lines["r0c1"] = replace(lattice.lines["r0c1"], pixel=8.0)
    montage = lattice.write()
    run.inline(Verify(montage=montage))
    with pytest.raises(SpecError, match="pixels of 4 and 8 nm; say with --pixel"):
        run.inline(Register(montage=montage))
    section, _ = again(montage, pixel=4.0)
    assert [tile.matrix for tile in section.tiles] == [(1, 0, 0, 1), (2, 0, 0, 2), (1, 0, 0, 1)]
    assert section.tiles[1].x == lattice.lines["r0c1"].x / 4


def channels(lattice: Lattice) -> None:
    """Give each tile a second channel, darker than the first."""
    for tile, line in list(lattice.lines.items()):
        name = f"{tile}_ch1"
        lattice.files[name] = picture(lattice.rows_of(tile) // 2 + 20)
        lattice.lines[name] = replace(line, url=lattice.url(name), channel=1)


def test_channels_of_a_tile_are_joined(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path, rows=3, columns=3)
    channels(lattice)
    section, rows = registered(lattice)
    assert rows == set()
    assert section.channels == 2
    assert [p.url for p in section.tiles[4].pictures] == [lattice.url("r1c1"), lattice.url("r1c1_ch1")]


def test_a_tile_without_one_of_its_channels_is_left_out(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path, rows=3, columns=3)
    channels(lattice)
    del lattice.lines["r1c1_ch1"]
    torn(lattice, "r2c2_ch1")
    section, rows = registered(lattice)
    assert rows == {("channel", "bad", "r1c1"), ("corrupt", "bad", "r2c2")}
    assert {tile.tile for tile in section.tiles} == {f"r{n // 3}c{n % 3}" for n in range(8)} - {"r1c1"}


def test_of_repeated_pictures_the_last_that_can_be_used_counts(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path, rows=3, columns=3)
    for n, time in enumerate(("10", "30", "20")):
        name = f"r1c1_{n}"
        lattice.files[name] = picture(lattice.rows_of("r1c1") ^ n + 1)
        line = lattice.lines["r1c1"]
        lattice.lines[name] = replace(line, url=lattice.url(name), time=line.time[:-2] + time)
    torn(lattice, "r1c1_1")
    section, rows = registered(lattice)
    assert rows == {("corrupt", "bad", "r1c1"), ("duplicate", "warn", "r1c1")}
    assert section.tiles[4].pictures[0].url == lattice.url("r1c1_2")
    losers = [row["url"] for row in findings(f"file://{tmp_path}/montage") if row["code"] == "duplicate"]
    assert sorted(losers) == sorted(lattice.url(one) for one in ("r1c1", "r1c1_0", "r1c1_1"))


def overridden(folder: Path, *lines: dict[str, Any]) -> Layer:
    path = folder / "overrides.jsonl"
    path.write_text("".join(json.dumps({"z": 12, **line}) + "\n" for line in lines))
    return Layer.parse(str(path))


def test_overrides_always_win_and_are_named(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path)
    cut_short(lattice, "r1c1")
    elsewhere(lattice, "r2c2")
    torn(lattice, "r3c3")
    repeated(lattice, "r4c4")
    place = {"x": 4 * 230.0, "y": 4 * 230.0}
    said = overridden(
        tmp_path,
        {"tile": "r1c1", "action": "use", "note": "half is better than none"},
        {"tile": "r2c2", "action": "move", **place},
        {"tile": "r3c3", "action": "use"},
        {"tile": "r4c4", "action": "use"},
        {"tile": "r5c5", "action": "drop", "channel": 0},
        {"tile": "nobody", "action": "drop"},
        {"tile": "r0c0", "action": "drop", "channel": 3},
        {"z": 99, "tile": "r0c0", "action": "drop"},
    )
    section, rows = registered(lattice, overrides=said)
    kept = {tile.tile: tile for tile in section.tiles}
    assert {"r1c1", "r2c2", "r4c4"} <= kept.keys()
    assert not {"r3c3", "r4c4_again", "r5c5"} & kept.keys()
    assert (kept["r2c2"].x, kept["r2c2"].y) == (230, 230)
    assert rows == {
        ("truncated", "bad", "r1c1"), ("corrupt", "bad", "r3c3"), ("duplicate", "warn", "r4c4_again"),
        ("override", "ok", "r1c1"), ("override", "ok", "r2c2"), ("override", "bad", "r3c3"),
        ("override", "ok", "r4c4"), ("override", "ok", "r5c5"),
        ("override", "bad", "nobody"), ("override", "bad", "r0c0"),
    }  # fmt: skip
    said_of = {row["tile"]: row["said"] for row in findings(f"file://{tmp_path}/montage") if row["code"] == "override"}
    assert said_of["r1c1"] == "line 1: use (half is better than none): applied"
    (astray,) = findings(f"file://{tmp_path}/montage", "sections")
    assert astray["severity"] == "bad"
    assert "no section 99" in astray["said"]


@pytest.fixture(scope="module")
def verified_montage(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    lattice = Lattice(tmp_path_factory.mktemp("overrides"), rows=3, columns=3, side=64, step=56)
    torn(lattice, "r0c0")
    elsewhere(lattice, "r1c1")
    montage = lattice.write()
    run.inline(Verify(montage=montage))
    return montage, lattice.folder


def place(tile: str) -> dict[str, float]:
    """Where an operator finds a tile to lie, in nm."""
    row, col = (int(tile[1]), int(tile[3])) if tile != "none" else (0, 0)
    return {"x": PIXEL * (56 * col + 1), "y": PIXEL * (56 * row - 2)}


lines = st.fixed_dictionaries(
    {
        "tile": st.sampled_from([f"r{n // 3}c{n % 3}" for n in range(9)] + ["none"]),
        "action": st.sampled_from(["use", "drop", "move"]),
    }
)


@settings(max_examples=20)
@given(st.lists(lines, max_size=6))
def test_what_the_last_line_says_of_a_tile_holds(
    verified_montage: tuple[str, Path], said: list[dict[str, Any]]
) -> None:
    montage, folder = verified_montage
    given_lines = [{**one, **place(one["tile"])} if one["action"] == "move" else one for one in said]
    stage = Register(montage=montage, overrides=overridden(folder, *given_lines))
    stage.prepare(IO())
    stage.execute(12, IO())
    stage.finish(IO())
    kept = {tile.tile: tile for tile in Montage.open(IO(), montage).section(IO(), 12).tiles}
    for n in range(9):
        tile = f"r{n // 3}c{n % 3}"
        about = [one["action"] for one in said if one["tile"] == tile]
        last = next((one for one in reversed(about) if one != "move"), "")
        sound = tile != "r1c1" or "move" in about
        assert (tile in kept) == (tile != "r0c0" and last != "drop" and (sound or last == "use"))
        if tile in kept and "move" in about:
            assert {"x": kept[tile].x * PIXEL, "y": kept[tile].y * PIXEL} == place(tile)
    rows = [row for row in findings(montage) if row["code"] == "override"]
    assert len(rows) == len(said)
    assert sum("matches no picture" in row["said"] for row in rows) == sum(one["tile"] == "none" for one in said)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{\n", "line 1: is no object in JSON"),
        ('{"z":1,"tile":"a"}', "lacks action"),
        ('{"z":1,"tile":"a","action":"keep"}', "action is 'keep'; expected one of use, drop, move"),
        ('{"z":"1","tile":"a","action":"use"}', "z is '1'; expected a number"),
        ('{"z":1,"tile":"a","action":"use","why":"b"}', "no field 'why'"),
        ('{"z":1,"tile":"a","action":"move","x":1}', "needs x and y in nm"),
        ('{"z":1,"tile":"a","action":"move","x":1,"y":NaN}', "expected numbers"),
        ('{"z":1,"tile":"a","action":"use","x":1,"y":2}', "x and y are for move"),
        ("tile,action\na,use\n", "line 2: lacks z"),
        ("z,tile,action\n1,a\n", "line 2: has not as many fields"),
        ("z,tile,action\none,a,use\n", "z is 'one'; expected a number"),
        ("what is this", "no header with z, tile, action"),
    ],
)
def test_wrong_overrides_are_refused_before_anything_is_written(tmp_path: Path, text: str, message: str) -> None:
    lattice = Lattice(tmp_path, rows=1, columns=1)
    montage = lattice.write()
    run.inline(Verify(montage=montage))
    (tmp_path / "said").write_text(text)
    with pytest.raises(SpecError, match=message):
        run.inline(Register(montage=montage, overrides=Layer(f"{tmp_path}/said")))
    assert not (tmp_path / "montage" / "sections").exists()


def test_overrides_may_be_csv(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path)
    (tmp_path / "said.csv").write_text(
        'z,tile,channel,action,x,y,note\n12,r1c1,,drop,,,"torn, I think"\n12,r2c2,,move,4,8,\n'
    )
    section, rows = registered(lattice, overrides=f"{tmp_path}/said.csv")
    assert rows == {("override", "ok", "r1c1"), ("override", "ok", "r2c2")}
    kept = {tile.tile: (tile.x, tile.y) for tile in section.tiles}
    assert "r1c1" not in kept
    assert kept["r2c2"] == (1, 2)


def test_missing_files_and_old_findings_are_refused(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path, rows=1, columns=2)
    montage = lattice.write()
    with pytest.raises(DataError, match="run `ingest verify` first"):
        run.inline(Register(montage=montage))
    with pytest.raises(SpecError, match="no such file of overrides"):
        run.inline(Register(montage=montage, overrides=Layer(f"{tmp_path}/none")))
    run.inline(Verify(montage=montage))
    lattice.add("r0c5", texture((128, 128), 4), 0, 5)
    lattice.write()
    with pytest.raises(DataError, match="is of other tiles than the manifest now has"):
        run.inline(Register(montage=montage))


def test_tiles_that_all_lie_at_one_place_are_one(tmp_path: Path) -> None:
    lattice = Lattice(tmp_path)
    lattice.lines = {t: replace(line, x=0.0, y=0.0, row=None, col=None) for t, line in lattice.lines.items()}
    section, rows = registered(lattice)
    assert [tile.tile for tile in section.tiles] == ["r5c5"]
    assert rows == {("duplicate", "warn", tile) for tile in lattice.lines if tile != "r5c5"}
