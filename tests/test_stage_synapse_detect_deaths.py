"""Clefts with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from igneous_ng.io import IO
from igneous_ng.stage import Layer, Stage
from igneous_ng.stages.synapse_detect import Detect
from tests import synaptic
from tests.killing import calm_and_killed
from tests.layers import create, files
from tests.test_stage_synapse_detect import agree, kept

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    array = (np.random.default_rng(7).random((88, 64, 48)) ** 3 * 255).astype(np.uint8)
    segments = (np.indices(array.shape).sum(axis=0) // 20).astype(np.uint64) + np.uint64(2**60)
    lo = (-5, 3, 0)
    create(tmp_path / "source", array[..., None], lo, (8, 8, 8))
    create(tmp_path / "segments", segments[..., None], lo, (8, 8, 8), kind="segmentation")

    def steps(name: str) -> Iterator[Stage]:
        return Detect(evidence=f"{tmp_path}/source", layer=f"{tmp_path}/{name}", threshold=0.4, min_size=4,
                      split_by=Layer.parse(f"{tmp_path}/segments"), cell=(8, 8, 8)).steps(IO())  # fmt: skip

    names = calm_and_killed(tmp_path, steps)
    assert set(names) == {f"synapse {phase}" for phase in ("label", "join", "spread", "relabel", "tally")}
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
    every = synaptic.clefts(array, lo, 102, 26, segments)
    agree(tmp_path / "killed", *kept(*every, lambda row: row["voxels"] >= 4))
