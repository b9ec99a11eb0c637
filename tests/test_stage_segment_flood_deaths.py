"""Flooding with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng import records, run
from igneous_ng.io import IO
from igneous_ng.store import Store
from tests import floods
from tests.layers import files, whole
from tests.test_stage_ccl_deaths import killed_in_the_middle
from tests.test_stage_segment_flood import asked
from tests.test_worker_torture import worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    truth, url = floods.tubes((85, 70, 40), 7), f"fq://{tmp_path}/queue"
    names = []
    for folder in ("calm", "killed"):
        chain = asked(tmp_path, folder, truth, (-5, 3, 0), cell=(16, 16, 16), overlap=(10, 10, 10))
        for step in chain.steps(IO()):
            if folder == "calm":
                run.inline(step)
                continue
            ready = run.enqueue(step, url)
            killed_in_the_middle(url, ready)
            last = worker(url)
            assert last.communicate(timeout=300) is not None
            assert last.returncode == 0
            assert records.finished(Store(), ready)
            names.append(ready.name.split()[-1])
    assert set(names) == {"fill", "join", "spread", "relabel"}
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
    assert np.array_equal(whole(tmp_path / "killed")[..., 0], truth)
