"""Real tiles, which nothing is wrong with: what is found in them is nothing that is not so."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from igneous_ng import run
from igneous_ng.formats.tiles import Tile
from igneous_ng.stages.ingest_register import Register
from igneous_ng.stages.ingest_verify import Verify
from tests.data import data
from tests.tiles import PIXEL, write_manifest


def found(folder: Path, lines: Iterable[Tile]) -> list[tuple[str, str, str]]:
    montage = write_manifest(folder, {12: lines})
    run.inline(Verify(montage=montage))
    run.inline(Register(montage=montage))
    rows = [json.loads(line) for line in (folder / "findings/z000012.jsonl").read_text().splitlines()]
    return [(row["code"], row["severity"], row.get("tile", "")) for row in rows]


def line(path: Path, x: float, y: float, row: int | None = None, col: int | None = None) -> Tile:
    url = f"file://{path}"
    return Tile(tile=path.stem, z=12, x=PIXEL * x, y=PIXEL * y, pixel=PIXEL, url=url, row=row, col=col)


@pytest.mark.parametrize(
    ("folder", "step"),
    [("stitch_sem_3x3", (1840, 1590)), *((f"stitch_sim/simulation{n}", (1386, 1386)) for n in (1, 2, 3))],
)
def test_electron_micrographs(tmp_path: Path, folder: str, step: tuple[int, int]) -> None:
    lines = []
    for path in sorted(data(folder).rglob("*.png")):
        row, col = map(int, path.stem.split("_")[1:])
        lines.append(line(path, step[0] * col, step[1] * row, row, col))
    assert found(tmp_path, lines) == []


def test_sparse_fluorescence(tmp_path: Path) -> None:
    paths = sorted(data("tiles_mist").glob("*.tif"))
    lines = [line(path, 230 * (n % 5), 172 * (n // 5), n // 5, n % 5) for n, path in enumerate(paths)]
    assert found(tmp_path, lines) == []


def test_tiles_of_which_most_are_half_black(tmp_path: Path) -> None:
    folder = data("tiles_karsh_A")
    lines = []
    for said in (folder / "stage_positions.txt").read_text().splitlines():
        words = said.split()
        if len(words) >= 3:
            lines.append(line(folder / f"{Path(words[0]).stem}.tif", float(words[1]), float(words[2])))
    assert len(lines) == 14
    assert found(tmp_path, lines) == [("saturated", "warn", "")]
