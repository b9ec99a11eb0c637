"""A graph with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from igneous_ng import records, run
from igneous_ng.io import IO
from igneous_ng.stages.graph_build import Build, Publish
from igneous_ng.store import Store
from tests.synaptic import table
from tests.test_stage_ccl_deaths import killed_in_the_middle
from tests.test_stage_graph_build import made
from tests.test_worker_torture import worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    table(f"file://{tmp_path}/table", 4000, 300, block=16)
    url, names = f"fq://{tmp_path}/queue", []
    for folder in ("calm", "killed"):
        chain = Build(table=f"{tmp_path}/table", graph=f"{tmp_path}/{folder}", cell=32, parts=32)  # 7 x 5 x 2 cells
        for step in chain.steps(IO()):
            if folder == "calm":
                run.inline(step)
                continue
            ready = run.enqueue(step, url)
            if not isinstance(step, Publish):  # a single file, written whole
                killed_in_the_middle(url, ready)
            last = worker(url)
            assert last.communicate(timeout=300) is not None
            assert last.returncode == 0
            assert records.finished(Store(), ready)
            names.append(ready.name)
    assert names == ["graph take", "graph shuffle", "graph sort", "graph publish"]
    assert made(tmp_path, "killed") == made(tmp_path, "calm")
