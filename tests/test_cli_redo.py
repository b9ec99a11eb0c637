"""The commands stale, redo, rollback, prune and archive, as people give them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import history, records
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.store import Store
from tests.test_cli import igneous

STORE = Store()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a layer, a level and meshes of it."""
    folder = tmp_path_factory.mktemp("made") / "place"
    folder.mkdir()
    blocks = np.arange(27, dtype=np.uint32).reshape(3, 3, 3) + 1
    np.save(folder / "labels.npy", np.kron(blocks, np.ones((32, 32, 16), np.uint32)))
    for words in (
        "image create labels.npy seg --axes xyz --kind segmentation --chunk 16,16,16 --cell 32,32,32",
        "image downsample seg --factor 2,2,1",
        "mesh forge seg --cell 32,32,16 --buckets 16",
        "mesh merge seg",
    ):
        done = igneous(*words.split(), cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def place(made: Path) -> Path:
    """That folder, as it was at first, at the same path."""
    kept = made.with_name("kept")
    if not kept.exists():
        shutil.copytree(made, kept)
    shutil.rmtree(made)
    shutil.copytree(kept, made)
    return made


def change(place: Path) -> None:
    """A corner of the labels becomes another object, by the hand of somebody who keeps no records."""
    io = IO()
    volume, box = io.volume(f"file://{place}/seg", 0), Box((0, 0, 0), (16, 16, 16))
    labels, _ = volume.read(box)
    labels[4:9, 4:9, 4:9] = 99
    io.write(volume, box, labels)


def data(place: Path) -> dict[str, bytes]:
    files = [p for p in (place / "seg").rglob("*") if p.is_file() and not {"runs", "provenance"} & {*p.parts}]
    return {str(p.relative_to(place)): p.read_bytes() for p in files}


def runs_of(place: Path, name: str) -> list[records.Run]:
    return [run for run in history.runs(STORE, f"file://{place}/seg") if run.name == name]


@pytest.mark.long
def test_what_is_stale_is_said_and_done_again(place: Path) -> None:
    fresh = igneous("stale", "seg", cwd=place)
    assert (fresh.returncode, fresh.stdout.splitlines()[-1]) == (0, "nothing is stale"), fresh.stderr
    change(place)
    told = igneous("stale", "seg", cwd=place).stdout
    assert "mesh forge" in told
    assert "1 of 27 units stale, 0 more may follow" in told
    assert "16 more may follow" in told or "16 units stale" not in told
    stale = json.loads(igneous("stale", "seg", "--json", cwd=place).stdout)
    assert [one["stale_units"] for one in stale if one["stage"]["stage"] == "mesh forge"] == [[[0, 1]]]
    done = igneous("redo", "seg", "-p", "2", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "image downsample: " in done.stdout
    assert "mesh forge: 1 unit run again: 1 objects changed" in done.stdout
    assert (place / "seg" / "mesh" / "99:0").exists()
    assert igneous("redo", "seg", cwd=place).stdout == "nothing is stale: no unit was run\n"


def test_a_region_is_done_again_and_says_that_nothing_changed(place: Path) -> None:
    before = data(place)
    done = igneous("redo", "seg", "--box", "0:5,0:5,0:5", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "mesh forge: 1 unit run again: 1 objects same" in done.stdout
    assert "mesh merge" not in done.stdout
    assert done.stdout.splitlines()[-1] == "nothing has changed: every object has the bytes that it had"
    assert data(place) == before


def test_wrong_requests_are_refused(place: Path) -> None:
    for words, said in (
        (["redo", "nothing"], "no runs are recorded here"),
        (["redo", "seg", "--box", "900:910,0:5,0:5"], "has no part of"),
        (["redo", "seg", "--box", "0:5,0:5"], "is not a box"),
        (["stale", "seg", "--box", "0:1,0:1,0:1", "--mip", "9"], "has no mip 9"),
        (["rollback", "seg", "20200101T000000.000000-00000000"], "there is no run here"),
    ):
        refused = igneous(*words, cwd=place)
        assert refused.returncode in (1, 2), (words, refused.stdout, refused.stderr)
        assert said in refused.stderr, refused.stderr


def test_a_redo_is_undone_and_what_it_kept_is_let_go(place: Path) -> None:
    change(place)
    before = data(place)
    assert igneous("redo", "seg", cwd=place).returncode == 0
    after = data(place)
    merged, forged, pooled = (runs_of(place, f"{n}")[0] for n in ("mesh merge", "mesh forge", "image downsample"))
    for run in (merged, forged, pooled):
        undone = igneous("rollback", run.folder, cwd=place)
        assert undone.returncode == 0, undone.stderr
        assert "is rolled back: " in undone.stdout
    assert data(place) == before != after
    assert igneous("verify", "seg", cwd=place).returncode in (0, 1)
    refused = igneous("rollback", history.find(STORE, f"file://{place}/seg").folder, cwd=place)
    assert "made no data: there is nothing to undo" in refused.stderr
    last = runs_of(place, "mesh merge")[1]
    assert f"mesh merge {last.id} is rolled back" in igneous("rollback", "seg", cwd=place).stdout
    assert "rolledback" in igneous("status", "seg", merged.id, cwd=place).stdout
    assert "2 runs" not in igneous("prune", "seg", cwd=place).stdout
    spoken = igneous("prune", "seg", "--older-than", "0", "--dry-run", cwd=place).stdout
    assert "would let go" in spoken
    assert "nothing was removed" in spoken
    assert igneous("prune", "seg", "--older-than", "0", cwd=place).returncode == 0
    assert not list((place / "seg" / "runs").glob("*/replaced/*"))


@pytest.mark.long
def test_intermediates_that_were_cleaned_away_are_made_again(place: Path) -> None:
    wanted = data(place)
    assert "removed from" in igneous("clean", "seg", cwd=place).stdout
    assert not (place / "seg" / "mesh" / "fragments").exists()
    change(place)
    done = igneous("redo", "seg", "-p", "2", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "to have back what was removed" in done.stdout
    assert (place / "seg" / "mesh" / "99:0").exists()
    others = [name for name in wanted if name.startswith("seg/mesh/") and "fragments" not in name]
    same = [name for name in others if data(place)[name] == wanted[name]]
    assert len(same) == len(others) - 1  # the object whose corner it was


@pytest.mark.long
def test_a_redo_that_is_killed_goes_on(place: Path) -> None:
    change(place)
    command = [sys.executable, "-m", "igneous_ng.cli", "redo", "seg", "--box", "0:16,0:16,0:16"]
    calm = data(place)
    assert subprocess.run(command, cwd=place, check=False, capture_output=True).returncode == 0
    wanted = data(place)
    assert wanted != calm
    for pause in (0.5, 0.8, 1.1):
        shutil.rmtree(place)
        shutil.copytree(place.with_name("kept"), place)
        change(place)
        going = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(pause)
        os.killpg(going.pid, signal.SIGKILL)
        going.wait()
        done = subprocess.run(command, cwd=place, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert data(place) == wanted


@pytest.mark.long
def test_an_archive_is_marked_and_released(place: Path) -> None:
    assert igneous("archive", "seg", "--note", "first scan", cwd=place).returncode == 0
    refused = igneous("image", "downsample", "seg", cwd=place)
    assert refused.returncode == 2
    assert "is marked as raw archive (first scan) and is never written to; choose another destination" in refused.stderr
    assert igneous("archive", "seg", "--release", cwd=place).returncode == 0
    assert igneous("image", "downsample", "seg", "--mip", "1", cwd=place).returncode == 0
