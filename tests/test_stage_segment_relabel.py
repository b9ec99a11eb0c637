"""Segments are written as their tables say, the same for any cells, chunks, order and shards."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.segmentation import Supervoxels
from igneous_ng.stages.segment_relabel import Relabel
from tests.layers import files, notes, whole
from tests.segmentations import agglomerated

LOW = (-7, 100, 3)


def made(folder: Path, shape: Vec3 = (37, 29, 23), leaf: Vec3 = (16, 8, 16)) -> tuple[str, np.ndarray]:
    """Supervoxels, agglomerated, with segments of some supervoxels, some of one; and the segmentation."""
    segments = np.random.default_rng(3).integers(0, 60, (8, 6, 5)).repeat(5, 0).repeat(5, 1).repeat(5, 2)
    segments[3, 4, 5] = 61
    return agglomerated(folder / "sv", segments[tuple(map(slice, shape))], leaf, LOW)


@pytest.mark.parametrize("chunk", [None, (8, 8, 8), (5, 7, 9)])
@pytest.mark.parametrize("cell", [None, (8, 8, 8), (11, 29, 30)])
def test_each_supervoxel_becomes_its_segment(tmp_path: Path, chunk: Vec3 | None, cell: Vec3 | None) -> None:
    layer, expected = made(tmp_path)
    run.inline(Relabel(supervoxels=layer, layer=f"{tmp_path}/new", chunk=chunk, cell=cell))
    assert np.array_equal(whole(tmp_path / "new")[..., 0], expected)
    info = IO().info(f"file://{tmp_path}/new")
    assert (info.kind, info.dtype.name, info.scales[0].bounds.lo) == ("segmentation", "uint64", LOW)


def test_bytes_do_not_depend_on_cells_or_order(tmp_path: Path) -> None:
    layer, _ = made(tmp_path)
    found = []
    for name, cell in (("one", None), ("two", (16, 16, 16)), ("three", (1, 1, 1))):
        stage = Relabel(supervoxels=layer, layer=f"{tmp_path}/{name}", cell=cell, dust=200)
        io = IO()
        stage.prepare(io)
        for unit in [*reversed(stage.units(io)), *stage.units(io)]:
            stage.execute(unit, io)
        stage.finish(io)
        found.append(files(tmp_path / name))
    assert found[0] == found[1] == found[2]


def test_shards_hold_the_same(tmp_path: Path) -> None:
    layer, expected = made(tmp_path)
    stage = Relabel(supervoxels=layer, layer=f"{tmp_path}/new", chunk=(8, 8, 8), sharded=True, memory=900_000)
    assert len(stage.units(IO())) > 1
    run.inline(stage)
    assert len(list((tmp_path / "new").glob("*/*.shard"))) > 1
    assert np.array_equal(whole(tmp_path / "new")[..., 0], expected)


def test_dust_is_of_the_whole_volume_and_counted_once(tmp_path: Path) -> None:
    layer, expected = made(tmp_path)
    names, sizes = np.unique(expected[expected > 0], return_counts=True)
    dust = int(np.median(sizes))
    stage = Relabel(
        supervoxels=layer, layer=f"{tmp_path}/new", dust=dust, large=int(sizes.max()) - 1, cell=(16, 16, 16)
    )
    run.inline(stage)
    kept = np.where(np.isin(expected, names[sizes > dust]), expected, 0)
    assert np.array_equal(whole(tmp_path / "new")[..., 0], kept)
    told = notes(tmp_path / "new")
    assert sum(one["segments"] for one in told) == (sizes > dust).sum()
    assert sum(one["dust"] for one in told) == (sizes <= dust).sum()
    assert max(one["largest"] for one in told) == sizes.max()
    mergers = [str(name) for name in names[sizes == sizes.max()]]
    assert sorted(itertools.chain(*(one["mergers"] for one in told))) == sorted(mergers)
    assert f"{(sizes > dust).sum()} segments" in stage.said(IO())
    assert mergers[0] in stage.said(IO())


def test_each_leaf_is_read_once(tmp_path: Path) -> None:
    layer, _ = made(tmp_path)
    stage, io = Relabel(supervoxels=layer, layer=f"{tmp_path}/new"), IO()
    stage.execute(stage.units(io)[0], io)
    tables = [one["url"] for one in io.ledger.reads if "/segments/" in one.get("url", "")]
    assert len(tables) == len(set(tables)) == 3 * 4 * 2


def test_a_supervoxel_without_a_segment_is_refused_by_its_place(tmp_path: Path) -> None:
    layer, _ = made(tmp_path)
    io = IO()
    known, what = Supervoxels(io, layer), "agglomerations/default/segments"
    table = known.read(what, (1, 1, 0))
    known.put(what, (1, 1, 0), {name: column[1:] for name, column in table.items()})
    stage = Relabel(supervoxels=layer, layer=f"{tmp_path}/new")
    voxels = whole(tmp_path / "sv")[..., 0]
    x, y, z = np.argwhere(np.isin(voxels.T, table["id"][:1]))[0][::-1] + LOW
    with pytest.raises(DataError, match=rf"{table['id'][0]} at \({x}, {y}, {z}\)"):
        stage.execute(stage.units(io)[0], io)


def test_nothing_is_written_before_the_segments_are_known(tmp_path: Path) -> None:
    layer, _ = made(tmp_path)
    (tmp_path / "sv/segment/done/default/segments.json").unlink()
    with pytest.raises(DataError, match="segment agglomerate"):
        run.inline(Relabel(supervoxels=layer, layer=f"{tmp_path}/new"))
    assert not (tmp_path / "new/info").exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dust": -1}, "dust"),
        ({"large": -1}, "large"),
        ({"cell": (0, 1, 1)}, "cell"),
        ({"layer": "/sv"}, "supervoxels"),
    ],
)
def test_wrong_requests(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Relabel(**{"supervoxels": "/sv", "layer": "/new", **fields})
