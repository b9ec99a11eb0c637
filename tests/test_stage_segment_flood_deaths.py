"""Flooding with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from igneous_ng.io import IO
from igneous_ng.stage import Stage
from tests import floods
from tests.killing import calm_and_killed
from tests.layers import files, whole
from tests.test_stage_segment_flood import asked

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    truth = floods.tubes((85, 70, 40), 7)

    def steps(name: str) -> Iterator[Stage]:
        return asked(tmp_path, name, truth, (-5, 3, 0), cell=(16, 16, 16), overlap=(10, 10, 10)).steps(IO())

    names = {name.split()[-1] for name in calm_and_killed(tmp_path, steps)}
    assert names == {"fill", "join", "spread", "relabel"}
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
    assert np.array_equal(whole(tmp_path / "killed")[..., 0], truth)
