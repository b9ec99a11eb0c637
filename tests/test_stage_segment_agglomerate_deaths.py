"""An agglomeration with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from igneous_ng import records, run
from igneous_ng.io import IO
from igneous_ng.stages.segment_agglomerate import Agglomerate
from igneous_ng.store import Store
from tests import segmentations, supervoxels
from tests.layers import files
from tests.test_stage_ccl_deaths import killed_in_the_middle
from tests.test_worker_torture import worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    url, names = f"fq://{tmp_path}/queue", []
    aff = segmentations.affinities((22, 18, 15), 16)
    for folder in ("calm", "killed"):
        made = supervoxels.make(f"file://{tmp_path}/{folder}", IO(), aff, (4, 4, 4))
        chain = Agglomerate(layer=made.layer, thresholds=(0.7, 0.5), fan=3, guard_size=20, guard_threshold=0.6)
        for step in chain.steps(IO()):
            if folder == "calm" or step.name == "segment decide":
                run.inline(step)
                continue
            ready = run.enqueue(step, url)
            killed_in_the_middle(url, ready)
            last = worker(url)
            last.communicate(timeout=300)
            assert last.returncode == 0
            assert records.finished(Store(), ready)
            names.append(ready.name)
    assert set(names) == {"segment merge", "segment spread"}
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
