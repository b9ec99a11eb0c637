"""A layer of annotations with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.annotate import Build
from tests import synaptic
from tests.annotated import made
from tests.killing import calm_and_killed

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    synaptic.table(f"file://{tmp_path}/table", 3000, block=8)

    def steps(name: str) -> Iterator[Stage]:
        return Build(source=f"{tmp_path}/table", layer=f"{tmp_path}/{name}", limit=100).steps(IO())

    names = calm_and_killed(tmp_path, steps, ("annotate frame", "annotate plan"))
    assert {"annotate survey", "annotate write"} <= set(names)
    assert made(tmp_path / "killed") == made(tmp_path / "calm")
