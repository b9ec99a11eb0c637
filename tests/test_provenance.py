"""Every object of a layer can be traced: to its inputs, the code, parameters, environment and its own digest."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import catalog, environments, history, inputs, ledger, provenance, records, rollback, run
from igneous_ng.io import IO
from igneous_ng.stage import Layer, field_types
from igneous_ng.stages.ccl import Auto
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.store import Store, digest
from tests.test_rollback import create

STORE = Store()


def everything(tmp_path: Path) -> list[str]:
    """Layers made in several ways, an object table among their inputs."""
    layer, other = f"file://{tmp_path}/seg", f"file://{tmp_path}/parts"
    create(tmp_path)
    run.inline(Downsample(layer=layer, num_mips=2, sharded=True))
    (tmp_path / "remap.json").write_text(json.dumps({"1": "2"}))
    run.inline(MeshForge(layer=layer, cell=(16, 16, 16), buckets=4, remap=Layer(f"file://{tmp_path}/remap.json")))
    run.inline(MeshMerge(layer=layer, format="sharded"))
    for step in Auto(source=layer, layer=other, cell=(16, 16, 16)).steps(IO()):
        run.inline(step)
    return [layer, other]


def test_six_of_six_fields_for_every_object(tmp_path: Path) -> None:
    objects: set[str] = set()
    for layer in everything(tmp_path):
        for page in ledger.state(STORE, layer):
            about = records.about(STORE, page.run)
            for entry in page.newest:
                if "deleted" in entry:
                    continue
                objects.add(entry["url"])
                check_inputs(page, about, tmp_path)
                assert about["code"]["version"]
                assert len(about["code"]["digest"]) == 32  # of the files, whatever commit they are of
                assert page.run.stage.keys() == {"stage", "version", *field_types(catalog.load(page.run.name))}
                environment = page.line.get("environment") or about["environment"]
                described = STORE.get_json(f"{layer}/runs/environments/{environment}.json")
                assert described == environments.own()
                assert entry["digest"] == digest(STORE.stored(entry["url"])[0])  # type: ignore[index]
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p.parent != tmp_path]
    own = [tmp_path / name / "runs" for name in ("seg", "parts")]
    kept = [p for p in files if not {*own} & {*p.parents} and p.name != "provenance"]
    assert objects == {f"file://{p}".removesuffix(".gz") for p in kept}


def check_inputs(page: ledger.Page, about: dict[str, Any], tmp_path: Path) -> None:
    """The run names versions of what it read, and the unit the digests."""
    assert about["inputs"]
    assert all(one.keys() & {"info", "digest", "listing", "modified"} for one in about["inputs"])
    if page.unit >= 0:
        assert page.line["reads"]
        assert all(len(entry["digest"]) == 32 for entry in page.line["reads"])
        named = {entry.get("layer") or entry.get("url") or entry.get("list") for entry in page.line["reads"]}
        assert (f"file://{tmp_path}/remap.json" in named) == (page.run.name == "mesh forge")


def test_the_file_has_an_entry_for_each_run_that_finished_and_no_other(tmp_path: Path) -> None:
    create(tmp_path)
    layer = f"file://{tmp_path}/seg"
    STORE.put_json(
        f"{layer}/provenance", {"description": "a volume", "processing": [{"by": "x", "method": {"task": "y"}}]}
    )
    run.inline(Downsample(layer=layer))
    waiting = run.enqueue(Downsample(layer=layer, mip=1), f"fq://{tmp_path}/queue")
    said = STORE.get_json(f"{layer}/provenance")
    assert said is not None
    assert said["description"] == "a volume"
    assert [entry["method"]["task"] for entry in said["processing"]] == ["y", "image create", "image downsample"]
    assert said["sources"] == [f"file://{tmp_path}/labels.npy"]
    made = said["processing"][2]["method"]
    assert made["num_mips"] == 1
    assert made["igneous_ng"]["run"] == history.find(STORE, layer).id or waiting.id
    rollback.rollback(STORE, records.load(STORE, f"{layer}/runs/{made['igneous_ng']['run']}"))
    said = STORE.get_json(f"{layer}/provenance")
    assert said is not None
    assert [entry["method"]["task"] for entry in said["processing"]] == ["y", "image create"]


def test_cloudvolume_reads_the_file(tmp_path: Path) -> None:
    cloudvolume = pytest.importorskip("cloudvolume", reason="CloudVolume is not installed")
    create(tmp_path)
    read = cloudvolume.CloudVolume(f"file://{tmp_path}/seg", progress=False).provenance
    assert [one["method"]["task"] for one in read.processing] == ["image create"]
    assert read.processing[0]["by"] == environments.person()


def test_no_entry_is_lost_where_runs_finish_at_the_same_moment(tmp_path: Path) -> None:
    home = f"file://{tmp_path}/layer"
    made = [records.new_run({"stage": "s", "version": 1, "number": n}, home, 1) for n in range(8)]
    for one in made:
        records.save(STORE, one)
    barrier = threading.Barrier(len(made))

    def finish(one: records.Run) -> None:
        barrier.wait()
        records.mark_finished(STORE, one)
        provenance.publish(Store(), home)

    threads = [threading.Thread(target=finish, args=(one,)) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = STORE.get_json(f"{home}/provenance")
    assert said is not None
    assert sorted(entry["method"]["number"] for entry in said["processing"]) == list(range(8))


def test_versions_of_inputs_tell_files_folders_and_layers_apart(tmp_path: Path) -> None:
    create(tmp_path)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        (pictures / f"{number}.png").write_bytes(bytes([number]))
    layer = inputs.version(STORE, f"file://{tmp_path}/seg")
    file = inputs.version(STORE, f"file://{tmp_path}/labels.npy")
    folder = inputs.version(STORE, f"file://{pictures}")
    glob = inputs.version(STORE, f"file://{pictures}/*.png")
    assert layer == {
        "url": f"file://{tmp_path}/seg",
        "kind": "layer",
        "info": digest((tmp_path / "seg/info").read_bytes()),
    }
    assert file is not None
    assert file["digest"] == digest((tmp_path / "labels.npy").read_bytes())
    assert folder is not None
    assert glob is not None
    assert (folder["objects"], folder["bytes"], folder["listing"]) == (3, 3, glob["listing"])
    assert inputs.version(STORE, f"file://{tmp_path}/nothing") is None
    (pictures / "1.png").write_bytes(b"xx")
    changed = inputs.version(STORE, f"file://{pictures}/*.png")
    assert changed is not None
    assert changed["listing"] != glob["listing"]


def test_a_source_that_changed_is_known_by_its_version(tmp_path: Path) -> None:
    made = create(tmp_path)
    (line, *_) = records.all_lines(STORE, made)
    (window,) = (entry for entry in line["reads"] if "box" in entry)
    known = tuple(records.about(STORE, made)["inputs"])
    assert inputs.Inputs(STORE, known).changed(window) is False
    assert inputs.Inputs(STORE).changed(window) is None
    np.save(tmp_path / "labels.npy", np.zeros((2, 2, 2), np.uint32))
    assert inputs.Inputs(STORE, known).changed(window) is True
    (tmp_path / "labels.npy").unlink()
    assert inputs.Inputs(STORE, known).changed(window) is True


def test_a_source_in_many_files_is_one_input(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    for number in range(4):
        pillow.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"{number}.png")
    made = run.inline(Create(source=f"{tmp_path}/*.png", layer=str(tmp_path / "em")))
    (one,) = records.about(STORE, made)["inputs"]
    assert (one["kind"], one["objects"]) == ("files", 4)
