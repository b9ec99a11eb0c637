"""Supervoxels and their graph take no more memory than is declared, and no more than a machine has for large leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.formats.info import IMAGE, new_info
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.segmentation import Supervoxels
from igneous_ng.stage import Layer, Stage, to_dict
from igneous_ng.stages.segment_graph import Graph
from igneous_ng.stages.segment_watershed import Watershed
from tests import layers, segmentations
from tests.measuring import MEASURE

BIG, SMALL = (192, 192, 160), (32, 32, 32)
LEAF = (512, 512, 512)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Affinities ``smooth``, ``noise`` and ``boundary``, each also ``-small`` to import every library, and a mask."""
    folder = tmp_path_factory.mktemp("memory")
    for more, shape in (("", BIG), ("-small", SMALL)):
        smooth = segmentations.affinities(shape, sigma=2)
        noise = np.asfortranarray(np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8))
        segmentations.layer(folder / f"smooth{more}", smooth, chunk=(64, 64, 32))
        segmentations.layer(folder / f"noise{more}", noise, chunk=(64, 64, 32))
        boundary = (smooth[..., :1] / 255).astype(np.float32)
        segmentations.layer(folder / f"boundary{more}", boundary, chunk=(64, 64, 32))
    tissue = np.ones((96, 96, 80, 1), np.uint8)
    tissue[40:, 50:] = 0
    layers.create(folder / "mask", tissue, (0, 0, 0), (32, 32, 32), resolution=(16.0, 16.0, 16.0))
    return folder


def stage(folder: Path, which: str, name: str) -> Stage:
    """The stage ``which``, all before it being done."""
    mask = Layer(f"file://{folder}/mask") if which.endswith("masked") else None
    made = Watershed(affinities=str(folder / name), layer=f"{folder}/{which}/{name}", leaf=LEAF, mask=mask)
    if which.startswith("watershed"):
        made.prepare(IO())
        return made
    run.inline(made)
    return Graph(layer=made.layer, histogram=which == "graph-bins")


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("name", ["smooth", "noise", "boundary"])
@pytest.mark.parametrize("which", ["watershed", "watershed-masked", "graph", "graph-bins", "graph-masked"])
def test_a_task_takes_no_more_memory_than_it_declares(folder: Path, which: str, name: str) -> None:
    words = [json.dumps(to_dict(stage(folder, which, one))) for one in (name, f"{name}-small")]
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, check=True)
    taken, declared = json.loads(done.stdout)
    print(f"{which} {name}: {taken / 1e6:.0f} of {declared / 1e6:.0f} MB")  # noqa: T201 - shown with -s
    assert 0 < taken <= declared, f"{which} took {taken / 1e6:.0f} MB and declares {declared / 1e6:.0f} MB"


def empty(folder: Path, shape: Vec3) -> str:
    """A layer of affinities without any chunk."""
    bounds = Box.sized((0, 0, 0), shape)
    info = new_info(kind=IMAGE, dtype="uint8", channels=3, bounds=bounds, resolution=(8, 8, 8), chunk=(64, 64, 64),
                    encoding="raw")  # fmt: skip
    IO().create_layer(f"file://{folder}/aff", info)
    return f"file://{folder}/aff"


def test_a_leaf_of_512_voxels_a_side_fits_into_6_and_4_gigabytes(tmp_path: Path) -> None:
    layer, io = f"file://{tmp_path}/sv", IO()
    shed = Watershed(affinities=empty(tmp_path, (600, 600, 600)), layer=layer, leaf=LEAF)
    shed.prepare(io)
    unit = shed.units(io)[0]
    assert unit.shape == LEAF
    assert shed.peak_bytes(unit, io) <= 6e9
    count = unit.voxels // 60  # the mean of 140 voxels is usual
    pieces = {"id": np.uint64, "size": np.int64, "faces": np.uint8, "first": np.int64}
    Supervoxels(io, layer).put("pieces", (0, 0, 0), {name: np.zeros(count, dtype) for name, dtype in pieces.items()})
    assert Graph(layer=layer).peak_bytes(unit, io) <= 4e9
