"""Damage of any kind to any file of a layer is found by name, and repaired to the same bytes."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import cleaning, cli, folders, ledger, records, run, verification
from igneous_ng.errors import DataError
from igneous_ng.geometry import Box
from igneous_ng.records import Run
from igneous_ng.stage import Stage
from igneous_ng.stages.image_blackout import Blackout
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.store import Store
from igneous_ng.subsets import Subset
from igneous_ng.verification import Verification
from tests import rich
from tests.rich import Snapshot, files
from tests.test_forging import make_layer

STORE = Store()
CLI = [sys.executable, "-m", "igneous_ng.cli"]


def inline(stage: Stage, subset: Subset | None) -> Run:
    return run.inline(stage, subset)


def verify(layer: str, repair: bool = False, **how: Any) -> Verification:
    return verification.verify(layer, how, inline, repair)


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])


def delete(path: Path, chance: random.Random) -> None:
    path.unlink()


class Trial:
    """A layer that is damaged again and again, each time from the same beginning."""

    def __init__(self, tmp_path: Path, sharded: bool) -> None:
        self.layer = rich.make(tmp_path, sharded)
        self.folder = tmp_path / "seg"
        self.snapshot = Snapshot(self.folder, tmp_path / "copy")
        self.wanted = files(self.folder)

    def of(self, damage: Callable[[Path, random.Random], None], names: list[str]) -> None:
        """Damage these files: all are found by name, nothing else is, and all is as it was after a repair."""
        chance = random.Random(f"{damage.__name__}{names}")
        self.snapshot.restore()
        for name in names:
            damage(self.folder / name, chance)
        told = verify(self.layer, repair=True)
        wrong = {one["url"] for one in told.found.examples}
        assert told.found.causes.total() == len(names)
        assert wrong <= {folders.plain(f"{self.layer}/{name}") for name in names}
        assert len(wrong) == min(20, len(names))
        assert told.repair is not None
        assert (told.fine, told.repair.refused, told.repair.other) == (True, [], 0), names
        assert files(self.folder) == self.wanted, names


def by_kind(names: list[str]) -> dict[str, list[str]]:
    """Names by folder and ending: each kind is made in its own way."""
    kinds: dict[str, list[str]] = {}
    for name in sorted(names):
        folder, _, last = name.rpartition("/")
        kinds.setdefault(f"{folder}/{re.sub('[0-9]+', '', last)}", []).append(name)
    return kinds


@pytest.fixture(params=[False, True], ids=["chunks", "shards"])
def trial(tmp_path: Path, request: pytest.FixtureRequest) -> Trial:
    return Trial(tmp_path, request.param)


@pytest.mark.long
def test_damage_to_a_file_of_each_kind(trial: Trial) -> None:
    told = verify(trial.layer, decode=True, reads=True)
    assert (told.fine, told.strangers) == (True, [])
    assert told.found.objects == told.found.read == len(trial.wanted)
    assert told.found.bytes == sum(map(len, trial.wanted.values()))
    chance = random.Random(6)
    kinds = list(by_kind(list(trial.wanted)).values())
    chosen = [chance.choice(names) for names in chance.sample(kinds, 20)]
    for name, damage in zip(chosen, itertools.cycle([flip, flip, truncate, delete])):
        trial.of(damage, [name])


@pytest.mark.long
def test_damage_to_many_files_at_once(trial: Trial) -> None:
    chance = random.Random(7)
    for damage in (flip, delete):
        trial.of(damage, chance.sample(sorted(trial.wanted), 40))
    trial.of(delete, sorted(trial.wanted))


@pytest.mark.long
@pytest.mark.parametrize("damage", [flip, truncate, delete])
def test_damage_to_every_file(trial: Trial, damage: Callable[[Path, random.Random], None]) -> None:
    for name in sorted(trial.wanted):
        trial.of(damage, [name])


def test_what_was_added_is_named_and_left(trial: Trial) -> None:
    added = ["mesh/77:0", "8_8_8/0-16_0-16_0-17.gz", "note.txt", "new/folder/a"]
    for name in added:
        (trial.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (trial.folder / name).write_bytes(b"{}")
    told = verify(trial.layer, repair=True)
    assert told.fine
    assert sorted(told.strangers) == sorted(folders.plain(f"{trial.layer}/{name}") for name in added)
    assert files(trial.folder) == trial.wanted | dict.fromkeys(added, b"{}")


# Smaller layers, for one question each.


@pytest.fixture
def layer(tmp_path: Path) -> str:
    """Chunks of noise, and a coarser level."""
    np.save(tmp_path / "em.npy", np.random.default_rng(2).integers(1, 255, (64, 64, 32), np.uint8))
    layer = f"file://{tmp_path}/em"
    side, cell = (8, 8, 8), (16, 16, 16)
    run.inline(Create(source=f"{tmp_path}/em.npy", layer=layer, axes="xyz", chunk=side, cell=cell))
    run.inline(Downsample(layer=layer, num_mips=1))
    return layer


def folder(layer: str) -> Path:
    return Path(layer.removeprefix("file://"))


def chunks(layer: str, level: str = "1_1_1") -> list[Path]:
    return sorted((folder(layer) / level).iterdir())


def test_a_sample_is_a_sample_and_never_a_false_alarm(layer: str) -> None:
    assert verify(layer, sample=0.1).fine
    paths = chunks(layer)
    for path in paths:
        flip(path, random.Random(path.name))
    found = verify(layer, sample=0.1).found
    assert 0.05 * len(paths) < found.causes["other bytes"] < 0.15 * len(paths)
    assert found == verify(layer, sample=0.1).found
    assert verify(layer, sample=0.0).fine
    some = paths[::3]
    for path in some:
        truncate(path, random.Random(path.name))
    assert verify(layer, sample=0.0).found.causes == {"other bytes": len(some)}


def test_what_a_later_run_wrote_counts_and_what_it_did_not_is_that_of_the_earlier(layer: str, tmp_path: Path) -> None:
    again = Create(source=f"{tmp_path}/em.npy", layer=layer, axes="xyz", chunk=(8, 8, 8), cell=(16, 16, 16))
    second = run.inline(again)
    data = np.load(tmp_path / "em.npy")
    data[:8] = 7
    np.save(tmp_path / "em.npy", data)
    third = run.inline(again, Subset.of_units(32, [(unit, (second.id, unit)) for unit in range(0, 32, 4)]))
    first, downsampled = (one.id for one in ledger.runs(STORE, layer)[:2])
    assert verify(layer).fine
    reads = verify(layer, reads=True).found
    assert set(reads.causes) == {"input changed"}
    assert set(reads.wrong) == {first, downsampled, second.id}
    for path in chunks(layer):
        flip(path, random.Random(path.name))
    found = verify(layer).found
    assert found.causes == {"other bytes": 256}
    assert found.wrong == {second.id: [(unit, unit + 3) for unit in range(1, 32, 4)], third.id: [(0, 8)]}


def test_what_a_later_run_wrote_over_part_of_a_unit_is_written_again(layer: str) -> None:
    run.inline(Blackout(layer=layer, box=Box.parse("0:12,0:8,0:8"), mips=(0,), value=3))
    before = files(folder(layer))
    blacked = {"0-8_0-8_0-8", "8-16_0-8_0-8"}
    for name in ("8-16_8-16_0-8", "8-16_0-8_0-8"):  # of the unit beneath, and in part of the later one
        path = folder(layer) / "1_1_1" / f"{name}.gz"
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        told = verify(layer, repair=True)
        assert told.fine, told
        assert told.repair is not None
        assert {r.name for r in told.repair.runs} == (
            {"image blackout"} if name in blacked else {"image create", "image blackout"}
        )
        assert files(folder(layer)) == before


def test_a_unit_whose_inputs_changed_is_not_repaired_but_named(layer: str, tmp_path: Path) -> None:
    flip(chunks(layer)[3], random.Random(0))
    flip(chunks(layer, "2_2_1")[0], random.Random(0))
    before = files(folder(layer))
    np.save(tmp_path / "em.npy", np.zeros((64, 64, 32), np.uint8))
    told = verify(layer, repair=True)
    assert not told.fine
    assert told.repair is not None
    assert (told.repair.runs, len(told.repair.refused)) == ([], 2)
    assert re.search(r"unit 0 of image create .*em\.npy box .* is not what was read then", told.repair.refused[0])
    assert re.search(r"image downsample .* mip 0 .* is not what was read then", told.repair.refused[1])
    assert files(folder(layer)) == before


@pytest.mark.long
def test_what_clean_took_is_not_missed_and_what_needs_it_is_refused(tmp_path: Path) -> None:
    layer = rich.make(tmp_path, sharded=True)
    for waste in cleaning.wastes(STORE, layer, 0.0):
        cleaning.remove(STORE, waste)
    assert not (tmp_path / "seg" / "mesh" / "fragments").exists()
    assert verify(layer, reads=True).found.causes.keys() <= {"input changed"}
    told = verify(layer)
    assert (told.fine, told.strangers) == (True, [])
    before = files(tmp_path / "seg")
    (tmp_path / "seg" / "mesh" / "1:0").unlink()
    told = verify(layer, repair=True)
    assert told.repair is not None
    assert "mesh/fragments" in told.repair.refused[0]
    assert not told.fine
    assert files(tmp_path / "seg") == {name: data for name, data in before.items() if name != "mesh/1:0"}


def test_what_is_there_again_is_removed_again(tmp_path: Path) -> None:
    labels = np.zeros((32, 32, 32), np.uint32)
    labels[3:9, 3:9, 3:9], labels[20:26, 3:9, 3:9] = 5, 6
    layer = make_layer(tmp_path, labels)
    forge, merge = MeshForge(layer=layer, cell=(32, 32, 32), buckets=1), MeshMerge(layer=layer)
    first, merged = run.inline(forge), run.inline(merge)
    data = (tmp_path / "seg" / "mesh" / "5:0").read_bytes()
    labels[labels == 5] = 0
    make_layer(tmp_path, labels)
    for stage, former in ((forge, first), (merge, merged)):
        run.inline(stage, Subset.of_units(1, [(0, (former.id, 0))]))
    before = files(tmp_path / "seg")
    assert verify(layer).fine
    (tmp_path / "seg" / "mesh" / "5:0").write_bytes(data)
    told = verify(layer, repair=True)
    assert told.found.causes == {"not removed": 1}
    assert told.fine
    assert files(tmp_path / "seg") == before


def test_a_layer_without_records_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run is recorded here"):
        verify(f"file://{tmp_path}")


def test_a_stage_that_is_not_known_here_is_named(layer: str) -> None:
    first = ledger.runs(STORE, layer)[0]
    raw = STORE.get_json(f"{first.folder}/run.json")
    assert raw is not None
    STORE.put_json(f"{first.folder}/run.json", {**raw, "stage": {**raw["stage"], "stage": "other thing"}})
    flip(chunks(layer)[3], random.Random(0))
    told = verify(layer, repair=True)
    assert told.repair is not None
    (reason,) = told.repair.refused
    assert "no stage is called 'other thing' here" in reason
    assert first.id in reason


# The command; queues; deaths.


def invoke(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.main, list(words))
    return done.exit_code, done.stdout


def test_the_command_tells_and_repairs(layer: str) -> None:
    code, said = invoke("verify", layer)
    assert (code, "nothing is wrong" in said, "321 objects looked for" in said) == (0, True, True), said
    flip(chunks(layer)[3], random.Random(0))
    (folder(layer) / "1_1_1" / "more").write_bytes(b"")
    code, said = invoke("verify", layer)
    assert code == 1
    assert "other bytes: 1" in said
    assert re.search(r"image create \S+: 1 unit \(0\)", said)
    assert re.search(r"1 object that no record names:\n  .*/1_1_1/more", said)
    assert f"igneous-ng verify {layer} --repair" in said
    code, said = invoke("verify", layer, "--json")
    assert (code, json.loads(said)["causes"]) == (1, {"other bytes": 1})
    code, said = invoke("verify", layer, "--repair", "-p", "2")
    assert (code, "repaired 1 unit in 1 run" in said) == (0, True), said
    code, said = invoke("verify", layer, "--json")
    assert (code, json.loads(said)["fine"]) == (0, True)


def test_a_wrong_info_is_told_of_publishing(layer: str) -> None:
    flip(folder(layer) / "info", random.Random(1))
    code, said = invoke("verify", layer)
    assert code == 1
    assert re.search(r"image downsample \S+: what was published", said)


def test_a_repair_is_seen_as_one_run_among_others(layer: str) -> None:
    flip(folder(layer) / "info", random.Random(1))
    assert invoke("verify", layer, "--repair")[0] == 0
    newest = ledger.runs(STORE, layer)[-1]
    code, said = invoke("status", newest.folder)
    assert code == 0
    assert "0 of 0 units" in said
    subset = records.subset(STORE, newest)
    assert subset is not None
    assert subset.why == "repair"


@pytest.mark.long
def test_a_repair_on_a_queue_with_two_workers(layer: str, tmp_path: Path) -> None:
    before, queue = files(folder(layer)), f"fq://{tmp_path}/queue"
    for path in [*chunks(layer)[::3], *chunks(layer, "2_2_1")[::2], folder(layer) / "info"]:
        flip(path, random.Random(path.name))
    workers = [subprocess.Popen([*CLI, "execute", queue, "--wait"], stderr=subprocess.PIPE) for _ in range(2)]
    try:
        done = subprocess.run([*CLI, "verify", layer, "--repair", "--queue", queue], capture_output=True, text=True)
    finally:
        for worker in workers:
            worker.terminate()
            worker.communicate()
    assert done.returncode == 0, done.stdout + done.stderr
    assert files(folder(layer)) == before


def repairs(layer: str) -> list[Path]:
    """The runs that were begun to repair."""
    return sorted(folder(layer).glob("runs/*/subset.json"))


@pytest.mark.parametrize("kills", [2, pytest.param(30, marks=pytest.mark.long)])
def test_a_repair_that_is_killed_and_begun_again(layer: str, kills: int) -> None:
    before, chance = files(folder(layer)), random.Random(8)
    for path in [*chunks(layer), *chunks(layer, "2_2_1"), folder(layer) / "info"]:
        flip(path, random.Random(path.name))
    for _ in range(kills):
        seen = repairs(layer)
        process = subprocess.Popen(
            [*CLI, "verify", layer, "--repair", "-p", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        while process.poll() is None and repairs(layer) == seen:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.4))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert len(repairs(layer)) > 1
    code, said = invoke("verify", layer, "--repair")
    assert code == 0, said
    assert files(folder(layer)) == before
    assert invoke("verify", layer)[0] == 0
    left = [r for r in ledger.runs(STORE, layer) if not records.settled(STORE, r)]
    assert left == []
