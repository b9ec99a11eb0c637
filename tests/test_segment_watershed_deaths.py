"""Supervoxels and their graph with every stage killed in its middle: the bytes are those of an undisturbed run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from igneous_ng.stage import Stage
from igneous_ng.stages.segment_graph import Graph
from igneous_ng.stages.segment_watershed import Watershed
from tests import segmentations
from tests.killing import calm_and_killed
from tests.layers import files

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_both_stages_killed_leave_the_same_bytes(tmp_path: Path) -> None:
    aff = segmentations.affinities((96, 80, 40), 16)
    source = segmentations.layer(tmp_path / "aff", aff, (-5, 3, 0), (8, 8, 8))
    fields: dict[str, Any] = {"affinities": source, "leaf": (8, 8, 8)}

    def steps(name: str) -> Iterator[Stage]:
        layer = f"file://{tmp_path}/{name}"
        yield from (Watershed(layer=layer, **fields), Graph(layer=layer, histogram=True))

    calm_and_killed(tmp_path, steps)
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
