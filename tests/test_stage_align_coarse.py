"""Rough alignment: what was done to sections is found; any order gives the same bytes; what the operator says wins."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.alignment import Alignment, Rough
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels.affine import Affine
from igneous_ng.stage import Layer, Stage
from igneous_ng.stages.align_coarse import Coarse, Pairs, RoughMaps, Sections
from igneous_ng.stages.align_lock import Lock
from tests.alignments import stack
from tests.rough_stacks import Faults, Known, drawn, fib25

FAULTS = Faults(
    turned={3: 90.0, 5: 37.0},
    mirrored=(6,),
    inverted=(7,),
    exchanged=(8,),
    empty=(11,),
    void=(4,),
    unrelated=(13,),
)


def aligned(known: Known, home: str, **more: Any) -> None:
    for one in Coarse(layer=known.layer, alignment=home, **more).steps(IO()):
        run.inline(one)


def maps(home: str) -> dict[int, Affine]:
    """By section of the layer."""
    return {one.source: Affine(one.matrix, one.shift) for one in places(home) if one.source >= 0}


def places(home: str) -> list[Rough]:
    made = Alignment.open(IO(), home)
    return [made.rough(IO(), z) for z in made.zs]


def told(home: str) -> dict[str, Any]:
    found: Any = IO().get_json(f"{home}/rough.json")
    return dict(found)


def said(folder: Path, *lines: dict[str, Any]) -> Layer:
    path = folder / "said.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return Layer(f"file://{path}")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Known, str]:
    """Twelve drawn sections with some faults, aligned; tests that write take a copy."""
    folder = tmp_path_factory.mktemp("plain")
    faults = Faults(turned={2: 90.0}, mirrored=(5,), inverted=(3,), exchanged=(7,), empty=(10,))
    known = drawn(folder / "layer", 12, faults)
    aligned(known, f"file://{folder}/a", distances=(1, 2))
    return known, f"file://{folder}/a"


def test_what_was_done_to_sections_is_found(plain: tuple[Known, str]) -> None:
    known, home = plain
    found = told(home)["sections"]
    assert set(found) == {"2", "3", "5", "7", "8", "10"}
    assert abs(abs(found["2"]["turned"]) - 90) < 4
    assert found["5"] == {"mirrored": True}
    assert found["3"] == {"inverted": True}
    assert (found["7"]["swapped"], found["8"]["swapped"]) == (8, 7)
    assert found["10"] == {"empty": True}
    solved = maps(home)
    assert max(known.off(solved, z, z - 1).max() for z in range(1, 10)) < 1
    assert [one.source for one in places(home)] == [*range(10), -1, 11]


def test_the_middle_lies_as_it_was_and_corners_are_rounded(plain: tuple[Known, str]) -> None:
    known, home = plain
    solved = maps(home)
    usual = [solved[z] for z in (0, 1, 4, 6, 9, 11)]
    assert np.abs(np.mean([one.matrix for one in usual], axis=0) - np.eye(2)).max() < 0.02
    middle = (np.array(known.size) - 1) / 2
    assert np.abs(np.median([one(middle) for one in solved.values()], axis=0) - middle).max() < 0.25
    for one in solved.values():
        assert (one(middle) * 8 % 1 == 0).all()
    bounds = Box.parse(told(home)["bounds"])
    assert all(n % 64 == 0 for n in (*bounds.lo[:2], *bounds.hi[:2]))
    assert bounds.hi[2] == 12


@pytest.mark.long
@pytest.mark.parametrize(("step", "bound", "usual"), [(1, 1.0, 0.6), (4, 5.0, 1.7)])
def test_known_maps_of_tissue_are_recovered(tmp_path: Path, step: int, bound: float, usual: float) -> None:
    """Slices of 8 nm within a pixel; sections of 32 nm as far as processes let them: they move by a pixel or two."""
    known, home = fib25(tmp_path / "layer", step, 16, FAULTS), f"file://{tmp_path}/a"
    aligned(known, home)
    found, solved = told(home)["sections"], maps(home)
    keys = {z: set(one) for z, one in found.items()}
    assert keys == {
        "3": {"turned"}, "5": {"turned"}, "6": {"mirrored"}, "7": {"inverted"}, "8": {"swapped"}, "9": {"swapped"},
        "11": {"empty"}, "13": {"component"},
    }  # fmt: skip
    order = [0, 1, 2, 3, 4, 5, 6, 7, 9, 8, 10]
    off = [known.off(solved, b, a) for a, b in itertools.pairwise(order)]
    print(step, [round(float(np.sqrt((one**2).mean())), 2) for one in off], max(one.max() for one in off))  # noqa: T201
    assert max(one.max() for one in off) < bound
    assert np.median([np.sqrt((one**2).mean()) for one in off]) < usual


@pytest.mark.long
def test_the_same_bytes_in_any_order_and_again(plain: tuple[Known, str], tmp_path: Path) -> None:
    known, home = plain
    other = f"file://{tmp_path}/b"
    stages: list[Stage] = [
        Sections(layer=known.layer, alignment=other),
        Pairs(alignment=other, distances=(2, 1)),
        RoughMaps(alignment=other),
    ]
    for one in stages:
        one.prepare(IO())
        for unit in reversed(one.units(IO())):
            one.execute(unit, IO())
    for path in Path(other.removeprefix("file://")).rglob("*"):
        if path.is_file():
            same = Path(home.removeprefix("file://")) / path.relative_to(other.removeprefix("file://"))
            assert path.read_bytes() == same.read_bytes(), path
    assert len(list((tmp_path / "b/pairs").iterdir())) == 21


def test_what_is_read_is_in_the_ledger(plain: tuple[Known, str]) -> None:
    known, home = plain
    io = IO()
    Sections(layer=known.layer, alignment=home).execute(2, io)
    assert [(one["layer"], one["box"]) for one in io.ledger.reads] == [(known.layer, "0:230,0:210,2:3")]
    assert io.ledger.notes["tissue"] > 0.8
    io = IO()
    Pairs(alignment=home).execute((2, 1), io)
    assert [one["url"] for one in io.ledger.reads] == [f"{home}/sections/z{z:06d}.cols" for z in (2, 1)]
    assert io.ledger.notes["status"] == "points"
    io = IO()
    RoughMaps(alignment=home).execute(0, io)
    assert sum("/pairs/z" in one.get("url", "") for one in io.ledger.reads) == 21
    assert io.ledger.notes["components"] == 1


def copied(home: str, folder: Path) -> str:
    """The files of an alignment, but for its records."""
    base = Path(home.removeprefix("file://"))
    for path in base.rglob("*"):
        if path.is_file() and "runs" not in path.parts:
            target = folder / "a" / path.relative_to(base)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return f"file://{folder}/a"


def test_exchanged_sections_change_places_on_demand(plain: tuple[Known, str], tmp_path: Path) -> None:
    known, home = plain[0], copied(plain[1], tmp_path)
    order = [*range(7), 8, 7, 9, -1, 11]
    run.inline(RoughMaps(alignment=home, reorder=True))
    assert [one.source for one in places(home)] == order
    run.inline(RoughMaps(alignment=home, overrides=said(tmp_path, {"pair": [7, 8], "action": "swap"})))
    assert [one.source for one in places(home)] == order
    lines = [{"z": 7, "action": "source", "source": 8}, {"z": 8, "action": "source", "source": 7}]
    run.inline(RoughMaps(alignment=home, overrides=said(tmp_path, *lines)))
    assert [one.source for one in places(home)] == order
    assert known.off(maps(home), 8, 6).max() < 1.5


def test_what_the_operator_says_wins(plain: tuple[Known, str], tmp_path: Path) -> None:
    home = copied(plain[1], tmp_path)
    before = maps(home)
    moved = before[4].matrix.ravel().tolist(), (before[4].shift + np.array([100, 50])).tolist()
    lines = [
        {"z": 1, "action": "exclude", "note": "torn"},
        {"z": 3, "action": "upright"},
        {"z": 4, "action": "place", "matrix": moved[0], "shift": moved[1]},
        {"pair": [11, 9], "action": "ignore"},
    ]
    run.inline(RoughMaps(alignment=home, overrides=said(tmp_path, *lines)))
    found, after = places(home), maps(home)
    assert found[1].source == -1
    assert not found[3].inverted
    assert found[4].shift.tolist() == moved[1]
    assert np.abs(after[6].shift - before[6].shift - [100, 50]).max() < 1.5
    assert (found[11].component, found[0].component) == (1, 0)
    assert told(home)["sections"]["1"] == {"excluded": "override, line 1"}
    corners = [[0, 0, 30, 20], [200, 0, 230, 20], [0, 200, 30, 220]]
    run.inline(
        RoughMaps(alignment=home, overrides=said(tmp_path, {"pair": [0, 1], "action": "match", "points": corners}))
    )
    solved, at = maps(home), np.array([100.0, 100.0])
    assert np.abs(solved[0](at) - solved[1](at + np.array([30, 20]))).max() < 0.5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"z": 40, "action": "exclude"}, "line 1: exclude section 40: there is no section 40; there are 0 to 11"),
        ({"pair": [9, 4], "action": "ignore"}, "this pair was not compared"),
        ({"z": 4, "action": "source", "source": -1}, "there is no section -1"),
    ],
)
def test_what_is_said_of_nothing_is_refused(
    plain: tuple[Known, str], tmp_path: Path, line: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        run.inline(RoughMaps(alignment=plain[1], overrides=said(tmp_path, line)))
    with pytest.raises(SpecError, match="there is no such file"):
        run.inline(RoughMaps(alignment=plain[1], overrides=Layer(f"file://{tmp_path}/none")))


def test_locked_maps_stay_and_new_sections_are_laid_on_them(plain: tuple[Known, str], tmp_path: Path) -> None:
    home = copied(plain[1], tmp_path)
    before = IO().get(f"{home}/rough.affines")
    run.inline(Lock(alignment=home))
    aside = said(tmp_path, {"pair": [2, 1], "action": "ignore"}, {"pair": [2, 0], "action": "ignore"})
    run.inline(RoughMaps(alignment=home, overrides=aside))
    assert IO().get(f"{home}/rough.affines") == before
    locked = tmp_path / "a/locked/rough.affines"
    data = bytearray(locked.read_bytes())
    data[12:16] = (9).to_bytes(4, "little")  # sections 0 to 8 alone
    locked.write_bytes(data[: 16 + 9 * 64])
    run.inline(RoughMaps(alignment=home))
    after = IO().get(f"{home}/rough.affines") or b""
    assert after[: 16 + 9 * 64] == (before or b"")[: 16 + 9 * 64]
    assert np.abs(maps(home)[11].shift - maps(plain[1])[11].shift).max() < 1
    run.inline(Lock(alignment=home, unlock=True))
    assert not locked.exists()
    assert Lock(alignment=home).said(IO()) == "nothing is locked"
    run.inline(RoughMaps(alignment=home))
    assert IO().get(f"{home}/rough.affines") == before


@pytest.mark.long
def test_stacks_of_one_section_of_none_and_of_two_pieces(tmp_path: Path) -> None:
    known = drawn(tmp_path / "one", 1, Faults())
    aligned(known, f"file://{tmp_path}/a")
    (one,) = places(f"file://{tmp_path}/a")
    assert (one.matrix.tolist(), one.shift.tolist(), one.source) == ([[1, 0], [0, 1]], [0, 0], 0)
    empty = drawn(tmp_path / "empty", 3, Faults(empty=(0, 1, 2)))
    aligned(empty, f"file://{tmp_path}/b")
    assert [one.source for one in places(f"file://{tmp_path}/b")] == [-1, -1, -1]
    assert told(f"file://{tmp_path}/b")["bounds"] == "0:256,0:256,0:3"
    parted = drawn(tmp_path / "parted", 6, Faults(unrelated=(3,)))
    aligned(parted, f"file://{tmp_path}/c", distances=(1,))
    assert [one.component for one in places(f"file://{tmp_path}/c")] == [0, 0, 0, 2, 1, 1]
    assert "not connected with most: 3, 4, 5" in RoughMaps(alignment=f"file://{tmp_path}/c").said(IO())


def test_large_sections_are_read_window_by_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any windows give one picture: averages of what is not void, tissue where the mask says so."""
    picture = np.random.default_rng(0).integers(1, 255, (301, 207, 1, 1)).astype(np.uint8)
    picture[100:140, 60:100] = 0
    codes = np.zeros_like(picture)
    codes[200:, :50] = 2
    layer, mask = stack(tmp_path / "layer", picture, (10, -7, 3)), stack(tmp_path / "mask", codes, (10, -7, 3))
    homes = [f"file://{tmp_path}/{one}" for one in "ab"]
    for home, window in zip(homes, (2048, 24), strict=True):
        monkeypatch.setattr("igneous_ng.miniatures._WINDOW", window)
        run.inline(Sections(layer=layer, alignment=home, mask=Layer(mask), side=80))
    first, second = ((tmp_path / one / "sections/z000003.cols").read_bytes() for one in "ab")
    assert first == second
    from igneous_ng.formats import columns

    found = columns.unpack(first, "")
    assert found["frame"].tolist() == [2, -2, 4, 0]
    assert found["picture"].shape == (52, 76)
    at = picture[2 * 4 + 2 : 2 * 4 + 6, 3 + 4 : 3 + 8, 0, 0]  # small pixel (5, 0): x from 20, y from 0
    assert found["picture"][2, 3] == np.float32(at.mean())
    tissue = np.unpackbits(found["tissue"], axis=1, count=76).T
    assert not tissue[26:34, 19:22].any()
    assert not tissue[52:, :10].any()
    assert tissue[:20].mean() > 0.9


def test_requests_that_make_no_sense_are_refused(plain: tuple[Known, str], tmp_path: Path) -> None:
    known, home = plain
    with pytest.raises(SpecError, match="another stack, mask or treatment"):
        run.inline(Sections(layer=known.layer, alignment=home, fill_missing=True))
    with pytest.raises(SpecError, match="distances"):
        Pairs(alignment=home, distances=(1, 1))
    with pytest.raises(SpecError, match="side"):
        Sections(layer=known.layer, alignment=home, side=2)
    fresh = f"file://{tmp_path}/a"
    with pytest.raises(DataError, match="run `align coarse` first"):
        run.inline(Pairs(alignment=fresh))
    Sections(layer=known.layer, alignment=fresh).prepare(IO())
    with pytest.raises(DataError, match="not made small; run `align sections`"):
        run.inline(Pairs(alignment=fresh))
    with pytest.raises(DataError, match="no pair was compared; run `align pairs`"):
        run.inline(RoughMaps(alignment=fresh))
    with pytest.raises(DataError, match="nothing to lock"):
        run.inline(Lock(alignment=fresh))
