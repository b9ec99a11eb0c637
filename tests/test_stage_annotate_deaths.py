"""A layer of annotations with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from igneous_ng import records, run
from igneous_ng.io import IO
from igneous_ng.stages.annotate import Build
from igneous_ng.store import Store
from tests import synaptic
from tests.annotated import made
from tests.test_stage_ccl_deaths import killed_in_the_middle
from tests.test_worker_torture import worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, names = f"fq://{tmp_path}/queue", []
    synaptic.table(f"file://{tmp_path}/table", 3000, block=8)
    for folder in ("calm", "killed"):
        for step in Build(source=f"{tmp_path}/table", layer=f"{tmp_path}/{folder}", limit=100).steps(IO()):
            if folder == "calm" or len(step.units(IO())) == 1:
                run.inline(step)
                continue
            ready = run.enqueue(step, url)
            killed_in_the_middle(url, ready)
            last = worker(url)
            last.communicate(timeout=300)
            assert last.returncode == 0
            assert records.finished(Store(), ready)
            names.append(ready.name)
    assert {"annotate survey", "annotate write"} <= set(names)
    assert made(tmp_path / "killed") == made(tmp_path / "calm")
