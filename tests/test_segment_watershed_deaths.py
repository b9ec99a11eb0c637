"""Supervoxels and their graph with every stage killed in its middle: the bytes are those of an undisturbed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from igneous_ng import records, run
from igneous_ng.stages.segment_graph import Graph
from igneous_ng.stages.segment_watershed import Watershed
from igneous_ng.store import Store
from tests import segmentations
from tests.layers import files
from tests.test_stage_ccl_deaths import killed_in_the_middle
from tests.test_worker_torture import worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_both_stages_killed_leave_the_same_bytes(tmp_path: Path) -> None:
    aff = segmentations.affinities((96, 80, 40), 16)
    source, url = segmentations.layer(tmp_path / "aff", aff, (-5, 3, 0), (8, 8, 8)), f"fq://{tmp_path}/queue"
    fields: dict[str, Any] = {"affinities": source, "leaf": (8, 8, 8)}
    for folder in ("calm", "killed"):
        layer = f"file://{tmp_path}/{folder}"
        for stage in (Watershed(layer=layer, **fields), Graph(layer=layer, histogram=True)):
            if folder == "calm":
                run.inline(stage)
                continue
            ready = run.enqueue(stage, url)
            killed_in_the_middle(url, ready)
            last = worker(url)
            assert last.communicate(timeout=300) is not None
            assert last.returncode == 0
            assert records.finished(Store(), ready)
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
