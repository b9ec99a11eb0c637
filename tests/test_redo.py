"""Regional redo against brute force: everything made anew from changed data in another place, unit by unit."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng import environments, fingerprints, ledger, passes, records, rollback, run, waves
from igneous_ng.formats.info import new_info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.records import Run
from igneous_ng.redo import Outcome, Redo, Wave, carried_out, outcome, region
from igneous_ng.stages.ccl import Auto
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from igneous_ng.store import Store
from igneous_ng.subsets import Subset

Array = npt.NDArray[Any]
STORE = Store()
SIDE = 64
CELL = (16, 16, 16)
BOX = Box((16, 16, 16), (32, 32, 32))  # 1/64


def tissue(seed: int = 0) -> Array:
    """Blobs of labels, some of which span many cells."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), -1)
    centres = random.uniform(0, SIDE, (60, 3))
    nearest = np.argmin(((grid[..., None, :] - centres) ** 2).sum(-1), -1).astype(np.uint32) + 1
    return np.where(random.random(nearest.shape) < 0.02, 0, nearest).astype(np.uint32)


def changed(labels: Array) -> Array:
    """The same with 1/64 of it changed."""
    new = labels.copy()
    part = new[BOX.slices()]
    part[part == part[8, 8, 8]] = 900
    part[2:9, 3:12, 4:10] = 0
    part[::8, ::8, ::8] = 901  # in every chunk
    return new


def make_seg(layer: str, labels: Array) -> None:
    """A layer of small chunks, that no run made."""
    io, bounds = IO(), Box((0, 0, 0), (SIDE, SIDE, SIDE))
    fields: dict[str, Any] = {"kind": "segmentation", "dtype": "uint32", "channels": 1, "encoding": "raw"}
    io.create_layer(layer, new_info(bounds=bounds, resolution=(16, 16, 40), chunk=(8, 8, 8), **fields))
    io.write(io.volume(layer, 0), bounds, labels[..., np.newaxis])


def made(folder: Path, labels: Array) -> list[str]:
    """A layer, its components in another, and all that is made of it."""
    layer, other = f"file://{folder}/seg", f"file://{folder}/parts"
    make_seg(layer, labels)
    run.inline(Downsample(layer=layer, num_mips=2, factor=(2, 2, 2)))
    for step in Auto(source=layer, layer=other, cell=CELL).steps(IO()):
        run.inline(step)
    run.inline(MeshForge(layer=layer, cell=CELL, buckets=64))
    run.inline(MeshMerge(layer=layer))
    run.inline(SkeletonForge(layer=layer, cell=CELL, buckets=64))
    run.inline(SkeletonMerge(layer=layer))
    return [layer, other]


def data(folder: Path) -> dict[str, bytes]:
    """Every object but records."""
    files = [p for p in folder.rglob("*") if p.is_file() and not {"runs", "provenance"} & {*p.parts}]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


Reads = dict[str, dict[int, str]]


def read_by_units(folder: Path) -> Reads:
    """For each request, in words, what each of its units read."""
    found: Reads = {}
    for name in ("seg", "parts"):
        for one in ledger.runs(STORE, f"file://{folder}/{name}"):
            lines = {line["unit"]: json.dumps(line["reads"]) for line in records.all_lines(STORE, one)}
            found[json.dumps(one.stage)] = lines
    return found


def carry_out(redo: Redo) -> tuple[dict[str, set[int]], list[Outcome]]:
    """The units that were run, by request, and what came of it."""
    found: dict[str, set[int]] = {}
    outcomes = []
    for wave, ready in carried_out(redo, lambda wave: run.inline(wave.stage, wave.subset)):
        assert not wave.restoring
        found[json.dumps(ready.stage)] = {wave.subset.unit(place) for place in range(len(wave.subset))}
        outcomes.append(outcome(STORE, wave, ready))
    return found, outcomes


@dataclass(frozen=True)
class Old:
    """A folder where everything was made of the tissue, and what would be there if all were made after its change."""

    folder: Path
    kept: Path
    new: dict[str, bytes]
    read_then: Reads
    read_now: Reads

    @property
    def layers(self) -> list[str]:
        return [f"file://{self.folder}/seg", f"file://{self.folder}/parts"]

    def expected(self) -> dict[str, set[int]]:
        """By brute force: the units of each request that would read something else."""
        now = self.read_now
        assert now.keys() == self.read_then.keys()
        found = {name: {u for u in lines if lines[u] != now[name][u]} for name, lines in self.read_then.items()}
        return {name: units for name, units in found.items() if units}

    def change(self) -> None:
        """Change the labels, as somebody does who keeps no records."""
        other = self.folder / "other"
        make_seg(f"file://{other}", changed(tissue()))
        for chunk in (other / "16_16_40").iterdir():
            chunk.replace(self.folder / "seg" / "16_16_40" / chunk.name)
        shutil.rmtree(other)


