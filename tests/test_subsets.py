"""Some units of a stage: which they are, and that a run of them redoes these and nothing else."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng import records, run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.fragments import bucket_of
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.store import Store, kept_at
from igneous_ng.subsets import Picked, Subset
from tests.test_forging import make_layer

STORE = Store()
units = st.dictionaries(st.integers(0, 60), st.tuples(st.sampled_from("ab"), st.integers(0, 80)), max_size=30)


@given(units)
def test_a_subset_is_a_map_from_units_to_their_records(chosen: dict[int, tuple[str, int]]) -> None:
    subset = Subset.of_units(61, chosen.items())
    assert Subset.parse(subset.to_json(), "x") == subset
    places = range(len(subset))
    assert {subset.unit(place): subset.former(place) for place in places} == chosen
    assert list(Picked(range(100, 161), subset)) == [100 + unit for unit in sorted(chosen)]
    with pytest.raises(IndexError):
        subset.unit(len(subset))


def test_why_is_part_of_what_a_subset_is() -> None:
    some, why = Subset.of_units(3, [(1, ("a", 1))]), Subset.of_units(3, [(1, ("a", 1))], "repair")
    assert some.name != why.name
    assert Subset.parse(why.to_json(), "x").why == "repair"


def test_neighbours_are_one_span() -> None:
    subset = Subset.of_units(9, [(4, ("a", 4)), (3, ("a", 3)), (5, ("b", 0)), (6, ("b", 1)), (8, ("b", 3))])
    assert subset.spans == ((3, 5, "a", 3), (5, 7, "b", 0), (8, 9, "b", 3))


def test_what_is_no_subset_is_refused() -> None:
    for raw in (None, {}, {"of": 3, "spans": [[1]]}):
        with pytest.raises(DataError, match=r"^x: not a list of units"):
            Subset.parse(raw, "x")


def meshes(folder: Path) -> dict[str, bytes]:
    """The files of meshes in a folder."""
    return {p.name: p.read_bytes() for p in (folder / "mesh").iterdir() if p.name[0].isdigit()}


def label_of(name: str) -> int:
    return int(re.split("[.:]", name)[0])


def test_a_run_of_some_units_writes_those_and_no_others(tmp_path: Path) -> None:
    labels = np.zeros((64, 32, 32), np.uint32)
    for label in range(1, 40):
        x, y = 3 * (label % 20) + 2, 8 * (label // 20) + 3
        labels[x : x + 2, y : y + 4, 5:20] = label
    layer = make_layer(tmp_path, labels)
    run.inline(MeshForge(layer=layer, cell=(32, 32, 32), buckets=4))
    first = run.inline(MeshMerge(layer=layer))
    folder = Path(layer.removeprefix("file://"))
    before = meshes(folder)
    for name in before:
        os.utime(folder / "mesh" / name, (0, 0))
    again = run.inline(MeshMerge(layer=layer), Subset.of_units(4, [(1, (first.id, 1)), (3, (first.id, 3))]))
    assert meshes(folder) == before
    touched = {label_of(name) for name in before if (folder / "mesh" / name).stat().st_mtime}
    homes = bucket_of(np.arange(1, 40), 4).tolist()
    assert touched == {label for label, home in zip(range(1, 40), homes, strict=True) if home in (1, 3)}
    assert [line["unit"] for line in records.all_lines(STORE, again)] == [0, 1]
    assert records.finished(STORE, again)


def test_a_label_that_vanished_loses_its_files_and_others_keep_theirs(tmp_path: Path) -> None:
    labels = np.zeros((32, 32, 32), np.uint32)
    labels[3:9, 3:9, 3:9], labels[20:26, 3:9, 3:9] = 5, 6
    layer = make_layer(tmp_path, labels)
    forged = run.inline(MeshForge(layer=layer, cell=(32, 32, 32), buckets=1))
    merged = run.inline(MeshMerge(layer=layer))
    folder = Path(layer.removeprefix("file://"))
    before = meshes(folder)
    assert {label_of(name) for name in before} == {5, 6}
    labels[labels == 5] = 0
    make_layer(tmp_path, labels)
    run.inline(MeshForge(layer=layer, cell=(32, 32, 32), buckets=1), Subset.of_units(1, [(0, (forged.id, 0))]))
    again = run.inline(MeshMerge(layer=layer), Subset.of_units(1, [(0, (merged.id, 0))]))
    assert meshes(folder) == {name: data for name, data in before.items() if label_of(name) == 6}
    (line,) = records.all_lines(STORE, again)
    gone = [entry["url"] for entry in line["writes"] if "deleted" in entry]
    assert [label_of(url.rpartition("/")[2]) for url in gone] == [5, 5]
    assert all(STORE.exists(kept_at(f"{again.folder}/replaced", url)) for url in gone)


def test_a_run_of_no_units_prepares_and_publishes(tmp_path: Path) -> None:
    labels = np.zeros((32, 32, 32), np.uint32)
    labels[3:9, 3:9, 3:9] = 5
    layer = make_layer(tmp_path, labels)
    run.inline(MeshForge(layer=layer, cell=(32, 32, 32), buckets=1))
    run.inline(MeshMerge(layer=layer))
    place = tmp_path / "seg" / "mesh" / "info"
    before = place.read_bytes()
    place.unlink()
    made = run.inline(MeshMerge(layer=layer), Subset(1, ()))
    assert place.read_bytes() == before
    assert (made.units, records.finished(STORE, made), list(records.all_lines(STORE, made))) == (0, True, [])
    assert "file" in records.frame(STORE, made)["finished"]["writes"][0]["url"]


def test_units_of_a_layer_that_changed_are_refused(tmp_path: Path) -> None:
    layer = make_layer(tmp_path, np.ones((32, 32, 32), np.uint32))
    with pytest.raises(SpecError, match="it had 9 units and now there are 1"):
        run.inline(MeshForge(layer=layer, cell=(32, 32, 32)), Subset.of_units(9, [(0, ("x", 0))]))
