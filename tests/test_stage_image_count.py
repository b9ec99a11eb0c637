"""Counts are exact, however cells and parts are cut; a table answers for any labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import census, cleaning, cli, run
from igneous_ng.census import Shuffle
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.stages.image_count import Count, CountAll
from igneous_ng.store import Store
from tests.test_stage_ccl import store, tree


def count(layer: str, **fields: Any) -> None:
    for stage in CountAll(layer=layer, **fields).steps(IO()):
        run.inline(stage)


@pytest.mark.parametrize(("cell", "top"), [((64, 64, 64), 1), ((8, 8, 8), 1), ((4, 2, 4), 2)])
@pytest.mark.parametrize("dtype", ["uint8", "uint64", "int32"])
def test_counts_are_exact(tmp_path: Path, cell: tuple[int, int, int], top: int, dtype: str) -> None:
    rng = np.random.default_rng(5)
    names = rng.integers(*((-9, 2**31) if dtype == "int32" else (0, np.iinfo(dtype).max)), 300, dtype)
    array = names[rng.integers(0, 300, (13, 9, 16))]
    layer = f"file://{tmp_path}/seg"
    store(array, layer, (-7, 100, 3))
    count(layer, cell=cell)
    labels, expected = np.unique(array, return_counts=True)
    wanted = labels.astype(np.int64).view(np.uint64) if dtype == "int32" else labels.astype(np.uint64)
    assert np.array_equal(census.voxels(IO(), layer, 0, wanted), expected)
    absent = np.array([123456789012, int(wanted[0]), 123456789013], np.uint64)
    assert census.voxels(IO(), layer, 0, absent).tolist() == [0, expected[0], 0]
    assert (tmp_path / "seg" / "counts" / "0" / f"level-{top}").exists()
    assert not (tmp_path / "seg" / "counts" / "0" / f"level-{top + 1}").exists()


@pytest.mark.parametrize("cells", [1, 2, 8, 63, 64, 65, 4096, 4097, 10**6])
def test_each_portion_is_read_by_one_task(cells: int) -> None:
    shuffle = Shuffle(cells)
    assert shuffle.groups(shuffle.top) == 1
    for level in range(1, shuffle.top + 1):
        more = shuffle.depth(level) - shuffle.depth(level - 1)
        assert 0 <= more <= 6
        below = shuffle.units(level - 1) << more
        assert shuffle.units(level) <= below <= 64 * shuffle.units(level)
    last = shuffle.units(shuffle.top)
    assert cells <= last < 2 * cells


def test_units_again_and_in_any_order_leave_the_same_bytes(tmp_path: Path) -> None:
    layer = f"file://{tmp_path}/seg"
    store(np.random.default_rng(1).integers(0, 50, (12, 8, 8)).astype(np.uint32), layer)
    count(layer, cell=(4, 4, 4))
    before = tree(tmp_path)
    for stage in CountAll(layer=layer, cell=(4, 4, 4)).steps(IO()):
        io = IO()
        for unit in reversed(stage.units(io)):
            stage.execute(unit, io)
    assert tree(tmp_path) == before


def test_the_levels_below_the_table_can_go(tmp_path: Path) -> None:
    layer = f"file://{tmp_path}/seg"
    store(np.arange(512, dtype=np.uint32).reshape(8, 8, 8) // 7, layer)
    count(layer, cell=(4, 4, 4))
    (waste,) = cleaning.wastes(Store(), layer, 0.0)
    assert waste.place.endswith("counts/0/level-0")
    assert waste.kept == ""
    cleaning.remove(Store(), waste)
    assert census.voxels(IO(), layer, 0, np.array([1, 73])).tolist() == [7, 1]


def test_levels_out_of_order_and_other_cells_are_refused(tmp_path: Path) -> None:
    layer = f"file://{tmp_path}/seg"
    store(np.ones((8, 8, 8), np.uint32), layer)
    with pytest.raises(DataError, match="image census"):
        census.voxels(IO(), layer, 0, np.array([1]))
    with pytest.raises(DataError, match="image census|not finished"):
        run.inline(Count(layer=layer, level=1, cell=(4, 4, 4)))
    run.inline(Count(layer=layer, cell=(4, 4, 4)))
    for level in (0, 1):
        with pytest.raises((SpecError, DataError), match="made otherwise|missing"):
            run.inline(Count(layer=layer, level=level, cell=(8, 4, 4)))
    with pytest.raises(SpecError, match="levels 0 to 1"):
        run.plan(Count(layer=layer, level=2, cell=(4, 4, 4)))


def test_damage_is_found(tmp_path: Path) -> None:
    layer = f"file://{tmp_path}/seg"
    store(np.ones((4, 4, 4), np.uint32), layer)
    count(layer)
    table = tmp_path / "seg" / "counts" / "0" / "level-1" / "0-0"
    data = bytearray(table.read_bytes())
    data[-1] ^= 1
    table.write_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged"):
        census.voxels(IO(), layer, 0, np.array([1]))


def test_census_is_a_command(tmp_path: Path) -> None:
    store(np.full((4, 4, 4), 3, np.uint8), f"file://{tmp_path}/seg")
    done = CliRunner().invoke(cli.main, ["image", "census", str(tmp_path / "seg")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert census.voxels(IO(), f"file://{tmp_path}/seg", 0, np.array([3])).tolist() == [64]
