"""Cleaning takes what finished runs left and what merging needs no more; results and records stay, byte for byte."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import cleaning, folders, history, records, run
from igneous_ng.geometry import Box
from igneous_ng.records import Message, Run
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from igneous_ng.store import Store

STORE = Store()
DAY = 86400.0
HALF = Box((0, 0, 0), (32, 64, 32))


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    labels = np.zeros((64, 64, 32), np.uint32)
    labels[4:60, 4:28, 4:28], labels[4:60, 36:60, 4:28] = 1, 2
    np.save(tmp_path / "labels.npy", labels)
    run.inline(Create(source=str(tmp_path / "labels.npy"), layer=str(tmp_path / "seg"), kind="segmentation",
                      axes="xyz", resolution=(8, 8, 8), chunk=(32, 32, 32)))  # fmt: skip
    return tmp_path / "seg"


def wastes(layer: Path, failures_s: float = 30 * DAY) -> list[cleaning.Waste]:
    return list(cleaning.wastes(STORE, f"file://{layer}", failures_s))


def clean(layer: Path, failures_s: float = 30 * DAY) -> None:
    for waste in wastes(layer, failures_s):
        if not waste.kept:
            cleaning.remove(STORE, waste)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def finish_later(run: Run, seconds: float) -> None:
    """Let a run be finished ``seconds`` later than it was."""
    url = f"{run.folder}/finished.json"
    said = STORE.get_json(url)
    assert said is not None
    STORE.put_json(url, {**said, "time": said["time"] + seconds})


def test_a_fresh_layer_has_no_waste(layer: Path) -> None:
    before = tree(layer)
    assert wastes(layer) == []
    clean(layer)
    assert tree(layer) == before


@pytest.mark.parametrize("kind", ["mesh", "skeletons"])
def test_fragments_go_once_the_whole_layer_is_merged(layer: Path, kind: str) -> None:
    forge, merge = (MeshForge, MeshMerge) if kind == "mesh" else (SkeletonForge, SkeletonMerge)
    run.inline(forge(layer=str(layer), cell=(32, 32, 32)))
    assert wastes(layer) == [], "not merged yet"
    run.inline(merge(layer=str(layer)))
    before = tree(layer)
    (waste,) = wastes(layer)
    assert waste.place == f"file://{layer}/{kind}/fragments"
    gone = {name: data for name, data in before.items() if "/fragments/" in name}
    assert (waste.objects, waste.bytes, waste.kept) == (len(gone), sum(map(len, gone.values())), "")
    assert tree(layer) == before, "to ask changes nothing"
    clean(layer)
    noted = json.loads((layer / "runs" / "cleaned.json").read_bytes())
    assert list(noted) == [waste.place]
    (layer / "runs" / "cleaned.json").unlink()
    assert tree(layer) == {name: data for name, data in before.items() if name not in gone}
    assert not (layer / kind / "fragments").exists()
    assert wastes(layer) == []


def test_fragments_of_a_part_stay_for_they_will_be_merged_with_the_rest(layer: Path) -> None:
    run.inline(MeshForge(layer=str(layer), cell=(32, 32, 32), roi=HALF))
    run.inline(MeshMerge(layer=str(layer)))
    assert wastes(layer) == []
    run.inline(MeshForge(layer=str(layer), cell=(32, 32, 32), roi=Box((33, 0, 0), (64, 64, 32))))
    (waste,) = wastes(layer)
    assert "finished after mesh merge had begun; run mesh merge again" in waste.kept
    run.inline(MeshMerge(layer=str(layer)))
    (waste,) = wastes(layer)
    assert waste.kept == ""


def test_a_run_of_the_same_area_that_goes_on_keeps_them(layer: Path) -> None:
    run.inline(MeshForge(layer=str(layer), cell=(32, 32, 32)))
    run.inline(MeshMerge(layer=str(layer)))
    going = run.enqueue(MeshMerge(layer=str(layer), dust=5), "memory://cleaning")
    other = run.enqueue(SkeletonForge(layer=str(layer)), "memory://cleaning")
    (waste,) = wastes(layer)
    assert waste.kept == f"mesh merge {going.id} is not finished; finish or cancel it"
    before = tree(layer)
    clean(layer)
    assert tree(layer) == before
    records.set_mark(STORE, going, "cancelled")
    (waste,) = wastes(layer)
    assert waste.kept == "", f"{other.name} does not matter"


def test_forging_that_finished_while_merging_went_on_keeps_them(layer: Path) -> None:
    forged = run.inline(MeshForge(layer=str(layer), cell=(32, 32, 32)))
    run.inline(MeshMerge(layer=str(layer)))
    finish_later(forged, 3600.0)
    (waste,) = wastes(layer)
    assert waste.kept.startswith(f"mesh forge {forged.id} finished after")


def test_checkpoints_and_old_failures_of_finished_runs_go(layer: Path) -> None:
    (run_,) = history.runs(STORE, f"file://{layer}")
    before = tree(layer)
    message = Message(run_, 0, 1)
    records.checkpoint(STORE, message, {}, "killed")
    records.note_failure(STORE, run_, 0, {"tried": 1, "cause": "segfault"})
    assert [waste.what for waste in wastes(layer)] == ["leftover checkpoints"]
    finish_later(run_, -31 * DAY)
    finished = (layer / "runs" / run_.id / "finished.json").read_bytes()
    assert [waste.what for waste in wastes(layer)] == ["leftover checkpoints", "notes on failures"]
    assert [waste.what for waste in wastes(layer, 32 * DAY)] == ["leftover checkpoints"]
    clean(layer)
    assert tree(layer) == {**before, f"runs/{run_.id}/finished.json": finished}


def test_nothing_of_an_unfinished_run_goes(layer: Path) -> None:
    going = run.enqueue(MeshForge(layer=str(layer)), "memory://cleaning")
    records.checkpoint(STORE, next(going.messages()), {}, "killed")
    records.note_failure(STORE, going, 0, {"tried": 1, "cause": "segfault"})
    assert wastes(layer, 0.0) == []


def test_temporary_files_go_after_a_day(layer: Path) -> None:
    old, fresh = layer / "8_8_8" / ".tmp-old", layer / ".tmp-fresh"
    for path in (old, fresh):
        path.write_bytes(b"abc")
    os.utime(old, (time.time() - 2 * DAY,) * 2)
    (waste,) = wastes(layer)
    assert (waste.what, waste.objects, waste.bytes) == ("temporary files older than a day", 1, 3)
    clean(layer)
    assert not old.exists()
    assert fresh.exists()


def test_when_a_run_began_is_in_its_id() -> None:
    before = time.time()
    began = history.begun_at(records.new_run({}, "file:///a", 1))
    assert before - 1e-5 <= began <= time.time()


def test_folders_elsewhere_are_walked_and_removed() -> None:
    url = "mem://cleaning/a"
    for name in ("x", "b/y", "b/c/z"):
        STORE.put(f"{url}/{name}", b"1" * len(name))
    assert sorted((found.url, found.bytes) for found in folders.walk(url)) == [
        (f"{url}/b/c/z", 5), (f"{url}/b/y", 3), (f"{url}/x", 1),
    ]  # fmt: skip
    folders.remove(f"{url}/b")
    assert [found.url for found in folders.walk(url)] == [f"{url}/x"]
    folders.remove(f"{url}/nothing")
    assert list(folders.abandoned(url, 0.0)) == []
    folders.remove("file:///nothing/here")
    assert list(folders.walk("file:///nothing/here")) == []
