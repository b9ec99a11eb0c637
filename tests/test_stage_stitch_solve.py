"""The stage: what it writes, from what, and that it is the same however it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run, solutions
from igneous_ng.errors import DataError
from igneous_ng.io import IO
from igneous_ng.stages.stitch_solve import Solve
from igneous_ng.store import Store
from tests.mosaics import fitted, mosaic, store


def test_a_section_is_solved_and_told(tmp_path: Path) -> None:
    home = f"file://{tmp_path}/m"
    one = mosaic(9, 10)
    montage = store(home, (7, one))
    run.inline(Solve(montage=home))
    data = Store().get(montage.url("solutions", 7, ".maps"))
    assert data is not None
    maps, component = solutions.decode(data, "maps")
    assert component == [0] * 90
    assert fitted(maps, one.truth, False).max() < 2 * solutions.STEP
    told: Any = Store().get_json(montage.url("solutions", 7, ".json"))
    assert told["model"] == "translation"
    assert told["links"]["used"] == 161
    placed: Any = Store().get_json(montage.url("placed", 7, ".json"))
    boxes = np.array(placed["boxes"])
    assert (boxes % 64 == 0).all()
    exact = np.array([one.box() for one in maps])
    assert (boxes[:, :2] <= exact[:, :2]).all()
    assert (boxes[:, 2:] >= exact[:, 2:]).all()
    assert (np.abs(boxes - exact) < 64).all()


def test_sections_of_any_size_in_any_order(tmp_path: Path) -> None:
    """Of no tile, of one, of several; again, and in another order: the same bytes."""
    home = f"file://{tmp_path}/m"
    sections = [(0, mosaic(0, 1)), (3, mosaic(1, 1)), (5, mosaic(3, 3, "rigid"))]
    montage = store(home, *sections)
    stage = Solve(montage=home)
    run.inline(stage)
    first = {(z, s): Store().get(montage.url("solutions", z, s)) for z, _ in sections for s in (".maps", ".json")}
    for unit in reversed(stage.units(IO())):
        stage.execute(unit, IO())
    for (z, suffix), data in first.items():
        assert data is not None
        assert Store().get(montage.url("solutions", z, suffix)) == data
    assert [len(solutions.decode(first[z, ".maps"] or b"", "")[0]) for z, _ in sections] == [0, 1, 9]
    told: Any = Store().get_json(montage.url("placed", 0, ".json"))
    assert told == {"boxes": []}
    assert stage.said(IO()).splitlines()[0].startswith("3 sections: 12 links used, 0 dropped")


def test_sections_in_pieces_are_said(tmp_path: Path) -> None:
    home = f"file://{tmp_path}/m"
    store(home, (4, mosaic(3, 3).without(lambda pair: (pair == 0).any(axis=1))))
    run.inline(Solve(montage=home))
    assert Solve(montage=home).said(IO()).splitlines()[1] == "in several pieces: z000004"


def test_what_is_not_matched_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    home = f"file://{tmp_path}/m"
    store(home, (0, mosaic(2, 2)))
    (tmp_path / "m/matches/z000000/000.cols").unlink()
    with pytest.raises(DataError, match=r"000.cols: these pairs are not matched; run `stitch match`"):
        run.inline(Solve(montage=home))
    assert not (tmp_path / "m/solutions").exists()


def test_all_that_is_read_is_in_the_ledger_and_memory_is_declared(tmp_path: Path) -> None:
    home = f"file://{tmp_path}/m"
    store(home, (0, mosaic(9, 10).without(lambda pair: (pair == 0).any(axis=1))))
    io, stage = IO(), Solve(montage=home)
    stage.execute(0, io)
    urls = [one["url"].removeprefix(home) for one in io.ledger.reads]
    assert urls == ["/sections/z000000.json", "/matches/z000000/000.cols", "/matches/z000000/001.cols"]
    assert io.ledger.notes["components"] == 2
    assert io.ledger.notes["unmatched"] == 2
    assert stage.peak_bytes(0, io) > 200_000_000
