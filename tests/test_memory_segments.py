"""Stages about segments stay within the memory that they declare, measured in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.segmentation import Supervoxels
from igneous_ng.stage import Stage
from igneous_ng.stages.segment_export import Export
from igneous_ng.stages.segment_filter import Filter, Tally
from igneous_ng.stages.segment_relabel import Relabel
from igneous_ng.stages.segment_remap import Apply, Table
from tests.layers import create
from tests.measuring import insist
from tests.segmentations import agglomerated

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")
CELL = (256, 256, 256)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Supervoxels with large tables, small labels and a table of them; ``big`` ones, and ``small`` ones to warm up."""
    folder, rng = tmp_path_factory.mktemp("memory"), np.random.default_rng(0)
    for name, side, rows in (("big", 160, 400_000), ("small", 16, 100)):
        blocks = rng.integers(0, 30, (side // 8, side // 8, side // 8)).repeat(8, 0).repeat(8, 1).repeat(8, 2)
        layer, _ = agglomerated(folder / f"{name}-sv", blocks, (256, 256, 256))
        widen(layer, rows, rng)
        labels = np.arange(side**3, dtype=np.uint32).reshape(side, side, side) // 16 + 1
        seg = create(folder / f"{name}-seg", labels[..., None], (0, 0, 0), (32, 32, 32), kind="segmentation")
        for level in (0, 1):
            run.inline(Tally(layer=str(seg), cell=CELL, level=level))
        old = np.arange(rows, dtype=np.uint64)
        np.savez_compressed(folder / f"{name}.npz", old=old, new=old // 7)
        np.savetxt(folder / f"{name}.csv", np.column_stack([old, old]), "%d", ",")
        run.inline(Filter(layer=str(seg), min_size=17))
    return folder


def widen(layer: str, rows: int, rng: np.random.Generator) -> None:
    """Many more supervoxels in the table of the one leaf than there are, and a graph of as many edges."""
    known, what = Supervoxels(IO(), layer), "agglomerations/default/segments"
    table = known.read(what, (0, 0, 0))
    more = {name: np.zeros(rows, column.dtype) for name, column in table.items()}
    more["id"] = table["id"].max() + 1 + np.arange(rows, dtype=np.uint64)
    more["segment"] = more["id"] - more["id"] % 3
    joined = {name: np.concatenate([table[name], more[name]]) for name in table}
    known.put(what, (0, 0, 0), joined)
    ends = np.sort(rng.choice(joined["id"], (rows, 2)), axis=1)
    number = rng.integers(1, 1000, rows)
    known.put("graph", (0, 0, 0), {"u": ends[:, 0], "v": ends[:, 1], "sum": number, "num": number, "key": number,
              "must": np.zeros(rows, np.uint8), "max": np.zeros(rows, np.uint8)})  # fmt: skip
    known.done("graph")


def of(cls: Any, source: str, field: str, **fields: Any) -> Callable[[Path, str], Stage]:
    def make(folder: Path, name: str) -> Stage:
        given = {key: value.format(f"{folder}/{name}") if isinstance(value, str) else value
                 for key, value in fields.items()}  # fmt: skip
        stage: Stage = cls(**{field: f"{folder}/{name}{source}"}, **given)
        stage.prepare(IO())
        return stage

    return make


STAGES = {
    "relabel": of(Relabel, "-sv", "supervoxels", layer="{}-new"),
    "relabel, sharded": of(Relabel, "-sv", "supervoxels", layer="{}-shards", sharded=True),
    "tally": of(Tally, "-seg", "layer", cell=CELL),
    "tally, above": of(Tally, "-seg", "layer", cell=CELL, level=1),
    "filter": of(Filter, "-seg", "layer", dir="again", min_size=17, holes=20),
    "table": of(Table, ".npz", "table", layer="{}-renamed"),
    "table of text": of(Table, ".csv", "table", layer="{}-renamed2"),
    "apply": of(Apply, "-seg", "source", layer="{}-kept", table="{}-seg/filters/default", cell=CELL),
    "export": of(Export, "-sv", "supervoxels", dest="{}-graph"),
    "export npz": of(Export, "-sv", "supervoxels", dest="{}-npz", format="npz"),
    "export parquet": of(Export, "-sv", "supervoxels", dest="{}-parquet", format="parquet"),
}


@pytest.mark.parametrize("which", STAGES)
def test_a_task_takes_no_more_memory_than_it_declares(folder: Path, which: str) -> None:
    if which.endswith("parquet"):
        pytest.importorskip("pyarrow")
    insist(which, *(STAGES[which](folder, name) for name in ("big", "small")))
