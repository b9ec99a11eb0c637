"""A graph with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.graph_build import Build
from tests.killing import calm_and_killed
from tests.synaptic import table
from tests.test_stage_graph_build import made

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    table(f"file://{tmp_path}/table", 4000, 300, block=16)

    def steps(name: str) -> Iterator[Stage]:  # 7 x 5 x 2 cells
        return Build(table=f"{tmp_path}/table", graph=f"{tmp_path}/{name}", cell=32, parts=32).steps(IO())

    names = calm_and_killed(tmp_path, steps, ("graph publish",))  # a single file, written whole
    assert names == ["graph take", "graph shuffle", "graph sort"]
    assert made(tmp_path, "killed") == made(tmp_path, "calm")
