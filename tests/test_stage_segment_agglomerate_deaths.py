"""An agglomeration with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.segment_agglomerate import Agglomerate
from tests import segmentations, supervoxels
from tests.killing import calm_and_killed
from tests.layers import files

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    aff = segmentations.affinities((22, 18, 15), 16)

    def steps(name: str) -> Iterator[Stage]:
        made = supervoxels.make(f"file://{tmp_path}/{name}", IO(), aff, (4, 4, 4))
        chain = Agglomerate(layer=made.layer, thresholds=(0.7, 0.5), fan=3, guard_size=20, guard_threshold=0.6)
        return chain.steps(IO())

    names = calm_and_killed(tmp_path, steps, ("segment decide",))
    assert set(names) == {"segment merge", "segment spread"}
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
