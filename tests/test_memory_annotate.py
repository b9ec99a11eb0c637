"""Stages about annotations stay within the memory that they declare, measured in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.annotation_tables import Schema, Table
from igneous_ng.formats import row_files
from igneous_ng.formats.table_schemas import Column
from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.annotate_lookup import Look, Place
from igneous_ng.stages.annotate_properties import Properties
from igneous_ng.stages.image_count import Count
from tests.layers import create
from tests.measuring import insist

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables and segmentations, ``big`` ones, and ``small`` ones to warm up."""
    folder, rng = tmp_path_factory.mktemp("memory"), np.random.default_rng(0)
    for name, side, rows in (("big", 128, 200_000), ("small", 16, 100)):
        labels = np.arange(side**3, dtype=np.uint64).reshape(side, side, side, 1) // np.uint64(8)
        seg = create(folder / f"{name}-seg", labels, (0, 0, 0), (64, 64, 64), kind="segmentation", resolution=(1, 1, 1))
        for level in (0, 1):
            run.inline(Count(layer=str(seg), cell=(64, 64, 64), level=level))
        columns = {"segment": rng.permutation(rows).astype(np.uint64), "degree": rng.integers(0, 1000, rows),
                   "label": np.array([f"neuron {number}" for number in range(rows)], object),
                   "tags": rng.choice(np.array(["axon", "soma glia", ""], object), rows)}  # fmt: skip
        for suffix in row_files.SUFFIXES:
            (folder / f"{name}{suffix}").write_bytes(row_files.encode(columns, suffix))
        table = Table.create(f"{folder}/{name}-table", Schema("point", (Column("name", "string"),)))
        for _ in range(2):
            table.append({**dict(zip("xyz", rng.uniform(0, side, (3, rows)), strict=True)), "name": columns["label"]})
        np.savez_compressed(folder / f"{name}.npz", old=columns["segment"], new=columns["segment"])
    return folder


def of(cls: Any, *before: Any, **fields: Any) -> Callable[[Path, str], Stage]:
    def make(folder: Path, name: str) -> Stage:
        def full(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(full, value))
            return value.format(f"{folder}/{name}") if isinstance(value, str) else value

        given = {key: full(value) for key, value in fields.items()}
        for other in before:
            run.inline(other(**given))
        stage: Stage = cls(**given)
        stage.prepare(IO())
        return stage

    return make


STAGES = {
    "properties of text": of(Properties, layer="{}-seg", tables=("{}.csv",), top=200_000),
    "properties of JSON": of(Properties, layer="{}-seg", tables=("{}.json",), top=200_000),
    "properties of Parquet": of(Properties, layer="{}-seg", tables=("{}.parquet",), top=200_000),
    "properties, fewer": of(Properties, layer="{}-seg", tables=("{}.parquet",), by="degree", top=1000),
    "properties of sizes": of(Properties, layer="{}-seg", sizes="census", top=1000),
    "place": of(Place, table="{}-table", layer="{}-seg", as_of=2, dir="a"),
    "look": of(Look, Place, table="{}-table", layer="{}-seg", as_of=2, dir="b"),
    "look, renamed": of(Look, Place, table="{}-table", layer="{}-seg", as_of=2, dir="c", remap="{}.npz"),
}


@pytest.mark.parametrize("which", STAGES)
def test_a_task_takes_no_more_memory_than_it_declares(folder: Path, which: str) -> None:
    insist(which, *(STAGES[which](folder, name) for name in ("big", "small")))
