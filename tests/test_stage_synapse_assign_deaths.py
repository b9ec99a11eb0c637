"""A table of synapses with every phase killed in its middle: the bytes are those of a run that nobody disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from igneous_ng.io import IO
from igneous_ng.stage import Layer, Stage
from igneous_ng.stages.synapse_assign import Assign
from tests import assigned
from tests.killing import calm_and_killed
from tests.layers import files

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_every_phase_killed_leaves_the_same_bytes(tmp_path: Path) -> None:
    made = assigned.scene(tmp_path)
    assigned.image(tmp_path / "both", np.stack([made.pre, made.post], axis=-1))

    def steps(name: str) -> Iterator[Stage]:
        return Assign(clefts=f"{tmp_path}/clefts", segmentation=f"{tmp_path}/seg", table=f"{tmp_path}/{name}",
                      sides="channels", evidence=Layer(f"file://{tmp_path}/both"), radius=24.0, polyadic=0.1,
                      merge_distance=120.0, cell=(16, 16, 16), block=16).steps(IO())  # fmt: skip

    names = calm_and_killed(tmp_path, steps)
    assert set(names) == {"synapse contacts", "synapse partners", "synapse merge join", "synapse merge spread",
                          "synapse table"}  # fmt: skip
    assert files(tmp_path / "killed") == files(tmp_path / "calm")
