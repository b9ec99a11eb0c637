"""From wrong units to runs: which, in what order, after whom, and what is put out of the way first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng import ledger, mending, records, run
from igneous_ng.errors import VersionError
from igneous_ng.geometry import Box
from igneous_ng.ledger import PREPARED, PUBLISHED
from igneous_ng.mending import FRAME
from igneous_ng.records import Run
from igneous_ng.stages.image_blackout import Blackout
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.store import Store, kept_at
from igneous_ng.subsets import Subset
from tests.rich import files
from tests.test_forging import make_layer

STORE = Store()


class Layer:
    """A layer of two levels, of which some units were made again."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.url = tmp_path / "em", f"file://{tmp_path}/em"
        np.save(tmp_path / "em.npy", np.random.default_rng(2).integers(1, 255, (32, 32, 32), np.uint8))
        side = (8, 8, 8)
        self.create = Create(source=f"{tmp_path}/em.npy", layer=self.url, axes="xyz", chunk=side, cell=(16, 16, 16))
        self.downsample = Downsample(layer=self.url, num_mips=1)
        self.first = run.inline(self.create)
        self.second = run.inline(self.downsample)

    def again(self, units: list[int]) -> Run:
        return run.inline(self.create, Subset.of_units(8, [(unit, (self.first.id, unit)) for unit in units]))


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    return Layer(tmp_path)


def test_equal_requests_are_one_run_and_the_first_that_began_is_first(layer: Layer) -> None:
    third = layer.again([2, 5, 6])
    wrong = {third.id: [(1, 3)], layer.second.id: [(0, 1)], layer.first.id: [(4, 6)]}
    assert mending.subsets(STORE, layer.url, wrong, "why") == [
        (layer.create, Subset.of_units(8, [(4, (layer.first.id, 4)), (5, (third.id, 1)), (6, (third.id, 2))], "why")),
        (layer.downsample, Subset.of_units(records_of(layer.second), [(0, (layer.second.id, 0))], "why")),
    ]


def records_of(run: Run) -> int:
    return run.units


def test_what_is_beside_the_units_takes_none(layer: Layer) -> None:
    for span in ((PREPARED, PUBLISHED), (PUBLISHED, 0), FRAME):
        assert mending.subsets(STORE, layer.url, {layer.first.id: [span]}, "") == [(layer.create, Subset(8, ()))]
    ((_, subset),) = mending.subsets(STORE, layer.url, {layer.first.id: [(PUBLISHED, 2)]}, "")
    assert [subset.unit(place) for place in range(len(subset))] == [0, 1]


def test_a_stage_that_is_not_known_is_refused(layer: Layer) -> None:
    raw = STORE.get_json(f"{layer.second.folder}/run.json")
    assert raw is not None
    STORE.put_json(f"{layer.second.folder}/run.json", {**raw, "stage": {**raw["stage"], "stage": "other thing"}})
    assert len(mending.subsets(STORE, layer.url, {layer.first.id: [(0, 1)]}, "")) == 1
    with pytest.raises(VersionError, match="other thing"):
        mending.subsets(STORE, layer.url, {layer.second.id: [(0, 1)]}, "")


def test_those_who_wrote_over_it_are_wrong_with_it(layer: Layer) -> None:
    assert mending.with_later(STORE, layer.url, {layer.first.id: [(0, 2)]}) == {layer.first.id: [(0, 2)]}
    black = run.inline(Blackout(layer=layer.url, box=Box((0, 0, 0), (8, 8, 8)), mips=(0,)))
    third = layer.again([3])
    for unit, found in ((0, {black.id: [(0, 1)]}), (1, {}), (3, {})):
        own = {layer.first.id: [(unit, unit + 1)]}
        assert mending.with_later(STORE, layer.url, own) == own | found, unit
    assert mending.with_later(STORE, layer.url, {third.id: [(0, 1)]}) == {third.id: [(0, 1)]}
    assert mending.with_later(STORE, layer.url, {layer.first.id: [FRAME]}) == {layer.first.id: [FRAME]}


def test_what_was_published_is_put_back_to_what_it_was_made_from(layer: Layer) -> None:
    info = layer.folder / "info"
    last = info.read_bytes()
    info.write_bytes(last[:-4])
    wrong = {layer.second.id: [(PUBLISHED, 0)]}
    assert mending.make_way(STORE, layer.url, wrong) == {layer.second.id: [FRAME]}
    kept = STORE.get(kept_at(f"{layer.second.folder}/replaced", f"{layer.url}/info"))
    assert info.read_bytes() == kept != last
    run.inline(layer.downsample, Subset(layer.second.units, ()))
    assert info.read_bytes() == last


