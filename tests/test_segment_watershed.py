"""Supervoxels and their graph, leaf by leaf, are those of the whole volume by definition, for any leaves."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import IMAGE, new_info
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import region_graph, supervoxel_ids, watershed
from igneous_ng.segmentation import Supervoxels
from igneous_ng.stages.segment_graph import Graph
from igneous_ng.stages.segment_watershed import Watershed
from tests import layers, segmentations
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


PRIMES = (13, 11, 7)


@pytest.mark.parametrize("leaf", [(4, 4, 4), (8, 4, 12), (16, 12, 8)])
@pytest.mark.parametrize("levels", [4, 256])
def test_a_volume_of_primes_with_thin_last_leaves_at_a_negative_offset(leaf: Vec3, levels: int) -> None:
    check(segmentations.affinities(PRIMES, levels, sigma=0.7), (-5, 3, -100), leaf, 0.2, 0.9)


@pytest.mark.long
def test_leaves_that_are_primes(tmp_path: Path) -> None:
    aff = segmentations.affinities((29, 23, 17), 16)
    for leaf in ((29, 23, 17), (7, 11, 5), (13, 3, 17)):
        source = segmentations.layer(tmp_path / "aff", aff, (-1, -2, -3))
        layer = f"file://{tmp_path}/{leaf[0]}"
        run.inline(Watershed(affinities=source, layer=layer, leaf=leaf, chunk=leaf, low=0.2, high=0.9))
        run.inline(Graph(layer=layer))
        found = joined(voxels(layer), tables(layer, "graph"))
        assert np.array_equal(found, segmentations.watershed(aff, 0.2, 0.9))


def test_faces_that_are_all_or_nothing_give_connected_components(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    aff = np.asfortranarray(255 * (rng.random((20, 13, 9, 3)) < 0.25).astype(np.uint8))
    pairs = np.array([(p, q) for p, q, value, _ in segmentations.faces(aff) if value]).T
    size = aff[..., 0].size
    matrix = coo_array((np.ones(pairs.shape[1]), pairs), (size, size))
    found = connected_components(matrix, directed=False)[1].reshape(aff.shape[:3], order="F") + 1
    alone = np.bincount(found.ravel())[found] == 1
    layer = made(tmp_path, aff, low=0.5, high=0.501)
    assert np.array_equal(
        joined(voxels(layer), tables(layer, "graph")), segmentations.canonical(np.where(alone, 0, found))
    )


def test_a_binary_image_as_affinities_gives_what_cc3d_gives(tmp_path: Path) -> None:
    image = np.random.default_rng(5).random((19, 14, 11)) < 0.5
    layer = made(tmp_path, np.asfortranarray(255 * ~image[..., np.newaxis]).astype(np.uint8), low=0.5, high=0.501)
    whole: Any = cc3d.connected_components(np.asfortranarray(image), connectivity=6)
    alone = np.bincount(whole.ravel())[whole] == 1
    found = joined(voxels(layer), tables(layer, "graph"))
    assert np.array_equal(found, segmentations.canonical(np.where(alone, 0, whole)))


def test_pieces_tell_ids_sizes_faces_and_first_voxels(tmp_path: Path) -> None:
    layer = made(tmp_path, segmentations.affinities((20, 13, 9)), (7, -8, 0))
    ids, plan = voxels(layer), Supervoxels(IO(), layer).plan
    flat = ids.ravel(order="F")
    for at, pieces in tables(layer, "pieces").items():
        box = plan.box(at)
        leaf = ids[box.slices(plan.bounds.lo)]
        count = len(pieces["id"])
        assert pieces["id"].tolist() == [supervoxel_ids.first(at, plan.bits) + i + 1 for i in range(count)]
        assert np.array_equal(np.unique(leaf[leaf > 0]), pieces["id"])
        order = leaf.ravel(order="F")
        assert np.unique(order[order > 0], return_index=True)[1].argsort().tolist() == list(range(count))
        for one, size, faces, first in zip(*(pieces[name] for name in ("id", "size", "faces", "first")), strict=True):
            inside = leaf == one
            touched = [np.take(inside, side, axis).any() for axis in range(3) for side in (0, -1)]
            assert (inside.sum(), sum(1 << i for i, there in enumerate(touched) if there)) == (size, faces)
            assert np.flatnonzero(flat == one)[0] == first


def test_nodes_are_supervoxels_to_which_nothing_was_joined(tmp_path: Path) -> None:
    layer = made(tmp_path, segmentations.affinities((12, 9, 9)))
    pieces = tables(layer, "pieces")
    for at, graph in tables(layer, "graph").items():
        assert np.array_equal(graph["id"], pieces[at]["id"])
        assert np.array_equal(graph["size"], pieces[at]["size"])
        assert set(graph["reach"]) <= {0}
        assert set(graph["parts"]) <= {1}
        assert set(graph["weakest"]) <= {256.0}
        assert list(graph)[:5] == ["id", "size", "reach", "parts", "weakest"]
        assert list(graph)[5:] == ["u", "v", "sum", "num", "key", "must", "max", "bins"]


def test_bins_are_there_only_where_wanted(tmp_path: Path) -> None:
    layer = made(tmp_path, segmentations.affinities((9, 9, 9)))
    before = tables(layer, "graph")
    run.inline(Graph(layer=layer))
    for at, graph in tables(layer, "graph").items():
        assert before[at].keys() - graph.keys() == {"bins"}
        assert all(np.array_equal(graph[name], before[at][name]) for name in graph)


def test_leaves_without_any_affinity(tmp_path: Path) -> None:
    aff = segmentations.affinities((20, 9, 9))
    aff[7:, :, :, :] = 0
    layer = made(tmp_path, aff)
    pieces = tables(layer, "pieces")
    assert [len(pieces[x, 0, 0]["id"]) > 0 for x in range(3)] == [True, False, False]
    assert np.array_equal(joined(voxels(layer), tables(layer, "graph")), segmentations.watershed(aff, 0.3, 0.8))
    assert Watershed(affinities=f"file://{tmp_path}/aff", layer=layer).said(IO()).endswith("are in none")


def test_chunks_that_are_missing_are_boundary_only_where_that_is_asked_for(tmp_path: Path) -> None:
    aff = segmentations.affinities((16, 8, 8))
    source = segmentations.layer(tmp_path / "aff", aff, (0, 0, 0), (4, 4, 4))
    aff[4:8, :4, :4] = 0
    (tmp_path / "aff" / "8_8_8" / "4-8_0-4_0-4").unlink(missing_ok=True)
    (tmp_path / "aff" / "8_8_8" / "4-8_0-4_0-4.gz").unlink(missing_ok=True)
    fields: dict[str, Any] = {"affinities": source, "leaf": (8, 8, 8), "low": 0.3, "high": 0.8}
    with pytest.raises(DataError, match="fill-missing"):
        run.inline(Watershed(layer=f"file://{tmp_path}/strict", **fields))
    layer = f"file://{tmp_path}/filled"
    run.inline(Watershed(layer=layer, fill_missing=True, **fields))
    run.inline(Graph(layer=layer, histogram=True))
    ids, graphs = voxels(layer), tables(layer, "graph")
    assert np.array_equal(joined(ids, graphs), segmentations.watershed(aff, 0.3, 0.8))
    assert rows(graphs) == {pair: figures(edge) for pair, edge in segmentations.graph(ids, aff).items()}


@pytest.mark.parametrize("leaf", [(4, 4, 4), (8, 16, 4), (24, 16, 12)])
def test_what_a_mask_leaves_out_has_no_affinity_with_anything(tmp_path: Path, leaf: Vec3) -> None:
    aff, lo = segmentations.affinities((18, 14, 10), 16, sigma=0.7), (-4, 2, 8)
    coarse = np.random.default_rng(6).integers(0, 3, (9, 7, 5, 1)).astype(np.uint8)
    coarse[6:] = 0  # whole leaves
    layers.create(tmp_path / "mask", coarse, (-2, 1, 4), resolution=(16.0, 16.0, 16.0))
    kept = np.repeat(np.repeat(np.repeat(coarse[..., 0] == 2, 2, 0), 2, 1), 2, 2)
    layer = made(tmp_path, aff, lo, leaf=leaf, mask=str(tmp_path / "mask"), mask_labels=(2,))
    aff[~kept] = 0
    for axis in range(3):
        np.moveaxis(aff[..., axis], axis, 0)[1:][~np.moveaxis(kept, axis, 0)[:-1]] = 0
    ids, graphs = voxels(layer), tables(layer, "graph")
    assert np.array_equal(joined(ids, graphs), segmentations.watershed(aff, 0.3, 0.8))
    assert rows(graphs) == {pair: figures(edge) for pair, edge in segmentations.graph(ids, aff).items()}


def test_any_order_and_repetition_leave_the_same_bytes(tmp_path: Path) -> None:
    layer = made(tmp_path, segmentations.affinities((20, 13, 9), 16))
    before = layers.files(tmp_path / "sv")
    fields: dict[str, Any] = {"leaf": (8, 8, 8), "low": 0.3, "high": 0.8}
    for stage in (
        Watershed(affinities=f"file://{tmp_path}/aff", layer=layer, **fields),
        Graph(layer=layer, histogram=True),
    ):
        units = list(stage.units(IO()))
        for index in np.random.default_rng(1).permutation(np.repeat(np.arange(len(units)), 2)).tolist():
            stage.execute(units[index], IO())
    assert layers.files(tmp_path / "sv") == before


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), before=st.tuples(*[st.booleans()] * 3), base=st.sampled_from([0, 7, 2**60]))
def test_edges_of_any_counted_regions(seed: int, before: tuple[bool, bool, bool], base: int) -> None:
    rng = np.random.default_rng(seed)
    shape, lo = vec(rng.integers(1, 9, 3)), vec(int(b) for b in before)
    bounds = Box((0, 0, 0), vec(n + b for n, b in zip(shape, lo, strict=True)))
    leaf = Box(lo, bounds.hi)
    ids = np.zeros(bounds.shape, np.uint64, order="F")
    own = rng.integers(0, leaf.voxels, leaf.shape).astype(np.uint64)
    ids[:] = rng.choice(np.array([0, 3, 1 << 58, (1 << 62) + 5], np.uint64), ids.shape)
    ids[leaf.slices()] = np.where(own > 0, own + np.uint64(base), 0)
    aff = segmentations.affinities(bounds.shape, 16, seed, 0.5)
    around = np.zeros((*(n + 4 for n in shape), 3), np.uint8, order="F")
    around[tuple(slice(2 - a, -2) for a in lo)] = aff
    cuts = sorted({lo[2], *rng.integers(lo[2], bounds.hi[2], 2).tolist(), bounds.hi[2]})
    slices = [ids[:, :, max(a - 1, 0) : b] for a, b in pairwise(cuts)]
    regions = region_graph.Regions(base + 1, leaf.voxels - 1, slices)
    found = region_graph.edges(around, regions, watershed.limits(0.3, 0.8), leaf, bounds, True)
    flat, first = ids.ravel(order="F").tolist(), np.arange(ids.size).reshape(ids.shape, order="F")[leaf.slices()]
    mine, wanted = set(first.ravel().tolist()), dict[tuple[int, int], Edge]()
    for p, q, value, face in segmentations.faces(aff):
        one, other = sorted((flat[p], flat[q]))
        if p in mine and one and one != other:
            edge = wanted.setdefault((one, other), Edge([], face))
            edge.values.append(value)
    assert rows({(0, 0, 0): found}) == {pair: figures(edge) for pair, edge in wanted.items()}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"low": 0.5, "high": 0.5}, "low < high"),
        ({"low": -0.1}, "0 <= low"),
        ({"high": 1.5}, "<= 1"),
        ({"leaf": (8, 0, 8)}, "at least 1 voxel"),
        ({"chunk": (0, 8, 8)}, "at least 1 voxel"),
        ({"layer": "/a"}, "holds the affinities"),
        ({"mask_mip": 1}, "no mask"),
    ],
)
def test_senseless_fields_are_refused(fields: dict[str, Any], words: str) -> None:
    chosen: dict[str, Any] = {"affinities": "/a", "layer": "/b", **fields}
    with pytest.raises(SpecError, match=words):
        Watershed(**chosen)


def test_leaves_whose_supervoxels_ids_cannot_count_are_refused(tmp_path: Path) -> None:
    bounds = Box((0, 0, 0), (2048, 2048, 2048))
    info = new_info(kind=IMAGE, dtype="uint8", channels=3, bounds=bounds, resolution=(8, 8, 8), chunk=(64, 64, 64),
                    encoding="raw")  # fmt: skip
    aff, layer = f"file://{tmp_path}/aff", f"file://{tmp_path}/sv"
    IO().create_layer(aff, info)
    run.plan(Watershed(affinities=aff, layer=layer, leaf=(512, 512, 512), memory=10**10))
    with pytest.raises(SpecError, match=r"67,108,863 supervoxels.*smaller --leaf"):
        run.plan(Watershed(affinities=aff, layer=layer, leaf=(1024, 512, 512), memory=10**10))


def test_what_are_no_affinities_or_were_begun_otherwise_is_refused(tmp_path: Path) -> None:
    layer = made(tmp_path, segmentations.affinities((9, 9, 9)))
    with pytest.raises(SpecError, match="channels"):
        run.plan(Watershed(affinities=layer, layer=f"file://{tmp_path}/other"))
    with pytest.raises(SpecError, match=r"low 0\.3 there, 0\.2 asked for"):
        run.inline(Watershed(affinities=f"file://{tmp_path}/aff", layer=layer, leaf=(8, 8, 8), low=0.2, high=0.8))


def test_no_graph_before_there_are_supervoxels(tmp_path: Path) -> None:
    source, layer = segmentations.layer(tmp_path / "aff", segmentations.affinities((9, 9, 9))), f"file://{tmp_path}/sv"
    with pytest.raises(DataError, match="run `segment watershed` first"):
        run.plan(Graph(layer=layer))
    shed = Watershed(affinities=source, layer=layer)
    shed.prepare(IO())
    shed.execute(shed.units(IO())[0], IO())
    with pytest.raises(DataError, match="has not finished"):
        run.inline(Graph(layer=layer))


def test_what_people_and_records_are_told(tmp_path: Path) -> None:
    aff = segmentations.affinities((20, 9, 9))
    layer = made(tmp_path, aff)
    ids, graphs = voxels(layer), tables(layer, "graph")
    shed = Watershed(affinities=f"file://{tmp_path}/aff", layer=layer, leaf=(8, 8, 8), low=0.3, high=0.8)
    count = len(np.unique(ids[ids > 0]))
    assert shed.said(IO()).startswith(f"{count} supervoxels of {(ids > 0).sum() / count:.3g} voxels, the largest of ")
    assert shed.said(IO()).endswith(f"; {(ids == 0).mean():.1%} of voxels are in none")
    total, must = (sum(int(graph[name].sum()) for graph in graphs.values()) for name in ("num", "must"))
    edges = sum(len(graph["u"]) for graph in graphs.values())
    assert Graph(layer=layer).said(IO()) == f"{edges:,} edges; {must} join basins across the faces of leaves"
    noted = layers.notes(tmp_path / "sv")
    assert [sum(note[name] for note in noted) for name in ("edges", "faces", "must")] == [edges, total, must]
    assert Graph(layer=layer).inputs(IO()) == (f"file://{tmp_path}/aff", layer)