@pytest.fixture(scope="module", autouse=True)
def small_tasks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "TASK_VOXELS", (SIDE // 2) ** 3)
        yield


@pytest.fixture(scope="module")
def made_once(small_tasks: None, tmp_path_factory: pytest.TempPathFactory) -> Old:
    folder = tmp_path_factory.mktemp("redo") / "place"
    made(folder, changed(tissue()))
    new, read_now = data(folder), read_by_units(folder)
    shutil.rmtree(folder)
    made(folder, tissue())
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept, copy_function=os.link)
    return Old(folder, kept, new, read_by_units(folder), read_now)


@pytest.fixture
def old(made_once: Old) -> Old:
    shutil.rmtree(made_once.folder)
    shutil.copytree(made_once.kept, made_once.folder, copy_function=os.link)
    return made_once


@pytest.mark.long
@pytest.mark.parametrize("named", [False, True])
def test_a_changed_part_makes_again_what_brute_force_finds(old: Old, named: bool) -> None:
    old.change()
    part = region(STORE, old.layers[0], 0, BOX) if named else None
    ran, _ = carry_out(Redo(STORE, old.layers, part))
    wanted = old.expected()
    assert {json.loads(name)["stage"]: units for name, units in ran.items()} == {
        json.loads(name)["stage"]: units for name, units in wanted.items()
    }
    assert ran == wanted
    counts = {json.loads(name)["stage"]: (len(ran[name]), len(units)) for name, units in old.read_then.items()}
    assert all(some < every for name, (some, every) in counts.items() if name.split()[1] in ("forge", "label"))
    assert counts["image downsample"] == (1, 8)
    assert data(old.folder) == old.new
    assert carry_out(Redo(STORE, old.layers)) == ({}, [])


@pytest.mark.long
def test_a_redo_undone_has_the_fingerprint_of_before(old: Old) -> None:
    before = [fingerprints.take(STORE, layer) for layer in old.layers]
    began = {one.id for layer in old.layers for one in ledger.runs(STORE, layer)}
    made_before = data(old.folder)
    old.change()
    source = {name: content for name, content in data(old.folder).items() if "16_16_40" in name}
    carry_out(Redo(STORE, old.layers))
    assert [fingerprints.take(STORE, layer) for layer in old.layers] != before
    mine = [one for layer in old.layers for one in ledger.runs(STORE, layer) if one.id not in began]
    for one in sorted(mine, key=lambda run: run.id, reverse=True):
        rollback.rollback(STORE, one)
    assert [fingerprints.take(STORE, layer) for layer in old.layers] == before
    assert data(old.folder) == {**made_before, **source}


@pytest.mark.long
def test_a_part_that_did_not_change_changes_no_byte(old: Old) -> None:
    before = data(old.folder)
    ran, outcomes = carry_out(Redo(STORE, old.layers, region(STORE, old.layers[0], 0, BOX)))
    assert {json.loads(name)["stage"] for name in ran} == {
        "image downsample",
        "ccl label",
        "mesh forge",
        "skeleton forge",
    }
    assert all(one.same > 0 and (one.changed, one.new, one.removed) == (0, 0, 0) for one in outcomes)
    assert data(old.folder) == before
    assert carry_out(Redo(STORE, old.layers)) == ({}, [])


def test_units_that_read_an_older_version_of_a_file_stay_stale(tmp_path: Path) -> None:
    made_of = tmp_path / "labels.npy"
    np.save(made_of, tissue())
    layer = f"file://{tmp_path}/seg"
    fields: dict[str, Any] = {"axes": "xyz", "kind": "segmentation", "chunk": (32, 32, 32), "cell": (32, 32, 32)}
    first = run.inline(Create(source=str(made_of), layer=layer, **fields))
    np.save(made_of, changed(tissue()))
    run.inline(Create(source=str(made_of), layer=layer, **fields), Subset.of_units(8, [(3, (first.id, 3))]))
    ran, _ = carry_out(Redo(STORE, [layer]))
    assert list(ran.values()) == [{0, 1, 2, 4, 5, 6, 7}]
    assert carry_out(Redo(STORE, [layer])) == ({}, [])


@pytest.mark.long
def test_what_another_redo_left_is_done_first_wherever_it_was(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    old.change()
    going = Redo(STORE, old.layers).waves()
    wave = next(going)
    while wave.stage.name != "mesh forge":
        wave = going.send(run.inline(wave.stage, wave.subset))
    begun = run.enqueue(wave.stage, "memory://nobody", subset=wave.subset)
    monkeypatch.setattr(environments, "host", lambda: "another machine")
    done = carried_out(Redo(STORE, old.layers), in_place)
    first, ready = next(done)
    assert (first.subset, ready) == (wave.subset, begun)
    assert records.finished(STORE, begun)
    assert next(done)[1].name == "mesh merge"


def in_place(wave: Wave) -> Run:
    with waves.here(1, lambda _: None) as execute:
        return execute(wave)
