"""The phases of `segment flood` stay within the memory that they declare, measured in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.segment_flood import Auto
from tests import floods, layers
from tests.measuring import insist

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc"),
]
PHASES = {"fill": 0, "join": 1, "relabel": -1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes, a ``big`` one and a ``small`` one that warms a process up."""
    found = tmp_path_factory.mktemp("memory")
    for name, side in (("big", 160), ("small", 32)):
        truth = floods.tubes((side, side, side), step=40, thick=34)
        floods.stored(found / name, truth, chunk=(64, 64, 64))
        kept = np.ones((side, side, side, 1), np.uint8)
        layers.create(found / f"{name}-mask", kept, (0, 0, 0), (64, 64, 64), resolution=(8.0, 8.0, 8.0))
    return found


@pytest.mark.parametrize("which", [*PHASES, "fill by gradients", "fill twice, masked"])
def test_a_task_takes_no_more_memory_than_it_declares(folder: Path, which: str) -> None:
    def stage(name: str) -> Stage:
        fields: dict[str, Any] = {"cell": (128, 128, 128), "edges": f"file://{folder}/{name}/edges", "min_size": 50}
        if which == "fill by gradients":
            fields["edges"] = None
        if which == "fill twice, masked":
            fields |= {"consensus": True, "mask": f"file://{folder}/{name}-mask"}
        chain = Auto(image=f"file://{folder}/{name}/image", layer=f"file://{folder}/{name}-{which[:7]}", **fields)
        made = list[Stage]()
        for one in chain.steps(IO()):
            made.append(one)
            if which.startswith("fill"):
                one.prepare(IO())
                break
            run.inline(one)
        return made[PHASES.get(which, 0)]

    insist(which, *(stage(name) for name in ("big", "small")))
