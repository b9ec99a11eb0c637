"""Measures, decisions and renamed layers are those of the whole volume, by numpy and scipy; any cells, any order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.native.measures import measure
from igneous_ng.native.translate import translate
from igneous_ng.renaming import Renaming
from igneous_ng.stages.segment_filter import Filter, Measure, Tally
from igneous_ng.stages.segment_remap import Apply, Remap, Table
from tests.layers import create, files, notes, whole

LOW = (-7, 100, 3)
NONE = 2**64 - 1


def lumps(seed: int = 0, dtype: str = "uint32") -> np.ndarray:
    """Labels in lumps: some wide apart, some inside others, some background."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 30, (6, 5, 4)).repeat(4, 0).repeat(4, 1).repeat(4, 2)[:23, :19, :13]
    for _ in range(12):
        x, y, z = (rng.integers(0, n - 2) for n in labels.shape)
        labels[x : x + 2, y : y + 2, z : z + 1] = rng.integers(30, 60)
    labels[5:9, 5:9, 5:9], labels[6:8, 6:8, 6:8] = 70, 71
    return (labels * (3 if dtype == "uint8" else 1000)).astype(dtype)


def by_hand(labels: np.ndarray) -> dict[int, tuple[int, int, int, int]]:
    """Voxels, faces, least and greatest neighbour of each label."""
    found = {}
    padded = np.pad(labels.astype(np.int64), 1, constant_values=-1)
    for label in np.unique(labels).tolist():
        own = padded == label
        grown = [np.roll(own, step, axis) for axis in range(3) for step in (-1, 1)]
        beside = {v for one in grown for v in np.unique(padded[one & ~own]).tolist()} - {-1}
        ends = [np.take(labels, place, axis) for axis in range(3) for place in (0, -1)]
        faces = sum(int((end == label).any()) << bit for bit, end in enumerate(ends))
        found[label] = int(own.sum()), faces, min(beside, default=NONE), max(beside, default=0)
    return found


def stored(path: Path, labels: np.ndarray) -> str:
    return f"file://{create(path, labels[..., None], LOW, kind='segmentation')}"


def chain(stage: Any) -> None:
    for step in stage.steps(IO()):
        run.inline(step)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_a_box_is_measured(dtype: str) -> None:
    labels = lumps(1, dtype)
    rows = {row[0]: tuple(row[1:]) for row in measure(labels, 0, 0, 0, 63).tolist()}
    assert rows == by_hand(labels)


@pytest.mark.parametrize("cell", [(64, 64, 64), (8, 8, 8), (5, 7, 4), pytest.param((3, 2, 5), marks=pytest.mark.long)])
def test_measures_are_those_of_the_whole(tmp_path: Path, cell: Vec3) -> None:
    labels = lumps()
    layer = stored(tmp_path / "seg", labels)
    chain(Measure(layer=layer, cell=cell))
    census = Filter(layer=layer)._census(IO())
    rows = np.concatenate([census.part(part) for part in range(census.parts)])
    assert {row[0]: tuple(row[1:]) for row in rows.tolist()} == by_hand(labels)


def decided(labels: np.ndarray, fields: dict[str, Any]) -> np.ndarray:
    """The labels that `segment filter` should leave, label by label."""
    measures, became = by_hand(labels), {0: 0}

    def dropped(label: int) -> bool:
        voxels, faces, _, _ = measures[label]
        by_border = {"any": False, "drop": faces > 0, "only": faces == 0}[fields.get("border", "any")]
        large = fields.get("drop_large", False) and voxels > fields["max_size"]
        return voxels < fields.get("min_size", 0) or by_border or large

    for label, (voxels, faces, low, high) in measures.items():
        host = low if voxels <= fields.get("holes", 0) and not faces and low == high and low else label
        became[label] = 0 if not label or (host and dropped(host)) else host
    return np.array([became[label] for label in labels.ravel().tolist()]).reshape(labels.shape)


