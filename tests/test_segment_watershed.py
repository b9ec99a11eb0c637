"""Supervoxels and their graph, leaf by leaf, are those of the whole volume by definition, for any leaves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import supervoxel_ids
from igneous_ng.segmentation import Supervoxels
from igneous_ng.stages.segment_graph import Graph
from igneous_ng.stages.segment_watershed import Watershed
from tests import segmentations
from tests.segmentations import Edge, Sets


def made(folder: Path, aff: np.ndarray, offset: Vec3 = (0, 0, 0), **fields: Any) -> str:
    """The supervoxels of ``aff`` and their graph, in a new layer ``folder/sv``."""
    source, layer = segmentations.layer(folder / "aff", aff, offset, (4, 4, 4)), f"file://{folder}/sv"
    chosen: dict[str, Any] = {"leaf": (8, 8, 8), "low": 0.3, "high": 0.8, **fields}
    run.inline(Watershed(affinities=source, layer=layer, **chosen))
    run.inline(Graph(layer=layer, histogram=True))
    return layer


def voxels(layer: str) -> np.ndarray:
    io = IO()
    volume = io.volume(layer, 0)
    return io.read(volume, volume.bounds)[..., 0]


def tables(layer: str, what: str) -> dict[Vec3, dict[str, np.ndarray]]:
    """A table of each leaf."""
    supervoxels = Supervoxels(IO(), layer)
    plan = supervoxels.plan
    return {plan.at(leaf): supervoxels.read(what, plan.at(leaf)) for leaf in plan.grid}


def joined(ids: np.ndarray, graphs: dict[Vec3, dict[str, np.ndarray]]) -> np.ndarray:
    """The basins, canonical: supervoxels joined by all edges that must be taken."""
    sets = Sets()
    for graph in graphs.values():
        for u, v in zip(graph["u"][graph["must"] > 0].tolist(), graph["v"][graph["must"] > 0].tolist(), strict=True):
            sets.join(u, v)
    names = {one: sets.root(one) for one in np.unique(ids).tolist()}
    return segmentations.canonical(np.vectorize(names.__getitem__, otypes=[np.uint64])(ids))


def rows(graphs: dict[Vec3, dict[str, np.ndarray]]) -> dict[tuple[int, int], tuple[int, ...]]:
    """All edges with their figures; bins last. An edge lies in one leaf or in several."""
    found = dict[tuple[int, int], Any]()
    for graph in graphs.values():
        figures = (graph[name].tolist() for name in ("sum", "num", "key", "max"))
        ends = zip(graph["u"].tolist(), graph["v"].tolist(), strict=True)
        assert graph["u"].tolist() == sorted(graph["u"].tolist())
        for pair, *one, bins in zip(ends, *figures, graph["bins"], strict=True):
            if old := found.get(pair):
                one = [old[0] + one[0], old[1] + one[1], min(old[2], one[2]), max(old[3], one[3])]
                bins = bins + np.array(old[4:])
            found[pair] = (*one, *bins.tolist())
    return found


def figures(edge: Edge) -> tuple[int, ...]:
    """What :func:`rows` should have of an edge."""
    bins = np.bincount(np.array(edge.values) // 8, minlength=32)
    return sum(edge.values), len(edge.values), edge.key, max(edge.values), *bins.tolist()


def check(aff: np.ndarray, offset: Vec3, leaf: Vec3, low: float, high: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layer = made(Path(folder), aff, offset, leaf=leaf, low=low, high=high)
        ids, graphs = voxels(layer), tables(layer, "graph")
        assert np.array_equal(joined(ids, graphs), segmentations.watershed(aff, low, high))
        wanted = segmentations.graph(ids, aff)
        assert rows(graphs) == {pair: figures(edge) for pair, edge in wanted.items()}


@settings(deadline=None, max_examples=12)
@given(
    shape=st.tuples(*[st.integers(1, 15)] * 3),
    levels=st.sampled_from([2, 4, 16, 256]),
    seed=st.integers(0, 2**32),
    offset=st.tuples(*[st.integers(-30, 30)] * 3),
    leaf=st.tuples(*[st.sampled_from([4, 8, 12, 16])] * 3),
    limits=st.sampled_from([(0.0, 1.0), (0.3, 0.8), (0.01, 0.99), (0.5, 0.501)]),
)
def test_basins_and_edges_are_those_of_the_whole_volume(
    shape: Vec3, levels: int, seed: int, offset: Vec3, leaf: Vec3, limits: tuple[float, float]
) -> None:
    check(segmentations.affinities(shape, levels, seed), offset, leaf, *limits)
