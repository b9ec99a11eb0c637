"""How things came to be, on records made by hand and on those of true runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import history, records, run, tracing
from igneous_ng.cli import main
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.records import Message, Run
from igneous_ng.stages.ccl import Auto
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_delete import Delete
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.stages.records_compact import RecordsCompact
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from igneous_ng.store import Store
from igneous_ng.tracing import Source, Trace

STORE = Store()


class History:
    """Runs made by hand, in the order of their numbers; a unit is its reads, its writes and its covers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def layer(self, name: str) -> str:
        return f"file://{self.folder}/{name}"

    def run(self, number: int, layer: str, *units: dict[str, Any], stage: str = "", **frame: Any) -> str:
        ident = f"20260101T{number:06d}.000000-abcdef01"
        raw = {"stage": stage or f"stage {number}", "version": 1, "layer": self.layer(layer)}
        made = Run(ident, self.layer(layer), raw, len(units) or 1, 10)
        about = {"by": "me@here", "planned": 1.7e9, "code": {"version": "1.2"}, "inputs": frame.pop("inputs", []),
                 "makes_data": frame.pop("makes_data", True)}  # fmt: skip
        records.save(STORE, made, about)
        lines = {unit: {"unit": unit, "start": 1.7e9 + unit, "seconds": 1.0, "host": f"node{unit % 2}", "what": unit,
                        "notes": {"n": unit}, "reads": [], "writes": [], "covers": [], **found}
                 for unit, found in enumerate(units)}  # fmt: skip
        if lines:
            records.write(STORE, Message(made, 0, len(units)), lines)
        if "prepared" in frame:
            records.save_prepared(STORE, made, frame["prepared"])
        records.mark_finished(STORE, made, frame.get("finished"))
        return made.folder

    def wrote(self, layer: str, *names: str, **more: Any) -> list[dict[str, Any]]:
        return [{"url": f"{self.layer(layer)}/{name}", "bytes": 3, "digest": "d" * 32, **more} for name in names]

    def read(self, layer: str, *names: str, **more: Any) -> list[dict[str, Any]]:
        return [{"url": f"{self.layer(layer)}/{name}", "digest": "d" * 32, **more} for name in names]

    def box(self, layer: str, box: str, mip: int = 0) -> dict[str, Any]:
        return {"layer": self.layer(layer), "mip": mip, "box": box, "digest": "e" * 32}

    def trace(self, layer: str, *names: str) -> Trace:
        return tracing.of_objects(STORE, "it", [f"{self.layer(layer)}/{name}" for name in names])

    def voxel(self, layer: str, x: int, y: int, z: int, mip: int = 0) -> Trace:
        return tracing.of_voxel(STORE, self.layer(layer), mip, (x, y, z))


@pytest.fixture
def past(tmp_path: Path) -> History:
    return History(tmp_path)


def steps(found: Trace) -> list[str]:
    """The numbers of the runs, and how many of their units mattered."""
    return [f"{int(step.origin.id[9:15])}x{step.used}{''.join(step.frame)}" for step in found.steps]


# Who made it.


def test_the_newest_run_that_wrote_it_made_it(past: History) -> None:
    past.run(1, "a", {"writes": past.wrote("a", "x")})
    past.run(2, "a", {"writes": past.wrote("a", "y")}, {"writes": past.wrote("a", "x", "z", replaced=True)})
    past.run(3, "a", {"writes": past.wrote("a", "z")})
    found = past.trace("a", "x")
    assert steps(found) == ["2x1"]
    assert found.steps[0].example["unit"] == 1
    assert found.steps[0].made == past.wrote("a", "x", replaced=True)
    assert (found.inputs, found.lost, found.removed, found.rough) == ([], [], "", False)
    assert steps(past.trace("a", "z")) == ["3x1"]
    assert steps(past.trace("a", "x", "y", "z")) == ["3x1", "2x2"]


