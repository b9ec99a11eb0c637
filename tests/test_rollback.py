"""Runs undone: the bytes that were there before, whatever they replaced, and whenever undoing is killed."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import fingerprints, ledger, records, rollback, run
from igneous_ng.errors import SpecError
from igneous_ng.records import Run
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.store import Store, kept_at
from igneous_ng.worker import task
from igneous_ng.worker.task import Task
from tests.faults import lived, steps_of

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
STORE = Store()
SIDE = (16, 16, 16)


def data(folder: Path) -> dict[str, bytes]:
    """Every object but records."""
    files = [p for p in folder.rglob("*") if p.is_file() and not {"runs", "provenance"} & {*p.parts}]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def create(folder: Path, seed: int = 0) -> Run:
    """A layer of blocks of labels; another seed changes some of them."""
    labels = np.arange(8, dtype=np.uint32).reshape(2, 2, 2).repeat(20, 0).repeat(16, 1).repeat(12, 2) + 1
    labels[:5, :5, :5] += np.uint32(seed)
    np.save(folder / "labels.npy", labels)
    return run.inline(request(folder))


def request(folder: Path) -> Create:
    source, layer = str(folder / "labels.npy"), str(folder / "seg")
    return Create(source=source, layer=layer, axes="xyz", kind="segmentation", chunk=SIDE, cell=SIDE)


def pyramid(folder: Path) -> Run:
    return run.inline(Downsample(layer=str(folder / "seg"), num_mips=2))


def test_a_run_over_another_is_undone_to_the_byte(tmp_path: Path) -> None:
    create(tmp_path)
    before = data(tmp_path / "seg")
    again = create(tmp_path, seed=5)
    assert data(tmp_path / "seg") != before
    undone = rollback.rollback(STORE, again)
    assert data(tmp_path / "seg") == before
    assert undone.restored > 0
    assert records.marked(STORE, again, "rolledback")
    with pytest.raises(SpecError, match="is rolled back already"):
        rollback.rollback(STORE, again)


def test_what_a_run_made_new_goes_and_the_info_is_as_before(tmp_path: Path) -> None:
    create(tmp_path)
    before, provenance = data(tmp_path / "seg"), (tmp_path / "seg" / "provenance").read_bytes()
    made = pyramid(tmp_path)
    assert (tmp_path / "seg" / "provenance").read_bytes() != provenance
    rollback.rollback(STORE, made)
    assert data(tmp_path / "seg") == before
    assert (tmp_path / "seg" / "provenance").read_bytes() == provenance
    pyramid(tmp_path)  # it can be made again


def test_runs_are_undone_the_newest_first(tmp_path: Path) -> None:
    create(tmp_path)
    states = [data(tmp_path / "seg")]
    layer = str(tmp_path / "seg")
    made = [pyramid(tmp_path)]
    states.append(data(tmp_path / "seg"))
    run.inline(MeshForge(layer=layer, cell=SIDE, buckets=4))
    made.append(run.inline(MeshMerge(layer=layer)))
    with pytest.raises(SpecError, match=rf"later runs wrote the same objects: mesh merge {made[1].id}; .*--with-later"):
        rollback.rollback(STORE, made[0])
    assert rollback.followers(STORE, made[0]) == [made[1]]
    rollback.rollback(STORE, made[1])
    rollback.rollback(STORE, made[0])
    left = {name: content for name, content in data(tmp_path / "seg").items() if "fragments" not in name}
    assert left == states[0]


def test_a_run_that_goes_on_or_was_pruned_is_not_undone(tmp_path: Path) -> None:
    create(tmp_path)
    again = create(tmp_path, seed=5)
    STORE.delete(f"{again.folder}/finished.json")
    with pytest.raises(SpecError, match="is not over"):
        rollback.rollback(STORE, again)
    records.mark_finished(STORE, again)
    kept = list(rollback.prunable(STORE, again.home, 0.0))
    assert [one[0] for one in kept] == [again]
    assert kept[0][1:] > (0, 0)
    rollback.prune(STORE, again)
    assert list(rollback.prunable(STORE, again.home, 0.0)) == []
    now = data(tmp_path / "seg")
    with pytest.raises(SpecError, match="was pruned"):
        rollback.rollback(STORE, again)
    assert data(tmp_path / "seg") == now


def test_a_cancelled_run_that_died_in_the_middle_is_undone_too(tmp_path: Path) -> None:
    create(tmp_path)
    before = data(tmp_path / "seg")
    np.save(tmp_path / "labels.npy", np.load(tmp_path / "labels.npy") + np.uint32(1))
    ready = run.enqueue(request(tmp_path), f"memory://{tmp_path.name}")

    def work() -> None:
        for message in ready.messages():
            Task(message, task.store_of(ready)).execute()

    assert not lived(work, 300)  # some units are recorded, one is not, though it wrote something
    assert data(tmp_path / "seg") != before
    assert 0 < records.done(STORE, ready) < ready.units
    records.set_mark(STORE, ready, "cancelled")
    rollback.rollback(STORE, ready)
    assert data(tmp_path / "seg") == before


@pytest.mark.long
def test_undoing_may_die_before_any_step(tmp_path: Path) -> None:
    create(tmp_path)
    before = data(tmp_path / "seg")
    again = create(tmp_path, seed=5)
    start = tmp_path.with_name("start")
    shutil.copytree(tmp_path, start)

    def begin() -> None:
        shutil.rmtree(tmp_path)
        shutil.copytree(start, tmp_path)

    steps = len(steps_of(lambda: rollback.rollback(Store(), again)))
    died = 0
    for step in sorted(random.Random(1).sample(range(1, steps + 1), min(steps, 40))):
        begin()
        died += not lived(lambda: rollback.rollback(Store(), again), step)  # threads may take a step more or less
        if not records.marked(STORE, again, "rolledback"):
            rollback.rollback(STORE, again)
        assert data(tmp_path / "seg") == before
        assert again.id not in [one.id for one in ledger.runs(STORE, again.home)]
    assert died > 30


def test_an_undone_run_is_not_continued(tmp_path: Path) -> None:
    first = create(tmp_path)
    rollback.rollback(STORE, first)
    assert not [name for name in data(tmp_path / "seg") if name != "provenance"]
    second = create(tmp_path)
    assert second.id != first.id
    assert data(tmp_path / "seg")


def test_a_run_on_an_object_store_is_undone_too(tmp_path: Path) -> None:
    place = f"mem://rollback/{tmp_path.name}/seg"
    create(tmp_path)
    source = str(tmp_path / "labels.npy")
    wanted = Create(source=source, layer=place, axes="xyz", kind="segmentation", chunk=SIDE, cell=SIDE)
    run.inline(wanted)
    before = fingerprints.take(STORE, place)
    held = {entry["url"]: STORE.stored(entry["url"]) for page in ledger.state(STORE, place) for entry in page.newest}
    create(tmp_path, seed=5)
    again = run.inline(wanted)
    made = run.inline(Downsample(layer=place))
    assert fingerprints.take(STORE, place) != before
    for one in (made, again):
        rollback.rollback(STORE, one)
    assert fingerprints.take(STORE, place) == before
    assert {url: STORE.stored(url) for url in held} == held
    assert not [name for name in STORE.list(place) if name not in ("1_1_1", "info", "provenance", "runs")]


@pytest.mark.parametrize(
    "url", ["file:///data/seg/1", "s3://bucket/seg/1", "s3://https://host:9000/bucket/seg/1", "mem://seg/1"]
)
def test_what_is_kept_knows_where_it_was(url: str) -> None:
    place = kept_at("s3://bucket/attic", url)
    assert "//" not in place.removeprefix("s3://"), "a name that not every store takes"
    assert rollback._url(place.removeprefix("s3://bucket/attic/")) == url
