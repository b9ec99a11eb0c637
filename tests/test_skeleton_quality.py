"""How good skeletons are, on real labels: against a tracing, against kimimaro, against themselves undivided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng.formats import skeleton, swc
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import components as parts
from igneous_ng.kernels import skeletonising as sk
from igneous_ng.kernels.skeleton_tracing import RULES, Method, trace
from igneous_ng.stage import Layer
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from tests.data import data
from tests.test_forging import make_layer, run

pytestmark = [pytest.mark.long, pytest.mark.timeout(3000)]
Array = npt.NDArray[Any]
RESOLUTION = (16.0, 16.0, 40.0)
DEFAULT = dict(zip(RULES, (1.5, 300.0, 100_000.0, 4, 750.0, 3500.0, 2.0, 300.0, 0), strict=True))
Figures = tuple[int, float, int, int]


def pinky() -> Array:
    with np.load(data("pinky40", "seg_mip1_16x16x40.npz")) as file:
        labels: Array = file["labels"]
    return labels


def test_a_traced_neurite_is_found_again_with_each_of_its_branches() -> None:
    import tifffile
    from scipy.spatial import cKDTree

    mask = tifffile.imread(data("skeleton", "neurotorch_mask.tif")).T > 0
    points, edges, _, _ = swc.decode(data("skeleton", "neurotorch_traced.swc").read_bytes(), "traced")
    points = points / 1000  # its units are voxels
    points[:, 1] = mask.shape[1] - 1 - points[:, 1]
    inside = parts.painted(mask.view(np.uint8), 26)
    neurite = inside == inside[tuple(points[0].astype(int))]
    rules = {**DEFAULT, "scale": 2.0, "const": 20.0, "soma_detection_threshold": 1e6}
    tree = trace(neurite.astype(np.uint32), (1.0, 1.0, 1.0), Method(rules))[0][1]

    def branches(vertices: Array, edges: Array) -> Array:
        return vertices[np.bincount(edges.ravel(), minlength=len(vertices)) > 2]

    for one, other in ((points, tree.vertices), (tree.vertices, points)):
        away = cKDTree(other).query(one)[0]
        assert np.median(away) <= 1
        assert np.quantile(away, 0.95) < 2
        assert away.max() < 20
    traced, ours = branches(points, edges), branches(tree.vertices, tree.edges)
    assert len(traced) == len(ours) == 18
    assert cKDTree(ours).query(traced)[0].max() <= 10
    lengths = [sk.figures(v.astype(float), e)[1] for v, e in ((points, edges), (tree.vertices, tree.edges))]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.02)


def test_kimimaro_draws_as_much() -> None:
    kimimaro = pytest.importorskip("kimimaro")
    labels = np.array(pinky()[128:384, 128:384, 128:384], order="F")
    ours = trace(labels, RESOLUTION, Method(DEFAULT))[0]
    rules = {key: value for key, value in DEFAULT.items() if key != "max_paths"}
    theirs = kimimaro.skeletonize(
        labels, teasar_params=rules, anisotropy=RESOLUTION, dust_threshold=0, progress=False, fix_borders=True
    )
    assert set(ours) == {int(label) for label in theirs}
    figures = []
    for label, other in theirs.items():
        tree = ours[int(label)]
        own = sk.figures(tree.vertices * np.array(RESOLUTION), tree.edges)
        figures.append((*own, *sk.figures(other.vertices.astype(float), other.edges.astype(np.int64))))
    table = np.array(figures)
    assert (table[:, 0] == table[:, 4]).all()
    total = table.sum(axis=0)
    assert total[1] == pytest.approx(total[5], rel=0.02)
    assert total[2] == pytest.approx(total[6], rel=0.05)
    assert total[3] == pytest.approx(total[7], rel=0.03)
    long = table[table[:, 5] > 3000]
    assert len(long) > 200
    assert np.median(np.abs(long[:, 1] / long[:, 5] - 1)) < 0.02


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    """The whole of it, in cells of 256^3 as ``cells`` and undivided as ``whole``."""
    layer = make_layer(tmp_path_factory.mktemp("quality"), pinky(), (0, 0, 0), RESOLUTION)
    for folder, side in (("cells", 256), ("whole", 512)):
        run(SkeletonForge(layer=layer, dir=folder, cell=(side, side, side)))
        run(SkeletonMerge(layer=layer, dir=folder))
    return layer


def skeletons(layer: Layer, folder: str) -> dict[int, skeleton.Graph]:
    io, place = IO(), f"{layer}/{folder}"
    info = io.get_json(f"{place}/info")
    assert info is not None
    found = {}
    for name in io.list(place):
        if name.isdigit():
            stored = io.get(f"{place}/{name}")
            assert stored is not None
            found[int(name)] = skeleton.decode(stored, name, info["vertex_attributes"])
    return found


@pytest.fixture(scope="module")
def whole_labels() -> set[int]:
    """The labels that are one part."""
    labels = pinky()
    components = parts.painted(labels, 26).ravel("F")
    first = np.unique(components, return_index=True)[1]
    names, counts = np.unique(labels.ravel("F")[first][1:], return_counts=True)
    return set(names[counts == 1].tolist())


def test_vertices_lie_inside_and_connected_labels_in_one_part(layer: Layer, whole_labels: set[int]) -> None:
    labels, found = pinky(), skeletons(layer, "cells")
    assert len(found) > 2400
    hits, vertices = 0, 0
    for label, graph in found.items():
        voxels = np.floor(graph.vertices / RESOLUTION).astype(int)
        hits += int(np.count_nonzero(labels[tuple(voxels.T)] == label))
        vertices += len(voxels)
        figures = sk.figures(graph.vertices.astype(float), graph.edges)
        assert len(graph.edges) == len(graph.vertices) - figures[0]  # no loops
        assert figures[0] == 1 or label not in whole_labels
    assert hits / vertices > 0.9997


def test_a_hundred_neurites_are_as_long_and_as_branched_when_divided(layer: Layer, whole_labels: set[int]) -> None:
    cells, whole = skeletons(layer, "cells"), skeletons(layer, "whole")

    def figures(graph: skeleton.Graph, tick: float) -> Figures:
        points, edges = graph.vertices.astype(float), graph.edges.astype(np.int64)
        used, kept = np.unique(sk.without_twigs(points, edges, tick), return_inverse=True)
        return sk.figures(points[used], kept.reshape(-1, 2))

    both = sorted(whole_labels & cells.keys() & whole.keys(), key=lambda label: (-len(whole[label].vertices), label))
    table = np.array([(*figures(cells[n], 500.0), *figures(whole[n], 500.0)) for n in both[:100]])
    total = table.sum(axis=0)
    assert (table[:, 0] == 1).all()
    assert total[1] == pytest.approx(total[5], rel=0.02)
    assert total[2] == pytest.approx(total[6], rel=0.06)
    ratio = table[:, 1] / table[:, 5]
    assert 0.98 < np.median(ratio) < 1.02
    assert np.quantile(np.abs(ratio - 1), 0.9) < 0.06


def test_bytes_are_the_same_again(tmp_path: Path) -> None:
    labels = pinky()[100:260, 100:260, 100:260]
    layer = make_layer(tmp_path, labels, (-3, 5, 7), RESOLUTION)
    made = []
    for folder, seed, threads in (("a", 0, 1), ("b", 1, 3)):
        run(SkeletonForge(layer=layer, dir=folder, cell=(80, 80, 80), threads=threads), seed)
        run(SkeletonForge(layer=layer, dir=folder, cell=(80, 80, 80), roi=Box((0, 9, 9), (90, 60, 60))), seed)
        run(SkeletonMerge(layer=layer, dir=folder, sharded=True), seed)
        path = Path(layer.removeprefix("file://")) / folder
        made.append({p.name: p.read_bytes() for p in sorted(path.iterdir()) if p.is_file()})
    assert made[0] == made[1]
