"""A table of synapses with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng import records, run
from igneous_ng.io import IO
from igneous_ng.stage import Layer
from igneous_ng.stages.synapse_assign import Assign
from igneous_ng.store import Store
from tests import assigned
from tests.layers import files
from tests.test_stage_ccl_deaths import killed_in_the_middle
from tests.test_worker_torture import worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    made, url, names = assigned.scene(tmp_path), f"fq://{tmp_path}/queue", []
    assigned.image(tmp_path / "both", np.stack([made.pre, made.post], axis=-1))
    for folder in ("calm", "killed"):
        chain = Assign(clefts=f"{tmp_path}/clefts", segmentation=f"{tmp_path}/seg", table=f"{tmp_path}/{folder}",
                       sides="channels", evidence=Layer(f"file://{tmp_path}/both"), radius=24.0, polyadic=0.1,
                       merge_distance=120.0, cell=(16, 16, 16), block=16)  # fmt: skip
        for step in chain.steps(IO()):
            if folder == "calm":
                run.inline(step)
                continue
            ready = run.enqueue(step, url)
            killed_in_the_middle(url, ready)
            last = worker(url)
            last.communicate(timeout=300)
            assert last.returncode == 0
            assert records.finished(Store(), ready)
            names.append(ready.name)
    assert set(names) == {"synapse contacts", "synapse partners", "synapse merge join", "synapse merge spread",
                          "synapse table"}  # fmt: skip
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
