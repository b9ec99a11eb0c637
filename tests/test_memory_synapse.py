"""Steps on tables of synapses and clefts stay within the memory that they declare, measured as in `test_memory`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.eval_clefts import EvalClefts
from igneous_ng.stages.eval_synapse import EvalSynapse
from igneous_ng.stages.synapse_import import SynapseImport
from tests.layers import create
from tests.measuring import insist

ROWS = 40_000
RES = (8.0, 8.0, 8.0)


def table(path: Path, count: int, seed: int) -> Path:
    """A file of so many rows, about one in a cube of 300 nm."""
    rng = np.random.default_rng(seed)
    side = 37 * count ** (1 / 3)
    rows: dict[str, list[object]] = {
        "pre": rng.integers(1 << 60, (1 << 60) + 50, count).tolist(),
        "post": rng.integers(1 << 60, (1 << 60) + 50, count).tolist(),
        "score": rng.random(count).tolist(),
    }
    rows |= dict(zip("xyz", rng.integers(0, int(side), (3, count)).tolist(), strict=True))
    if path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps([dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]))
    else:
        lines = [",".join(map(str, row)) for row in zip(*rows.values(), strict=True)]
        path.write_text("\n".join([",".join(rows), *lines]))
    return path


def importing(folder: Path, form: str, count: int, seed: int = 0) -> list[Stage]:
    source = table(folder / f"{count}-{seed}.{form}", count, seed)
    chain = SynapseImport(source=str(source), layer=f"{folder}/{count}-{seed}", resolution=RES, block=4096)
    return stages(chain)


def stages(chain: Stage) -> list[Stage]:
    found = list[Stage]()
    for stage in chain.steps(IO()):
        found.append(stage)
        run.inline(stage)
    return found


def clefts(folder: Path, side: int) -> Stage:
    rng = np.random.default_rng(0)
    for name in ("found", "truth"):
        labels = (rng.random((side, side, side, 1)) < 0.05).astype(np.uint64)
        create(folder / f"{side}.{name}", np.asfortranarray(labels), (0, 0, 0), (32, 32, 32), kind="segmentation",
               resolution=RES)  # fmt: skip
    return EvalClefts(found=f"{folder}/{side}.found", truth=f"{folder}/{side}.truth", layer=f"{folder}/{side}.out",
                      cell=(side, side, side))  # fmt: skip


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize(
    "which", ["parquet", "json", "csv", "sort", "sites", "candidates", "match", "outcomes", "clefts"]
)
def test_a_step_takes_no_more_memory_than_it_declares(tmp_path: Path, which: str) -> None:
    def stage(count: int) -> Stage:
        if which == "clefts":
            return clefts(tmp_path, 192 if count == ROWS else 32)
        if which in ("parquet", "json", "csv", "sort"):
            return importing(tmp_path, "csv" if which == "sort" else which, count)[which == "sort"]
        for seed in (0, 1):
            importing(tmp_path, "csv", count, seed)
        chain = EvalSynapse(found=f"{tmp_path}/{count}-0", truth=f"{tmp_path}/{count}-1", layer=f"{tmp_path}/{count}",
                            by="places")  # fmt: skip
        made = stages(chain)
        return made[{"sites": 0, "candidates": 1, "match": -2, "outcomes": -1}[which]]

    insist(which, *(stage(count) for count in (ROWS, 500)))
