"""Objects that are known are found, whatever the subvolumes, the order of tasks, and what happens to these."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.segment_flood import Auto, Fill, Join, Relabel
from tests import floods, layers
from tests.segmentations import canonical


def asked(folder: Path, name: str, labels: np.ndarray, offset: Vec3 = (0, 0, 0), **fields: Any) -> Auto:
    """The request to flood a scene."""
    sources = {"image": f"file://{folder}/image", "edges": f"file://{folder}/edges"}
    if not (folder / "image").exists():
        sources = floods.stored(folder, labels, offset)
    chosen: dict[str, Any] = {"cell": (32, 32, 32), "overlap": (12, 12, 12), "chunk": (16, 16, 16), "min_size": 20}
    return Auto(**{"layer": f"file://{folder}/{name}", **sources, **chosen, **fields})


def flooded(folder: Path, name: str, labels: np.ndarray, offset: Vec3 = (0, 0, 0), **fields: Any) -> np.ndarray:
    """What is found in a scene."""
    for stage in asked(folder, name, labels, offset, **fields).steps(IO()):
        run.inline(stage)
    return layers.whole(folder / name)[..., 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.tuples(*[st.integers(33, 70)] * 3), st.booleans())
def test_subvolumes_that_are_joined_give_the_objects_that_are_there(seed: int, shape: Vec3, twice: bool) -> None:
    truth = floods.tubes(shape, seed)
    with tempfile.TemporaryDirectory() as folder:
        for name, cell in (("one", (96, 96, 96)), ("many", (32, 32, 32)), ("other", (48, 16, 80))):
            found = flooded(Path(folder), name, truth, (-7, 3, 100), cell=cell, consensus=twice)
            assert np.array_equal(found, truth), name