def test_what_was_rolled_back_or_makes_no_data_did_not_make_it(past: History) -> None:
    past.run(1, "a", {"writes": past.wrote("a", "x")})
    undone = past.run(2, "a", {"writes": past.wrote("a", "x")})
    past.run(3, "a", {"writes": past.wrote("a", "x")}, makes_data=False)
    assert steps(past.trace("a", "x")) == ["2x1"]
    records.set_mark(STORE, records.load(STORE, undone), "rolledback")
    assert steps(past.trace("a", "x")) == ["1x1"]


def test_what_was_there_already_was_made_by_who_wrote_it(past: History) -> None:
    past.run(1, "a", {"writes": past.wrote("a", "x"), "reads": past.read("a", "w")}, {"writes": past.wrote("a", "w")})
    past.run(2, "a", {"writes": past.wrote("a", "x", kept=True)})
    past.run(3, "a", prepared={"writes": past.wrote("a", "v", kept=True), "reads": past.read("a", "x")})
    assert steps(past.trace("a", "x")) == ["1x1"]
    assert past.trace("a", "x").lost == [f"{past.layer('a')}/w"], "who reads what the same run wrote reads an older one"
    found = past.trace("a", "v")
    assert steps(found) == ["3x0prepared", "1x1"], "nobody else says that he wrote it"
    assert found.steps[0].made == [{"url": f"{past.layer('a')}/v", "kept": True}]


def test_what_was_removed_says_by_whom_and_who_had_made_it(past: History) -> None:
    past.run(1, "a", {"writes": past.wrote("a", "x")})
    gone = past.run(2, "a", {"writes": [{"url": f"{past.layer('a')}/x", "deleted": True}]})
    assert (steps(past.trace("a", "x")), past.trace("a", "x").removed) == (["1x1"], gone)
    past.run(3, "a", {"writes": past.wrote("a", "x")})
    assert (steps(past.trace("a", "x")), past.trace("a", "x").removed) == (["3x1"], "")


def test_publishing_comes_last_and_preparing_first(past: History) -> None:
    past.run(
        1, "a", {"writes": past.wrote("a", "x"), "reads": past.read("a", "plan")},
        prepared={"writes": past.wrote("a", "plan", "x"), "reads": past.read("a", "old")},
        finished={"writes": past.wrote("a", "info"), "reads": past.read("a", "x")},
    )  # fmt: skip
    assert steps(past.trace("a", "info")) == ["1x1finishedprepared"]
    assert steps(past.trace("a", "x")) == ["1x1prepared"]
    assert steps(past.trace("a", "plan")) == ["1x0prepared"]
    assert past.trace("a", "info").lost == [f"{past.layer('a')}/old"]
    assert past.trace("a", "info").steps[0].sources == {}, "a run is no source of its own"


# Voxels.


def test_the_newest_cover_of_a_voxel(past: History) -> None:
    cells = [{"covers": [past.box("a", f"{x}:{x + 10},0:10,0:10")]} for x in (-10, 0, 10)]
    past.run(1, "a", *cells, {"covers": [past.box("a", "0:9,0:9,0:9", mip=1)]})
    past.run(2, "a", {"covers": [past.box("a", "0:5,0:10,0:10")]})
    assert steps(past.voxel("a", 4, 9, 9)) == ["2x1"]
    assert steps(past.voxel("a", 5, 9, 9)) == ["1x1"]
    assert past.voxel("a", 5, 9, 9).steps[0].example["unit"] == 1
    assert past.voxel("a", -10, 0, 0).steps[0].made == [past.box("a", "-10:0,0:10,0:10")]
    assert steps(past.voxel("a", 8, 8, 8, mip=1)) == ["1x1"]
    assert steps(past.voxel("a", 9, 8, 8, mip=1)) == []
    assert steps(past.voxel("a", 5, 10, 9)) == []


def test_a_box_that_several_runs_wrote_came_from_all_of_them(past: History) -> None:
    past.run(1, "a", *({"covers": [past.box("a", f"{x}:{x + 10},0:10,0:10")]} for x in range(0, 40, 10)))
    past.run(2, "a", {"covers": [past.box("a", "10:20,0:10,0:10")]})
    past.run(3, "b", {"covers": [past.box("b", "0:1,0:1,0:1")], "reads": [past.box("a", "5:25,0:10,0:10")]})
    past.run(4, "a", {"covers": [past.box("a", "0:40,0:10,0:10")]})
    found = past.voxel("b", 0, 0, 0)
    assert steps(found) == ["3x1", "2x1", "1x2"], "what came later was not read, and what was written over neither"
    assert [(source.cells, source.objects) for source in found.steps[0].sources.values()] == [(1, 0), (2, 0)]