FILTERS: list[dict[str, Any]] = [
    {"min_size": 50},
    {"holes": 8},
    {"holes": 64, "min_size": 100},
    {"border": "drop", "holes": 8},
    {"border": "only"},
    {"max_size": 200},
    {"max_size": 200, "drop_large": True, "border": "only"},
]


@pytest.mark.parametrize("fields", FILTERS)
def test_what_stays_is_as_decided_label_by_label(tmp_path: Path, fields: dict[str, Any]) -> None:
    labels = lumps(2)
    layer = stored(tmp_path / "seg", labels)
    chain(Measure(layer=layer, cell=(8, 8, 8)))
    judge = Filter(layer=layer, **fields)
    run.inline(judge)
    chain(Remap(source=layer, layer=f"{tmp_path}/new", table=f"{layer}/filters/default", cell=(8, 4, 8)))
    expected = decided(labels, fields)
    assert np.array_equal(whole(tmp_path / "new")[..., 0], expected)
    assert "max_size" in fields or (expected != labels).any()
    mergers = [k for k, v in by_hand(labels).items() if k and v[0] > fields.get("max_size", NONE)]
    told = notes(tmp_path / "seg")
    assert sorted(int(name) for one in told for name in one["mergers"]) == mergers
    assert ("likely mergers" in judge.said(IO())) == ("max_size" in fields)


def test_a_hole_in_an_object_that_is_dropped_goes_with_it(tmp_path: Path) -> None:
    labels = np.full((9, 9, 9), 5, np.uint32)
    labels[4, 4, 4] = 9
    layer = stored(tmp_path / "seg", labels)
    chain(Measure(layer=layer, cell=(4, 4, 4)))
    run.inline(Filter(layer=layer, border="drop", holes=1))
    chain(Remap(source=layer, layer=f"{tmp_path}/new", table=f"{layer}/filters/default"))
    assert not whole(tmp_path / "new").any()


def test_units_again_and_in_any_order_leave_the_same_bytes(tmp_path: Path) -> None:
    layer = stored(tmp_path / "seg", lumps(3))
    measures, judge = Measure(layer=layer, cell=(8, 8, 8)).steps(IO()), Filter(layer=layer, min_size=40, holes=9)
    apply = Apply(source=layer, layer=f"{tmp_path}/new", table=f"{layer}/filters/default", cell=(8, 8, 8))
    stages = [*measures, judge, apply]
    for stage in stages:
        run.inline(stage)
    before = files(tmp_path)
    for stage in stages:
        io = IO()
        for unit in reversed(stage.units(io)):
            stage.execute(unit, io)
    assert files(tmp_path) == before


tables = st.dictionaries(st.integers(0, 70), st.integers(0, 2**64 - 1), max_size=40)


@settings(max_examples=60, deadline=None)
@given(table=tables, seed=st.integers(0, 9), keep=st.booleans(), dtype=st.sampled_from(["uint8", "uint32", "uint64"]))
def test_labels_through_a_table(table: dict[int, int], seed: int, keep: bool, dtype: str) -> None:
    labels = np.random.default_rng(seed).integers(0, 70, (7, 5, 3)).repeat(2, 0).astype(dtype)
    old = np.array(sorted(table), np.uint64)
    new = np.array([table[int(label)] for label in old], np.uint64)
    out = np.empty(labels.shape, np.uint64, order="F")
    at = translate(labels, old, new, out, keep)
    expected = [table.get(v, v if keep else 0) for v in labels.ravel(order="F").tolist()]
    assert out.ravel(order="F").tolist() == expected
    absent = [i for i, v in enumerate(labels.ravel(order="F").tolist()) if v and v not in table]
    assert at == (absent[0] if absent else -1)


def test_a_label_too_wide_for_the_layer_is_an_error() -> None:
    one = np.ones((1, 1, 1), np.uint8)
    with pytest.raises(ValueError, match="label 256 does not fit"):
        translate(one, np.array([1], np.uint64), np.array([256], np.uint64), one.copy(), True)


