"""Steps of a graph stay within the memory that they declare, which does not grow with the table; as `test_memory`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.renaming import Renaming
from igneous_ng.stage import Layer, Stage
from igneous_ng.stages.graph_build import Build, Take
from tests.measuring import insist
from tests.synaptic import table

pytestmark = pytest.mark.long


def steps(folder: Path, name: str, count: int, side: int, parts: int = 1) -> list[Stage]:
    """The steps of a graph, run, of so many synapses in a cube, in cells of 128 voxels, under new names."""
    rows = table(f"file://{folder}/{name}.table", count, 20_000, box=Box((0, 0, 0), (side, 128, 128)), block=128)
    old = np.unique(np.concatenate([rows["pre"], rows["post"]]))
    Renaming(IO(), f"file://{folder}/{name}.labels").split(old[1:], old[1:] + np.uint64(1))
    chain = Build(table=f"{folder}/{name}.table", graph=f"{folder}/{name}.graph", cell=128, parts=parts,
                  remap=Layer.parse(f"{folder}/{name}.labels"))  # fmt: skip
    found = list[Stage]()
    for stage in chain.steps(IO()):
        found.append(stage)
        run.inline(stage)
    return found


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("which", range(3))
def test_a_step_takes_no_more_memory_than_it_declares(tmp_path: Path, which: int) -> None:
    big, small = (steps(tmp_path, name, n, 128)[which] for name, n in (("big", 400_000), ("small", 1000)))
    insist(which, *(big, small))


def test_many_times_the_synapses_need_no_more_memory(tmp_path: Path) -> None:
    peaks = dict[str, list[int]]()
    for name, cells in (("one", 1), ("many", 16)):
        io, found = IO(), steps(tmp_path, name, 20_000 * cells, 128 * cells, cells)
        for stage in found:
            units = [stage.peak_bytes(unit, io) for unit in stage.units(io)]
            usual = max(units) if isinstance(stage, Take) else int(np.median(units))  # a part may have a hub
            peaks.setdefault(stage.name, []).append(usual)
    assert all(many < 1.1 * one for one, many in peaks.values()), peaks
