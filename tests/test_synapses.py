from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.synapses import COLUMNS, Frame, Synapses
from tests import synaptic


def test_blocks_in_their_order_hold_all_rows_by_ascending_id(tmp_path: Path) -> None:
    rows = synaptic.table(f"file://{tmp_path}/table")
    found = Synapses(IO(), f"file://{tmp_path}/table")
    read = [found.rows(at) for at in found.blocks()]
    assert len(read) == 4 * 3 * 1
    for name, kind in COLUMNS.items():
        column = np.concatenate([one[name] for one in read])
        assert column.dtype == kind
        assert np.array_equal(column, rows[name])
    assert (np.diff(rows["id"]) > 0).all()
    assert found.rows((0, 0, 0), ["id"]).keys() == {"id"}


def test_an_id_tells_its_voxel_and_block() -> None:
    frame = Frame(Box((-50, 3, 9), (51, 40, 80)), (4, 4, 40), 16, "file:///s", 0, {})
    voxels = np.array([[-50, 3, 9], [50, 39, 79], [-34, 19, 25]])
    ids = frame.ids(voxels)
    assert np.array_equal(frame.voxels(ids), voxels)
    assert np.array_equal(frame.voxels(ids + np.uint64(7)), voxels)
    assert np.array_equal(frame.blocks_of(ids), [[0, 0, 0], [6, 2, 4], [1, 1, 1]])
    assert Frame.parse(frame.to_json(), "here") == frame


def test_what_is_no_table_says_so(tmp_path: Path) -> None:
    desk = Synapses(IO(), f"file://{tmp_path}/none")
    with pytest.raises(DataError, match="there is no table of synapses; run `synapse assign`"):
        _ = desk.frame
    IO().put_json(f"{desk.url}/table.json", {"@type": "other"})
    with pytest.raises(DataError, match="not a table of synapses"):
        _ = Synapses(IO(), desk.url).frame
    with pytest.raises(SpecError, match="blocks of 48 voxels; give a power of two"):
        Frame(Box((0, 0, 0), (9, 9, 9)), (1, 1, 1), 48, None, 0, {})
    synaptic.table(f"file://{tmp_path}/table")
    (tmp_path / "table/rows/0-0-0").unlink()
    with pytest.raises(DataError, match="rows/0-0-0 is missing; run `synapse assign` again"):
        Synapses(IO(), f"file://{tmp_path}/table").rows((0, 0, 0))
