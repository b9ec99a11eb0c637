"""Mosaics on the sections that their tiles were cut from: points go through the tile that shows them, both ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng import solutions
from igneous_ng.cuts import Cuts
from igneous_ng.errors import DataError
from igneous_ng.io import IO
from igneous_ng.kernels.tile_maps import TileMap
from igneous_ng.montage import Section
from tests.test_stage_eval_stitch import known

__all__ = ["known"]
Z = 7


def moved(maps: list[TileMap], shift: tuple[float, float]) -> list[TileMap]:
    return [TileMap(m.size, m.matrix, m.shift + np.array(shift), m.lens, m.nodes) for m in maps]


def cuts(home: Path, out: Path, maps: list[TileMap]) -> Cuts:
    IO().put(f"file://{home}/solutions/z{Z:06d}.maps", solutions.encode(maps, [0] * len(maps)))
    found = Cuts.open(IO(), f"file://{home}", f"file://{out}")
    assert found is not None
    return found


def test_a_mosaic_that_lies_elsewhere_shows_the_section_there(
    known: tuple[Path, Path, list[TileMap], Section],
) -> None:
    home, out, maps, _ = known
    made = cuts(home, out, moved(maps, (-20.0, 6.5)))
    rng = np.random.default_rng(1)
    points = rng.uniform(60, 300, (200, 2))
    section, there = made.section(Z, points)
    assert there.all()
    np.testing.assert_allclose(section, points - (-20.0, 6.5), atol=1e-6)
    back, there = made.mosaic(Z, section)
    assert there.all()
    np.testing.assert_allclose(back, points, atol=1e-6)


def test_a_tile_in_a_wrong_place_shows_what_it_shows(known: tuple[Path, Path, list[TileMap], Section]) -> None:
    home, out, maps, _ = known
    off = [*moved(maps[:1], (3.0, 0.0)), *maps[1:]]
    middle = maps[0].shift + 40.0
    shown, _ = cuts(home, out, off).section(Z, middle[np.newaxis])
    np.testing.assert_allclose(shown, [middle - (3.0, 0.0)], atol=1e-6)
    last = maps[-1].shift + 90.0
    shown, _ = cuts(home, out, off).section(Z, last[np.newaxis])
    np.testing.assert_allclose(shown, [last], atol=1e-6)


def test_beyond_all_tiles_there_is_nothing(known: tuple[Path, Path, list[TileMap], Section]) -> None:
    home, out, maps, _ = known
    _, there = cuts(home, out, maps).section(Z, np.array([[-50.0, 100.0], [100.0, 100.0]]))
    assert there.tolist() == [False, True]


def test_without_a_solution_the_advice_is_to_solve(known: tuple[Path, Path, list[TileMap], Section]) -> None:
    home, out, _, _ = known
    found = Cuts.open(IO(), f"file://{home}", f"file://{out}")
    assert found is not None
    with pytest.raises(DataError, match="stitch solve"):
        found.section(Z, np.zeros((1, 2)))
    assert Cuts.open(IO(), f"file://{home}", None) is None
