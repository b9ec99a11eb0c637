"""The stages of an agglomeration: what they refuse, what they leave, and what of it is made again."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import ledger, records, run
from igneous_ng.errors import DataError, IgneousError, SpecError
from igneous_ng.io import IO
from igneous_ng.redo import Redo, carried_out
from igneous_ng.segmentation import Supervoxels
from igneous_ng.stages.segment_agglomerate import Agglomerate, Decide, Merge, Spread
from igneous_ng.store import Store
from tests import segmentations, supervoxels
from tests.supervoxels import Made

STORE = Store()
LEAF = (4, 3, 5)
FIELDS: dict[str, Any] = {"thresholds": (0.7, 0.5), "guard_size": 9, "guard_threshold": 0.6}


def volume(seed: int = 0) -> np.ndarray:
    return segmentations.affinities((13, 7, 6), 16, seed)


def begun(folder: Path, aff: np.ndarray) -> Made:
    return supervoxels.make(f"file://{folder}", IO(), aff, LEAF)


def agglomerate(layer: str, **fields: Any) -> list[str]:
    """All stages; what they said."""
    said = []
    for stage in Agglomerate(layer=layer, **{**FIELDS, **fields}).steps(IO()):
        run.inline(stage)
        said.append(stage.said(IO()))
    return [words for words in said if words]


def tables(folder: Path) -> dict[str, bytes]:
    """Every object but records."""
    files = [
        p for p in folder.rglob("*") if p.is_file() and not {"runs", "provenance"} & {*p.relative_to(folder).parts}
    ]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_segments_are_those_of_the_whole_volume_and_figures_are_told(tmp_path: Path) -> None:
    made = begun(tmp_path, volume())
    said = agglomerate(made.layer)
    found, table = supervoxels.segments(made)
    rules = segmentations.Rules(0.5, guard_size=9, guard_threshold=0.6)
    assert np.array_equal(
        segmentations.canonical(found.astype(np.int64)),
        segmentations.agglomerate(segmentations.watershed(made.aff, 0, 1), made.aff, rules),
    )
    count, largest = len(np.unique(found[found > 0])), table["size"].max()
    assert "regions at threshold 0.7" in said[0]
    assert said[1].startswith(f"{count} segments at threshold 0.5, the largest of {largest} voxels; ")
    lines = [
        line["notes"]
        for one in ledger.runs(STORE, made.layer)
        if one.stage["stage"] == "segment merge" and one.stage["step"] == 1
        for line in records.all_lines(STORE, one)
    ]
    assert sum(line["closed"] for line in lines) == count
    assert f"{sum(line['refused'] for line in lines)} joins were refused" in said[1]
    assert min(line["weakest"] for line in lines) == table["weakest"].min()


def test_several_agglomerations_lie_beside_each_other(tmp_path: Path) -> None:
    made = begun(tmp_path, volume())
    agglomerate(made.layer)
    before = tables(tmp_path)
    agglomerate(made.layer, agglomeration="coarse", thresholds=(0.6, 0.3), guard_size=0, guard_threshold=0.0)
    after = tables(tmp_path)
    assert {name: after[name] for name in before} == before
    one, other = supervoxels.segments(made)[0], supervoxels.segments(made, "coarse")[0]
    assert len(np.unique(other)) < len(np.unique(one))


@pytest.mark.long
def test_the_same_request_again_changes_nothing_and_another_of_its_name_is_refused(tmp_path: Path) -> None:
    made = begun(tmp_path, volume())
    agglomerate(made.layer)
    before = tables(tmp_path)
    agglomerate(made.layer)
    assert tables(tmp_path) == before
    with pytest.raises(SpecError, match="begun otherwise .fan 2 there, 3 asked for"):
        agglomerate(made.layer, fan=3)
    assert tables(tmp_path) == before


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"agglomeration": "a/b"}, "is no name"),
        ({"agglomeration": ".."}, "is no name"),
        ({"agglomeration": ""}, "is no name"),
        ({"thresholds": ()}, "give falling ones"),
        ({"thresholds": (0.5, 0.5)}, "give falling ones"),
        ({"thresholds": (0.5, 0.0)}, "above 0"),
        ({"thresholds": (1.5,)}, "up to 1"),
        ({"fan": 1}, "at least 2"),
        ({"linkage": "median"}, "give mean, max, or quantile:0.5"),
        ({"linkage": "quantile:0"}, "give mean"),
        ({"linkage": "quantile:0.12345"}, "three decimals"),
        ({"linkage": "quantile:nan"}, "give mean"),
        ({"guard_size": 5, "guard_threshold": 0.0}, "give both"),
        ({"small_threshold": 0.2}, "give both"),
        ({"guard_size": -1}, "give both"),
        ({"thresholds": (0.7, 0.5), "guard_size": 5, "guard_threshold": 0.8}, "only the last can refuse"),
    ],
)
def test_what_cannot_be_asked_for(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Agglomerate(layer="file:///nowhere", **{**FIELDS, **fields})


def test_phases_wait_for_each_other(tmp_path: Path) -> None:
    made = begun(tmp_path, volume())
    layer = made.layer
    top = Supervoxels(IO(), layer).hierarchy(Agglomerate(layer=layer).plan()).top
    with pytest.raises(DataError, match="run `segment agglomerate` first"):
        run.inline(Merge(layer=layer))
    run.inline(Decide(layer=layer, **FIELDS))
    asked = [Merge(layer=layer, level=level) for level in range(top + 1)]
    asked += [Spread(layer=layer, level=level) for level in range(top - 1, -1, -1)]  # type: ignore[misc]
    for one, following in itertools.pairwise([*asked, Merge(layer=layer, step=1)]):
        with pytest.raises(DataError, match=f"`{one.name} .*--level {one.level}` has not finished"):
            following.prepare(IO())
        run.inline(one)
    with pytest.raises(SpecError, match=f"levels 0 to {top}"):
        run.plan(Merge(layer=layer, level=top + 1))
    with pytest.raises(SpecError, match=f"levels 0 to {top - 1}"):
        run.plan(Spread(layer=layer, level=top))
    with pytest.raises(SpecError, match="default has 2, one a threshold"):
        run.plan(Merge(layer=layer, step=2))


def test_what_the_graph_lacks_is_named(tmp_path: Path) -> None:
    made = begun(tmp_path, volume())
    for path in (tmp_path / "segment" / "graph").iterdir():
        at = tuple(map(int, path.name.split("-")))
        graph = made.known.read("graph", at)  # type: ignore[arg-type]
        made.known.put("graph", at, {name: graph[name] for name in graph if name != "bins"})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="segment graph` with --histogram"):
        agglomerate(made.layer, linkage="quantile:0.5")
    assert not (tmp_path / "segment" / "agglomerations").exists()
    agglomerate(made.layer)
    (tmp_path / "segment" / "done" / "graph.json").unlink()
    with pytest.raises(DataError, match="`segment graph .* has not finished"):
        agglomerate(made.layer, agglomeration="other")


def test_an_edge_to_nowhere_is_told_of(tmp_path: Path) -> None:
    made = begun(tmp_path, volume())
    graph = made.known.read("graph", (0, 0, 0))
    lost = {name: graph[name][1:] for name in ("id", "size", "reach", "parts", "weakest")}
    pieces = made.known.read("pieces", (0, 0, 0))
    made.known.put("graph", (0, 0, 0), {**graph, **lost})
    with pytest.raises(IgneousError, match="pieces and graph of leaf"):
        agglomerate(made.layer)
    made.known.put("pieces", (0, 0, 0), {name: pieces[name][1:] for name in pieces})
    with pytest.raises(IgneousError, match="a supervoxel that no leaf has"):
        agglomerate(made.layer)


def test_a_node_that_is_too_large_is_refused_with_advice(tmp_path: Path) -> None:
    made = begun(tmp_path, volume())
    run.inline(Decide(layer=made.layer, **FIELDS))
    before = tables(tmp_path)
    with pytest.raises(SpecError, match="more thresholds .* larger leaves"):
        run.inline(Merge(layer=made.layer, memory=1_000_000))
    assert tables(tmp_path) == before


def changed(made: Made) -> np.ndarray:
    """The affinities, with those between supervoxels in the first leaf taken away."""
    aff, ids = made.aff.copy(order="F"), made.ids
    for x, y, z, axis in itertools.product(*map(range, LEAF), range(3)):
        before = [x, y, z]
        before[axis] -= 1
        if before[axis] >= 0 and ids[x, y, z] != ids[tuple(before)]:
            aff[x, y, z, axis] = 0
    return aff


def ran(layer: str) -> dict[tuple[str, int, int], int]:
    """Units that a redo runs, by stage, step and level."""
    found = {}
    for wave, _ in carried_out(Redo(STORE, [layer]), lambda wave: run.inline(wave.stage, wave.subset)):
        stage: Any = wave.stage
        found[stage.name.split()[1], stage.step, stage.level] = len(wave.subset)
    return found


@pytest.mark.long
def test_a_redo_makes_again_the_ancestors_of_what_changed_and_who_hears_of_it(tmp_path: Path) -> None:
    made = begun(tmp_path / "old", volume())
    fresh = supervoxels.make(f"file://{tmp_path}/fresh", IO(), changed(made), LEAF, joined=made.joined)
    agglomerate(fresh.layer)
    agglomerate(made.layer)
    before = tables(tmp_path / "old")
    assert ran(made.layer) == {}
    assert tables(tmp_path / "old") == before
    differing = {name for name, data in before.items() if (tmp_path / "fresh" / name).read_bytes() != data}
    given = {name for name in differing if name.split("/")[1] in ("graph", "pieces")}
    assert {name.rsplit("/", 1)[1] for name in given} == {"0-0-0"}
    for name in given:
        shutil.copy(tmp_path / "fresh" / name, tmp_path / "old" / name)
    units = ran(made.layer)
    tree = made.known.hierarchy(Agglomerate(layer=made.layer, **FIELDS).plan())
    assert all(units["merge", 0, level] == 1 for level in range(tree.top + 1))
    assert units["spread", 1, 0] < len(made.leaves)
    after = tables(tmp_path / "old")
    assert after == tables(tmp_path / "fresh")
    assert {name for name in before if before[name] != after[name]} == differing
    assert json.loads(after["segment/agglomerations/default/plan.json"])["thresholds"] == [0.7, 0.5]