@pytest.mark.parametrize("form", ["json", "csv", "npz", "npy"])
@pytest.mark.parametrize("clear", [False, True])
def test_tables_of_files(tmp_path: Path, form: str, clear: bool) -> None:
    labels = lumps(4, "uint8")
    table = {3: 6, 6: 9, 9: 0, 12: 70_000, 250: 1}
    pairs = np.array(list(table.items()), np.uint64)
    path = tmp_path / f"table.{form}"
    if form == "json":
        path.write_text(json.dumps(table))
    elif form == "csv":
        path.write_text("old,new\n" + "".join(f"{a},{b}\n" for a, b in table.items()))
    elif form == "npz":
        np.savez_compressed(path, old=pairs[:, 0], new=pairs[:, 1])
    else:
        np.save(path, pairs)
    layer = stored(tmp_path / "seg", labels)
    chain(Remap(source=layer, layer=f"{tmp_path}/new", table=str(path), clear=clear, cell=(8, 8, 8)))
    found = whole(tmp_path / "new")[..., 0]
    assert found.dtype == np.uint32
    assert IO().info(f"file://{tmp_path}/new").kind == "segmentation"
    assert np.array_equal(found, np.vectorize(lambda v: table.get(v, 0 if clear else v), otypes=[np.uint32])(labels))


def test_a_wide_table_is_read_in_parts(tmp_path: Path) -> None:
    old = np.arange(1, 400_001, dtype=np.uint64)
    np.savez(tmp_path / "table.npz", old=old, new=old * 2**30)
    layer = stored(tmp_path / "seg", np.full((4, 4, 4), 77, np.uint32))
    run.inline(Table(table=f"{tmp_path}/table.npz", layer=f"{tmp_path}/new"))
    parts = Renaming(IO(), f"file://{tmp_path}/new/remap").facts.parts
    stage, io = Apply(source=layer, layer=f"{tmp_path}/new", table=f"{tmp_path}/new/remap"), IO()
    stage.prepare(io)
    stage.execute(stage.units(io)[0], io)
    read = {one["url"] for one in io.ledger.reads if "/part-" in one.get("url", "")}
    assert parts >= 4
    assert len(read) == 1
    assert (whole(tmp_path / "new") == 77 * 2**30).all()


def test_signed_labels_become_unsigned(tmp_path: Path) -> None:
    labels = lumps(5).astype(np.int32)
    (tmp_path / "table.json").write_text('{"3000": 1}')
    create(tmp_path / "seg", labels[..., None], LOW)
    fields: dict[str, Any] = {"source": f"{tmp_path}/seg", "table": f"{tmp_path}/table.json"}
    chain(Remap(layer=f"{tmp_path}/new", **fields))
    found = whole(tmp_path / "new")[..., 0]
    assert found.dtype == np.uint32
    assert (found == np.where(labels == 3000, 1, labels)).all()
    labels[1, 2, 3] = -1
    create(tmp_path / "worse", labels[..., None], LOW)
    with pytest.raises(DataError, match="below 0"):
        chain(Remap(layer=f"{tmp_path}/newer", **{**fields, "source": f"{tmp_path}/worse"}))


def test_wrong_requests(tmp_path: Path) -> None:
    layer = stored(tmp_path / "seg", lumps())
    with pytest.raises(DataError, match="segment measure"):
        run.inline(Filter(layer=layer, min_size=3))
    with pytest.raises(DataError, match="segment filter"):
        run.inline(Apply(source=layer, layer=f"{tmp_path}/new", table=f"{tmp_path}/none"))
    with pytest.raises(DataError, match="missing"):
        run.inline(Table(table=f"{tmp_path}/none.csv", layer=f"{tmp_path}/new"))
    with pytest.raises(DataError, match="missing"):
        run.inline(Tally(layer=layer, level=1))
    run.inline(Tally(layer=layer, cell=(8, 8, 8)))
    with pytest.raises(SpecError, match="made otherwise"):
        run.inline(Tally(layer=layer))
    for fields in ({"min_size": -1}, {"dir": "a/b"}, {"drop_large": True}):
        with pytest.raises(SpecError, match=next(iter(fields))):
            Filter(layer=layer, **fields)
    assert not (tmp_path / "new" / "info").exists()