def test_a_stage_in_place_read_what_was_there_before(past: History) -> None:
    past.run(1, "a", {"covers": [past.box("a", "0:10,0:10,0:10")]}, {"covers": [past.box("a", "10:20,0:10,0:10")]})
    past.run(2, "a", *({"covers": [past.box("a", box)], "reads": [past.box("a", "0:20,0:10,0:10")]}
                       for box in ("0:10,0:10,0:10", "10:20,0:10,0:10")))  # fmt: skip
    assert steps(past.voxel("a", 0, 0, 0)) == ["2x1", "1x2"]


# From what.


def test_down_to_what_nobody_made(past: History) -> None:
    source = {"url": "file:///data/em.tif", "kind": "file", "bytes": 7, "digest": "f" * 32}
    slices = {"url": "file:///data/slices/*.png", "kind": "files", "objects": 2}
    first = past.run(1, "em", *({"covers": [past.box("em", f"{x}:{x + 10},0:10,0:10")],
                                 "reads": [{"url": "file:///data/em.tif", "box": "0:1,0:1,0:1", "digest": "0" * 32}]}
                                for x in range(0, 40, 10)), inputs=[source])  # fmt: skip
    second = past.run(2, "seg", {"covers": [past.box("seg", "0:20,0:10,0:10")],
                                 "reads": [past.box("em", "0:21,0:10,0:10"), past.box("far", "0:1,0:1,0:1"),
                                           *past.read("seg", "none", digest="missing"),
                                           {"url": "file:///data/slices/1.png", "box": "0:1,0:1,0:1"},
                                           {"list": past.layer("seg"), "digest": "0" * 32}]},
                      inputs=[slices, {"url": past.layer("far"), "kind": "layer", "info": "1" * 32}])  # fmt: skip
    past.run(3, "seg", *({"writes": past.wrote("seg", f"mesh/fragments/{n}"),
                          "reads": [past.box("seg", "0:20,0:10,0:10")]} for n in range(5)))  # fmt: skip
    past.run(4, "seg", {"writes": past.wrote("seg", "mesh/1:0"), "reads": past.read(
        "seg", *(f"mesh/fragments/{n}" for n in range(5)), part=3)})  # fmt: skip
    found = past.trace("seg", "mesh/1:0")
    assert steps(found) == ["4x1", "3x5", "2x1", "1x3"]
    assert list(found.steps[0].sources.values()) == [Source(5, 0, f"{past.layer('seg')}/mesh/fragments/4")]
    assert list(found.steps[1].sources) == [second]
    assert found.steps[3].hosts == {"node0": 2, "node1": 1}
    assert (found.steps[3].first, found.steps[3].last) == (1.7e9, 1.7e9 + 3)
    assert [(one.url, one.version, one.read_by) for one in found.inputs] == [
        ("file:///data/em.tif", source, [first]),
        ("file:///data/slices/*.png", slices, [second]),
        (past.layer("far"), {"url": past.layer("far"), "kind": "layer", "info": "1" * 32}, [second]),
    ]
    assert found.steps[3].inputs == {"file:///data/em.tif": 3}
    assert found.lost == []


