"""Connected components with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.ccl import Auto
from tests.killing import calm_and_killed
from tests.layers import files
from tests.test_stage_ccl import load, store, whole

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    array = (np.random.default_rng(7).random((96, 96, 48)) < 0.3).astype(np.uint8)
    source = f"file://{tmp_path}/source"
    store(array, source, (-5, 3, 0), (8, 8, 8))

    def steps(name: str) -> Iterator[Stage]:
        layer = f"{tmp_path}/{name}"
        return Auto(source=source, layer=layer, cell=(8, 8, 8), connectivity=26, dust=3).steps(IO())

    names = calm_and_killed(tmp_path, steps)
    assert set(names) == {"ccl label", "ccl join", "ccl spread", "ccl rank", "ccl relabel"}
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
    labels = whole(array, 26)
    sizes = np.bincount(labels.ravel())
    kept = np.cumsum(sizes > 3) - (sizes[0] > 3)
    assert np.array_equal(
        load(f"file://{tmp_path}/killed"), np.where((sizes > 3)[labels] & (labels > 0), kept[labels], 0)
    )
