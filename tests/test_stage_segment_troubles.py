"""Stages about segments, killed at random or done again where something changed: the bytes of one calm run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import records, run
from igneous_ng.io import IO
from igneous_ng.redo import Redo
from igneous_ng.segmentation import Supervoxels
from igneous_ng.stage import Stage
from igneous_ng.stages.segment_filter import Filter, Measure
from igneous_ng.stages.segment_relabel import Relabel
from igneous_ng.stages.segment_remap import Apply, Remap
from igneous_ng.store import Store
from tests.layers import create, files, whole
from tests.segmentations import agglomerated
from tests.test_redo import carry_out
from tests.test_worker_torture import torture

LEAF = (16, 16, 16)


def supervoxels(folder: Path, side: int) -> tuple[str, np.ndarray]:
    blocks = np.random.default_rng(8).integers(0, 40, (side // 4, side // 4, side // 4))
    return agglomerated(folder, blocks.repeat(4, 0).repeat(4, 1).repeat(4, 2), LEAF, (5, -3, 0))


def stages(place: Path) -> Iterator[Stage]:
    """All that is made below a place, from the supervoxels beside it."""
    seg = f"{place}/seg"
    yield Relabel(supervoxels=f"{place.parent}/sv", layer=seg, cell=LEAF)
    yield from Measure(layer=seg, cell=LEAF).steps(IO())
    yield Filter(layer=seg, min_size=300, holes=64, border="drop")
    yield Apply(source=seg, layer=f"{place}/kept", table=f"{seg}/filters/default", cell=LEAF)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_at_random_leaves_the_same_bytes(tmp_path: Path) -> None:
    supervoxels(tmp_path / "sv", 64)
    for step in stages(tmp_path / "calm"):
        run.inline(step)
    url = f"fq://{tmp_path}/queue"
    for seed, step in enumerate(stages(tmp_path / "killed")):
        ready = run.enqueue(step, url)
        torture(url, 5, workers=2, seed=seed)
        assert records.finished(Store(), ready)
    assert files(tmp_path / "killed/kept") == files(tmp_path / "calm/kept")
    assert files(tmp_path / "killed/seg") == files(tmp_path / "calm/seg")


def test_a_leaf_that_is_agglomerated_otherwise_is_written_again(tmp_path: Path) -> None:
    layer, expected = supervoxels(tmp_path / "sv", 48)
    stage = Relabel(supervoxels=layer, layer=f"{tmp_path}/new", cell=LEAF)
    run.inline(stage)
    before = files(tmp_path / "new")
    io, what = IO(), "agglomerations/default/segments"
    known = Supervoxels(io, layer)
    table = known.read(what, (1, 2, 0))
    known.put(what, (1, 2, 0), {**table, "segment": np.full(len(table["id"]), 7, np.uint64)})
    ran, _ = carry_out(Redo(Store(), [f"file://{tmp_path}/new"]))
    assert list(ran.values()) == [{1 + 3 * 2}]
    leaf = known.plan.box((1, 2, 0))
    part = leaf.slices(known.plan.bounds.lo)
    found = whole(tmp_path / "new")[..., 0]
    assert (found[part] == np.where(expected[part] > 0, 7, 0)).all()
    assert sum(before[name] != data for name, data in files(tmp_path / "new").items()) == 1


def test_a_file_of_labels_that_changed_makes_its_parts_and_the_layer_again(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 9, (8, 8, 8)).repeat(4, 0).astype(np.uint32)
    create(tmp_path / "seg", labels[..., None], (0, 0, 0), (8, 8, 8), kind="segmentation")
    table = tmp_path / "table.csv"
    table.write_text("1,100\n")
    for step in Remap(source=f"{tmp_path}/seg", layer=f"{tmp_path}/new", table=str(table)).steps(IO()):
        run.inline(step)
    table.write_text("1,100\n2,200\n")
    ran, _ = carry_out(Redo(Store(), [f"file://{tmp_path}/new"]))
    assert len(ran) == 2
    wanted = np.where(labels == 1, 100, np.where(labels == 2, 200, labels))
    assert (whole(tmp_path / "new")[..., 0] == wanted).all()
