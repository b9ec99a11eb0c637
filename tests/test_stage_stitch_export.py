"""Solved sections as TileSpecs: what other programs read is where the tiles lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import cli, run, solutions
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.sections import name
from igneous_ng.formats.tiles import Picture
from igneous_ng.io import IO
from igneous_ng.kernels.tile_maps import POWERS, Lens, TileMap
from igneous_ng.montage import Montage, Placed, Row, Section
from igneous_ng.stages.stitch_export import Export
from igneous_ng.store import Store
from tests.test_adapters_names import read

LENS = Lens((480.0, 360.0), 600.0, np.random.default_rng(1).normal(0, 0.5, (len(POWERS), 2)))
AFFINE = np.array([[1.01, -0.02], [0.03, 0.99]])


def maps(lens: Lens | None) -> list[TileMap]:
    return [
        solutions.rounded(TileMap((1000, 800), AFFINE * (1 + n / 100), np.array([900.0 * n, -3.25]), lens))
        for n in range(3)
    ]


def montage(home: str, lenses: dict[int, Lens | None], **picture: Any) -> None:
    """A montage with a solved section for each z of ``lenses``."""
    store, rows = Store(), []
    for z, lens in lenses.items():
        placed = tuple(
            Placed(
                f"t{n}",
                900.0 * n,
                0.0,
                1000,
                800,
                (Picture(f"file:///raw/{z}_{n}_0.png", **picture), Picture(f"file:///raw/{z}_{n}_1.png", **picture)),
                camera="c",
                row=0,
                col=n,
            )
            for n in range(3)
        )
        section = Section(z, placed, "uint8", 2)
        rows.append(Row(z, 3, len(section.pairs), section.box))
        store.put_json(f"{home}/sections/{name(z)}.json", section.to_json())
        store.put(f"{home}/solutions/{name(z)}.maps", solutions.encode(maps(lens), [0, 0, 0]))
    store.put_json(f"{home}/sections.json", Montage(home, 4.0, "uint8", 2, tuple(rows)).to_json())


def test_affine_sections_come_back_as_they_were(tmp_path: Path) -> None:
    montage(f"file://{tmp_path}/m", {7: None, 8: None})
    stage = Export(montage=f"{tmp_path}/m", dest=f"{tmp_path}/out")
    run.inline(stage)
    assert stage.said(IO()) == ""
    found = read("render", tmp_path / "out", pixel=4.0)
    assert [(tile.tile, tile.z, tile.channel) for tile in found] == [
        (f"t{n}.{z}", z, c) for z in (7, 8) for n in range(3) for c in (0, 1)
    ]
    for tile, wanted in zip(found[::2], [*maps(None), *maps(None)], strict=True):
        assert tile.matrix == tuple(wanted.matrix.ravel())
        assert (tile.x, tile.y) == tuple(wanted.shift * 4)
        assert (tile.width, tile.height, tile.camera, tile.row) == (1000, 800, "c", 0)
    assert found[3].url == "file:///raw/7_1_1.png"
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.json")}
    run.inline(stage)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.json")} == before


def test_bent_tiles_get_the_nearest_affine_and_it_is_said_how_near(tmp_path: Path) -> None:
    montage(f"file://{tmp_path}/m", {7: None, 8: LENS})
    done = CliRunner().invoke(
        cli.main, ["stitch", "export", f"{tmp_path}/m", f"{tmp_path}/out"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out/fit/z000008.json").read_text())
    assert json.loads((tmp_path / "out/fit/z000007.json").read_text())["worst"] == 0
    assert told["tiles"] == told["bent"] == 3
    assert f"3 tiles bent: their affines are up to {told['worst']:.3g} px from the solution" in done.output
    corners = np.array([[0.0, 0.0], [999.0, 799.0], [500.0, 400.0]])
    found = [tile for tile in read("render", tmp_path / "out", pixel=1.0) if tile.z == 8 and not tile.channel]
    for tile, wanted in zip(found, maps(LENS), strict=True):
        near = corners @ np.reshape(tile.matrix, (2, 2)).T + [tile.x, tile.y]
        assert 0 < np.linalg.norm(near - wanted(corners), axis=1).max() <= told["worst"] + 1e-9


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tiles are registered here"):
        run.inline(Export(montage=f"{tmp_path}/m", dest=f"{tmp_path}/out"))
    home = f"file://{tmp_path}/m"
    montage(home, {7: None}, kind="dat", part="0")
    with pytest.raises(DataError, match="7_0_0.png: tile 't0' of section 7 is a part of a file"):
        run.inline(Export(montage=home, dest=f"{tmp_path}/out"))
    Store().put(f"{home}/solutions/{name(7)}.maps", solutions.encode(maps(None)[:2], [0, 0]))
    with pytest.raises(DataError, match="has 2 tiles and the section 3; run `stitch solve` again"):
        run.inline(Export(montage=home, dest=f"{tmp_path}/out"))
    Store().delete(f"{home}/solutions/{name(7)}.maps")
    with pytest.raises(DataError, match="section 7 is not solved; run `stitch solve` first"):
        run.inline(Export(montage=home, dest=f"{tmp_path}/out"))
    with pytest.raises(SpecError, match="holds the montage"):
        Export(montage=home, dest=str(tmp_path))
    with pytest.raises(SpecError, match="expected render"):
        Export(montage=home, dest=f"{tmp_path}/out", format="trakem2")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
