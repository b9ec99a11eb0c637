"""Clefts with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng import records, run
from igneous_ng.io import IO
from igneous_ng.stage import Layer
from igneous_ng.stages.synapse_detect import Detect
from igneous_ng.store import Store
from tests import synaptic
from tests.layers import create, files
from tests.test_stage_ccl_deaths import killed_in_the_middle
from tests.test_stage_synapse_detect import agree, kept
from tests.test_worker_torture import worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    array = (np.random.default_rng(7).random((88, 64, 48)) ** 3 * 255).astype(np.uint8)
    segments = (np.indices(array.shape).sum(axis=0) // 20).astype(np.uint64) + np.uint64(2**60)
    lo, url = (-5, 3, 0), f"fq://{tmp_path}/queue"
    create(tmp_path / "source", array[..., None], lo, (8, 8, 8))
    create(tmp_path / "segments", segments[..., None], lo, (8, 8, 8), kind="segmentation")
    names = []
    for folder in ("calm", "killed"):
        segments_url = Layer.parse(f"{tmp_path}/segments")
        chain = Detect(evidence=f"{tmp_path}/source", layer=f"{tmp_path}/{folder}", split_by=segments_url,
                       cell=(8, 8, 8), threshold=0.4, min_size=4)  # fmt: skip
        for step in chain.steps(IO()):
            if folder == "calm":
                run.inline(step)
                continue
            ready = run.enqueue(step, url)
            killed_in_the_middle(url, ready)
            last = worker(url)
            assert last.communicate(timeout=600) is not None
            assert last.returncode == 0
            assert records.finished(Store(), ready)
            names.append(ready.name)
    assert set(names) == {f"synapse {phase}" for phase in ("label", "join", "spread", "relabel", "tally")}
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
    every = synaptic.clefts(array, lo, 102, 26, segments)
    agree(tmp_path / "killed", *kept(*every, lambda row: row["voxels"] >= 4))