def test_two_ways_to_one_run_meet_in_it(past: History) -> None:
    past.run(1, "a", *({"writes": past.wrote("a", name)} for name in "uvw"))
    past.run(2, "a", {"writes": past.wrote("a", "left"), "reads": past.read("a", "u", "v")})
    past.run(3, "a", {"writes": past.wrote("a", "right"), "reads": past.read("a", "v", "w")})
    past.run(4, "a", {"writes": past.wrote("a", "x"), "reads": past.read("a", "left", "right", "v")})
    found = past.trace("a", "x")
    assert steps(found) == ["4x1", "3x1", "2x1", "1x3"]
    assert [{key[-22:-16]: s.objects for key, s in step.sources.items()} for step in found.steps] == [
        {"000003": 1, "000002": 1, "000001": 1}, {"000001": 2}, {"000001": 2}, {}
    ]  # fmt: skip


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose lines are gone through from now on."""
    scanned, scan = list[str](), records.all_lines

    def watching(store: Store, run: Run, **more: Any) -> Any:
        scanned.append(run.id)
        return scan(store, run, **more)

    monkeypatch.setattr(records, "all_lines", watching)
    return scanned


def test_each_run_is_gone_through_once(past: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many units read from it."""
    for number in range(1, 6):
        past.run(number, "a", *({"writes": past.wrote("a", f"{number}-{n}"),
                                 "reads": past.read("a", *(f"{number - 1}-{m}" for m in range(9)))}
                                for n in range(9)))  # fmt: skip
    scanned = watched(monkeypatch)
    found = past.trace("a", "5-3")
    assert steps(found) == ["5x1", "4x9", "3x9", "2x9", "1x9"]
    assert len(scanned) == 5


def test_runs_that_cannot_matter_are_not_gone_through(past: History, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 4):
        past.run(number, "a", {"writes": past.wrote("a", f"{number}")})
    scanned = watched(monkeypatch)
    past.trace("a", "3")
    assert len(scanned) == 1


def test_a_layer_in_the_folder_of_a_layer_is_its_own(past: History) -> None:
    past.run(1, "a", {"writes": past.wrote("a", "inner/x")})
    past.run(2, "a/inner", {"writes": past.wrote("a/inner", "x")})
    assert steps(past.trace("a/inner", "x")) == ["2x1"]


# True runs.


