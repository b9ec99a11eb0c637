"""A node of an agglomeration stays within the memory that it declares, and needs no more where the volume is longer."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.affinities import Affinities
from igneous_ng.agglomerating import Step
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import supervoxel_ids
from igneous_ng.segmentation import Agglomeration, Plan, Supervoxels
from igneous_ng.stage import Stage
from igneous_ng.stages.segment_agglomerate import Decide, Merge, Spread
from tests import segmentations, supervoxels
from tests.measuring import insist
from tests.supervoxels import Memory


def lattice(side: int) -> dict[str, np.ndarray]:
    """Regions in a cube, each joined with those beside it, random affinities; of a first leaf of two along x."""
    rng, at = np.random.default_rng(0), np.arange(side**3).reshape((side,) * 3)
    steps = [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
    ends = [(at[: side - x, : side - y, : side - z], at[x:, y:, z:]) for x, y, z in steps]
    pairs = np.concatenate([np.stack([u.ravel(), v.ravel()]) for u, v in ends], axis=1)
    u, v = pairs[:, np.lexsort(pairs[::-1])]
    num = rng.integers(1, 200, len(u))
    mean = rng.beta(2, 2, len(u)) * 255
    ids = supervoxel_ids.first((0, 0, 0), supervoxel_ids.FEWEST) + 1 + np.arange(side**3, dtype=np.uint64)
    nothing, bins = np.zeros(side**3, np.int64), np.zeros((len(u), 32), np.int32)
    bins[np.arange(len(u)), (mean // 8).astype(np.int64)] = num
    nodes = {"id": ids, "size": nothing + 20, "reach": nothing, "parts": nothing + 1, "weakest": nothing + 256.0}
    sums = {"sum": (mean * num).astype(np.int64), "num": num, "key": rng.permutation(len(u))}
    flags = {"must": np.zeros(len(u), np.uint8), "max": mean.astype(np.uint8), "bins": bins}
    return {**nodes, "u": ids[u], "v": ids[v], **sums, **flags}


def begun(folder: Path, side: int, binned: bool) -> str:
    """A layer of two leaves, one of them empty."""
    layer, graph = f"file://{folder}", lattice(side)
    known = Supervoxels(IO(), layer)
    known.begin(Plan(Affinities("file:///nowhere", 0), Box((0, 0, 0), (128, 64, 64)), (64, 64, 64), 0.0, 1.0, {}))
    for x in range(2):
        rows = {name: column[: None if x == 0 else 0] for name, column in graph.items() if binned or name != "bins"}
        touched = np.full(len(rows["id"]), 2, np.uint8)  # the worst: all are known in part, and go up
        known.put("graph", (x, 0, 0), rows)
        known.put(
            "pieces", (x, 0, 0), {"id": rows["id"], "size": rows["size"], "faces": touched, "first": rows["size"]}
        )
    known.done("graph")
    return layer


def staged(folder: Path, side: int, which: str) -> Stage:
    """A stage whose first unit has the tables of a lattice."""
    linkage = "quantile:0.5" if which.endswith("bins") else "mean"
    layer = begun(folder, side, which.endswith("bins"))
    thresholds = (0.5,) if which == "segments" else (0.9, 0.5)
    run.inline(Decide(layer=layer, thresholds=thresholds, linkage=linkage))
    stages: list[Stage] = [Merge(layer=layer, level=0), Merge(layer=layer, level=1), Spread(layer=layer, level=0)]
    last = {"leaf": 0, "leaf bins": 0, "node": 1}.get(which, 2)
    for stage in stages[:last]:
        run.inline(stage)
    return stages[last]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("which", ["leaf", "leaf bins", "node", "graph", "graph bins", "segments"])
def test_a_node_takes_no_more_memory_than_it_declares(tmp_path: Path, which: str) -> None:
    insist(which, *(staged(tmp_path / name, side, which) for name, side in (("big", 40), ("small", 4))))


def worst(leaves: int) -> tuple[int, int, int]:
    """Of an agglomeration of so many leaves in a row: edges, the most that a node has, and the most bytes it holds."""
    aff = segmentations.affinities((8 * leaves, 8, 8), 256, 5, 0.7)
    made = supervoxels.make("file:///m", Memory(), aff, (8, 8, 8))
    fields: dict[str, Any] = {"thresholds": (0.7, 0.55), "guard_size": 300, "guard_threshold": 0.6}
    made.known.decide(Agglomeration(name="default", **fields))
    edges = sum(len(made.known.read("graph", at)["u"]) for at in made.leaves)
    most, held = [], []
    for number in range(2):
        step = Step(made.io, made.layer, "default", number)
        up = [(step.merge, level) for level in range(step.tree.top + 1)]
        down = [(step.spread, level) for level in range(step.tree.top - 1, -1, -1)]
        for work, level in [*up, *down]:
            for index in range(step.tree.nodes(level).voxels):
                at = step.tree.at(level, index)
                tracemalloc.start()
                work(level, at)
                held.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
                most.append(made.io.ledger.notes["edges"])
    return edges, max(most), max(held)


@pytest.mark.long
def test_ten_times_the_edges_need_no_larger_node() -> None:
    edges, most, held = worst(8)
    more_edges, still, more_held = worst(80)
    assert more_edges > 9.5 * edges > 5 * most
    assert still < 1.2 * most
    assert more_held < 1.2 * held
    print(f"{edges} edges: {most}, {held} bytes; {more_edges}: {still}, {more_held} bytes")  # noqa: T201 - shown with -s
