"""Bringing a volume to another stays within the memory that its stages declare, measured in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.formats import points
from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.coregister_fit import Fit
from igneous_ng.stages.coregister_match import Matching
from igneous_ng.stages.coregister_points import Points
from igneous_ng.stages.coregister_render import Render
from igneous_ng.stages.coregister_rough import Rough
from tests.coregistered import VOXEL, about, layer, scenery
from tests.measuring import insist

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")
SMALL, BIG = (28, 28, 28), (160, 150, 140)
TURN = about(np.array(BIG) * VOXEL / 2, 20, 1.05, 4)


def begun(folder: Path, shape: tuple[int, int, int]) -> dict[str, Stage]:
    """Each stage, after those before it; the volume is turned, so that windows are read from larger boxes."""
    voxels = scenery(shape).astype(np.uint16)
    voxels[:9, :9, :9] = 0  # no tissue: masks are made
    names = [layer(folder / name, np.stack([voxels] * 2, axis=-1), mips=0) for name in ("moving", "fixed")]
    home, big = str(folder / "co"), shape == BIG
    matrix = tuple(np.ravel(TURN.to_json()).tolist())
    run.inline(Rough(moving=names[0], fixed=names[1], folder=home, matrix=matrix))
    block, step = ((40, 40, 40), (20, 20, 20)) if big else ((8, 8, 8), (4, 4, 4))
    matching = Matching(folder=home, block=block, step=step, search=(4, 4, 4))
    matching.prepare(IO())
    url = f"file://{home}/rounds/1/matches"
    volume = IO().volume(url, 0)
    rows = np.zeros((*volume.bounds.shape, 7), np.float32)
    rows[..., :3] = np.random.default_rng(0).normal(0, 0.1, rows[..., :3].shape)
    rows[..., 5] = 0.1
    IO().write(volume, volume.bounds, rows)
    run.inline(Fit(folder=home))
    table = np.zeros(40_000 if big else 10, points.POINT)
    table["at"] = np.random.default_rng(1).uniform(0, shape[0] * VOXEL, (len(table), 3))
    (folder / "a.csv").write_bytes(points.encode(table))
    return {
        "rough": Rough(moving=names[0], fixed=names[1], folder=str(folder / "new"), overlap=0.05),
        "match": matching,
        "fit": Fit(folder=home),
        "render": Render(folder=home, layer=str(folder / "shown"), round=1),
        "render little": Render(folder=home, layer=str(folder / "little"), round=1, memory=200_000_000),
        "points": Points(folder=home, file=str(folder / "a.csv"), out=str(folder / "b.csv"), round=1),
    }


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Stage], dict[str, Stage]]:
    folder = tmp_path_factory.mktemp("memory")
    return begun(folder / "big", BIG), begun(folder / "small", SMALL)


@pytest.mark.long
@pytest.mark.parametrize("which", ["rough", "match", "fit", "render", "render little", "points"])
def test_a_task_takes_no_more_memory_than_it_declares(
    stages: tuple[dict[str, Stage], dict[str, Stage]], which: str
) -> None:
    both = [one[which] for one in stages]
    for stage in both:
        run.plan(stage)
        stage.prepare(IO())
    insist(which, *both)