@pytest.fixture(scope="module")
def true(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("true")
    labels = np.zeros((64, 64, 32), np.uint32)
    labels[2:60, 2:28, 2:28], labels[2:60, 34:62, 2:28] = 1, 2
    np.save(folder / "labels.npy", labels)
    seg, cc, cell = str(folder / "seg"), str(folder / "cc"), (32, 32, 32)
    run.inline(Create(source=f"{folder}/labels.npy", layer=seg, kind="segmentation", axes="xyz",
                      resolution=(8, 8, 8), chunk=(16, 16, 16), cell=cell))  # fmt: skip
    run.inline(Downsample(layer=seg, num_mips=1))
    for stage in Auto(source=seg, layer=cc, cell=cell).steps(IO()):
        run.inline(stage)
    for other in (MeshForge(layer=cc, cell=cell), MeshMerge(layer=cc), SkeletonForge(layer=cc, cell=cell),
                  SkeletonMerge(layer=cc, sharded=True)):  # fmt: skip
        run.inline(other)
    return folder


def stages(found: Trace) -> list[str]:
    return [step.origin.stage for step in found.steps]


CCL = ["ccl relabel", "ccl rank", "ccl rank", "ccl join", "ccl label", "image create"]


def test_a_mesh_came_from_labels_and_these_from_a_file(true: Path) -> None:
    found = tracing.of_objects(STORE, "mesh", [f"file://{true}/cc/mesh/1:0"])
    assert stages(found) == ["mesh merge", "mesh forge", *CCL]
    assert [one.url for one in found.inputs] == [f"file://{true}/labels.npy"]
    assert found.inputs[0].version["bytes"] == (true / "labels.npy").stat().st_size
    assert found.lost == []
    assert found.steps[1].used == 4
    chosen = found.steps[-1].origin.chosen
    assert (chosen["chunk"], chosen["kind"]) == ([16, 16, 16], "segmentation")
    assert "memory" not in chosen
    assert all(step.environments for step in found.steps)


def test_voxels_of_each_level(true: Path) -> None:
    fine = tracing.of_voxel(STORE, f"file://{true}/seg", 0, (40, 40, 5))
    assert (stages(fine), fine.steps[0].used) == (["image create"], 1)
    assert fine.steps[0].made[1]["url"].endswith("8_8_8/32-48_32-48_0-16")
    box = Box.parse(fine.steps[0].made[0]["box"])
    assert Box((40, 40, 5), (41, 41, 6)) in box
    coarse = tracing.of_voxel(STORE, f"file://{true}/seg", 1, (3, 3, 3))
    assert stages(coarse) == ["image downsample", "image create"]
    assert stages(tracing.of_voxel(STORE, f"file://{true}/cc", 0, (3, 3, 3))) == CCL


def test_the_objects_of_a_label(true: Path) -> None:
    found = tracing.of_label(STORE, f"file://{true}/cc", 2)
    assert stages(found) == ["skeleton merge", "skeleton forge", "mesh merge", "mesh forge", *CCL]
    assert [entry["url"].rpartition(".")[2] for entry in found.steps[0].made] == ["shard"]
    assert {entry["url"].partition("/mesh/")[2] for entry in found.steps[2].made} == {"2:0", "2.mesh"}
    with pytest.raises(SpecError, match="names no folder of meshes or skeletons"):
        tracing.of_label(STORE, f"file://{true}/seg", 2)


def test_what_was_compacted_is_traced_alike(true: Path) -> None:
    def seen() -> list[Any]:
        urls = [f"file://{true}/cc/{name}" for name in ("mesh/1:0", "info", "8_8_8/0-16_0-16_0-16")]
        return [dataclasses.asdict(tracing.of_objects(STORE, url, [url])) for url in urls]

    before = seen()
    for layer in ("seg", "cc"):
        run.inline(RecordsCompact(layer=str(true / layer)))
    assert seen() == before


def test_the_command_says_it_in_words(true: Path) -> None:
    shown = CliRunner().invoke(main, ["trace", f"{true}/cc/mesh/1:0"])
    assert shown.exit_code == 0, shown.output
    words = ["mesh/1:0, ", "by       unit ", "from     mesh forge ", "options  cell [32, 32, 32]", "4 of 4 units, such",
             f"made by no run that is recorded\n  file://{true}/labels.npy: bytes 524,416"]  # fmt: skip
    assert [word for word in words if word not in shown.output] == []
    assert shown.output.count("igneous_ng 0.") == 1, "what is the same everywhere is said once"
    voxel = CliRunner().invoke(main, ["trace", f"{true}/seg", "--at", "3,3,3", "--mip", "1", "--json"])
    assert [step["origin"]["stage"] for step in json.loads(voxel.output)["steps"]] == [
        "image downsample",
        "image create",
    ]
    label = CliRunner().invoke(main, ["trace", f"{true}/cc", "--label", "1"])
    assert "skeleton merge" in label.output


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["seg"], 2, "is a folder; name one of its objects"),
        (["seg/nothing"], 1, "no record tells who made it"),
        (["seg", "--at", "3,3"], 2, "expected 3 of int"),
        (["seg", "--at", "300,3,3"], 1, "no record tells"),
        (["nowhere/x"], 1, "no record tells"),
    ],
)
def test_what_cannot_be_told(true: Path, words: list[str], status: int, said: str) -> None:
    shown = CliRunner().invoke(main, ["trace", f"{true}/{words[0]}", *words[1:]])
    assert shown.exit_code == status
    assert said in shown.output


def test_a_chunk_that_was_removed(tmp_path: Path) -> None:
    np.save(tmp_path / "em.npy", np.ones((32, 32, 32), np.uint8))
    layer = str(tmp_path / "em")
    run.inline(Create(source=f"{tmp_path}/em.npy", layer=layer, axes="xyz", resolution=(8, 8, 8), chunk=(16, 16, 16)))
    run.inline(Delete(layer=layer, keys=("8_8_8",), box=Box((0, 0, 0), (16, 16, 16))))
    (deleted, _) = history.runs(STORE, f"file://{layer}")
    assert tracing.of_voxel(STORE, f"file://{layer}", 0, (3, 3, 3)).removed == deleted.folder
    assert tracing.of_voxel(STORE, f"file://{layer}", 0, (20, 3, 3)).removed == ""
    shown = CliRunner().invoke(main, ["trace", layer, "--at", "3,3,3"]).output
    assert f"was removed by {deleted.folder}" in shown
    assert "image create" in shown
