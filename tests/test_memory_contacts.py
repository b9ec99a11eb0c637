"""Steps of contacts stay within the memory that they declare, which does not grow with the volume; as `test_memory`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.renaming import Renaming
from igneous_ng.stage import Layer, Stage
from igneous_ng.stages.graph_contacts import Contacts
from tests.layers import create
from tests.measuring import insist

pytestmark = pytest.mark.long


def supervoxels(shape: Vec3, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    """Blocks of so many voxels, shifted from section to section, each of its own label."""
    x, y, z = np.meshgrid(*map(np.arange, shape), indexing="ij")
    places = ((x + z) // side, (y + z // 2) // side, z // side)
    found: np.ndarray[tuple[int, ...], np.dtype[np.uint64]] = (
        np.uint64(1)
        + places[0].astype(np.uint64)
        + np.uint64(1 << 20) * (places[1] + (1 << 20) * places[2]).astype(np.uint64)
    )
    return np.asfortranarray(found)


def steps(folder: Path, name: str, shape: Vec3, side: int, parts: int = 1) -> list[Stage]:
    """The steps of contacts, run, under new names."""
    labels = supervoxels(shape, side)
    create(folder / f"{name}.seg", labels[..., None], (0, 0, 0), (64, 64, 64), kind="segmentation")
    old = np.unique(labels)
    Renaming(IO(), f"file://{folder}/{name}.labels").split(old, old + np.uint64(1))
    chain = Contacts(segmentation=f"{folder}/{name}.seg", graph=f"{folder}/{name}.graph", cell=(128, 128, 128),
                     parts=parts, remap=Layer.parse(f"{folder}/{name}.labels"))  # fmt: skip
    found = list[Stage]()
    for stage in chain.steps(IO()):
        found.append(stage)
        run.inline(stage)
    return found


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("which", range(2))
def test_a_step_takes_no_more_memory_than_it_declares(tmp_path: Path, which: int) -> None:
    big = steps(tmp_path, "big", (128, 128, 128), 7)[which]  # 6,900 supervoxels
    small = steps(tmp_path, "small", (32, 32, 32), 8)[which]
    insist(which, *(big, small))


def test_many_times_the_pairs_need_no_more_memory(tmp_path: Path) -> None:
    peaks = dict[str, list[int]]()
    for name, cells in (("one", 1), ("many", 8)):
        for stage in steps(tmp_path, name, (128 * cells, 128, 16), 6, cells):
            units = [stage.peak_bytes(unit, IO()) for unit in stage.units(IO())]
            peaks.setdefault(stage.name, []).append(int(np.median(units)))
    assert all(many < 1.2 * one for one, many in peaks.values()), peaks