def test_where_nothing_is_kept_all_who_wrote_it_must_do_so_again(layer: Layer) -> None:
    before = files(layer.folder)
    STORE.delete(kept_at(f"{layer.second.folder}/replaced", f"{layer.url}/info"))
    (layer.folder / "info").write_bytes(b"{")
    more = mending.make_way(STORE, layer.url, {layer.second.id: [(PUBLISHED, 0)]})
    assert more == {layer.first.id: [FRAME], layer.second.id: [FRAME]}
    assert not (layer.folder / "info").exists()
    for stage, subset in mending.subsets(STORE, layer.url, more, "repair"):
        run.inline(stage, subset)
    assert files(layer.folder) == before


def test_what_is_right_is_not_put_back(layer: Layer) -> None:
    before = files(layer.folder)
    wrong = {layer.second.id: [FRAME], layer.first.id: [FRAME]}
    assert mending.make_way(STORE, layer.url, wrong) == wrong
    assert files(layer.folder) == before


def test_units_that_would_leave_something_else_are_left_out(layer: Layer) -> None:
    ((_, subset),) = mending.subsets(STORE, layer.url, {layer.second.id: [(0, 1)]}, "")
    assert mending.able(STORE, layer.url, subset) == (subset, [])
    chunk = layer.folder / "1_1_1" / "0-8_0-8_0-8.gz"
    data = chunk.read_bytes()
    (layer.folder / "1_1_1" / "8-16_0-8_0-8.gz").rename(chunk)
    possible, (reason,) = mending.able(STORE, layer.url, subset)
    assert len(possible) == 0
    assert f"unit 0 of image downsample {layer.second.id}" in reason
    assert "mip 0 0:32,0:32,0:32 is not what was read then" in reason
    chunk.write_bytes(data)


def test_a_unit_that_works_in_place_finds_what_it_replaced_or_nothing_is_touched(layer: Layer) -> None:
    stage = Blackout(layer=layer.url, box=Box((0, 0, 0), (12, 8, 8)), mips=(0,), value=9)
    before = files(layer.folder)
    black = run.inline(stage)
    after = files(layer.folder)
    ((_, subset),) = mending.subsets(STORE, layer.url, {black.id: [(0, 1)]}, "")
    assert mending.able(STORE, layer.url, subset) == (subset, [])
    assert files(layer.folder) == before
    run.inline(stage, subset)
    assert files(layer.folder) == after
    STORE.delete(kept_at(f"{black.folder}/replaced", f"{layer.url}/1_1_1/8-16_0-8_0-8"))
    possible, (reason,) = mending.able(STORE, layer.url, subset)
    assert (len(possible), "works in place" in reason) == (0, True)
    assert files(layer.folder) == after


def test_what_publishing_another_folder_undid_is_published_again(tmp_path: Path) -> None:
    from igneous_ng.repairs import Repair

    labels = np.zeros((32, 32, 32), np.uint32)
    labels[3:9, 3:9, 3:9] = 5
    layer = make_layer(tmp_path, labels)
    run.inline(Downsample(layer=layer, num_mips=1))
    for name in ("a", "b", "c"):
        run.inline(MeshForge(layer=layer, dir=name, cell=(32, 32, 32), buckets=1))
        run.inline(MeshMerge(layer=layer, dir=name))
    before = files(tmp_path / "seg")
    (tmp_path / "seg" / "a" / "5:0").unlink()
    merged = next(one for one in ledger.runs(STORE, layer) if one.stage.get("dir") == "a" and "merge" in one.name)
    repair = Repair(STORE, layer, run.inline)
    repair.of({merged.id: [(0, 1)]})
    assert files(tmp_path / "seg") == before
    assert (repair.units, repair.other, repair.refused) == (1, 0, [])
    assert [one.stage["dir"] for one in repair.runs] == ["a", "b", "c"]
    assert [one.units for one in repair.runs] == [1, 0, 0]


def test_an_interrupted_repair_is_given_up(layer: Layer) -> None:
    from igneous_ng.repairs import WHY, Repair

    mine = run.enqueue(layer.create, "memory://mending", subset=Subset.of_units(8, [(0, (layer.first.id, 0))], WHY))
    other = run.enqueue(layer.create, "memory://mending", subset=Subset.of_units(8, [(1, (layer.first.id, 1))], "redo"))
    Repair(STORE, layer.url, run.inline).of({})
    assert records.marked(STORE, mine, "cancelled")
    assert not records.marked(STORE, other, "cancelled")
