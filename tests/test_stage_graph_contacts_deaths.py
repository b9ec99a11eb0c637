"""Contacts with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.graph_contacts import Contacts
from tests.contact_pairs import blobs
from tests.killing import calm_and_killed
from tests.test_stage_graph_contacts import layer, made

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    layer(tmp_path, blobs((25, 20, 20), 60, 11))

    def steps(name: str) -> Iterator[Stage]:  # 5 x 4 x 4 cells
        chain = Contacts(segmentation=f"{tmp_path}/segments", graph=f"{tmp_path}/{name}", cell=(5, 5, 5), parts=64)
        return chain.steps(IO())

    assert calm_and_killed(tmp_path, steps) == ["graph touch", "graph tally", "graph areas"]
    assert made(tmp_path, "killed") == made(tmp_path, "calm")
