from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.geometry import Vec3f
from igneous_ng.kernels import components as parts
from igneous_ng.kernels import skeletonising as sk
from igneous_ng.kernels.skeleton_tracing import Method, Tree, border_targets
from igneous_ng.kernels.skeleton_tracing import trace as trace_all
from igneous_ng.native import edt, teasar

Array = npt.NDArray[Any]
RULES = {
    "scale": 1.5,
    "const": 50.0,
    "pdrf_scale": 100_000.0,
    "pdrf_exponent": 4,
    "soma_detection_threshold": 750.0,
    "soma_acceptance_threshold": 3500.0,
    "soma_invalidation_scale": 2.0,
    "soma_invalidation_const": 300.0,
    "max_paths": 0,
}
METHOD = Method(RULES)
TOP = 2**64 - 1


def blobs(seed: int, shape: tuple[int, int, int] = (24, 20, 16), sigma: float = 1.5) -> Array:
    """Random connected shapes, 1 to 3, with branches, loops and holes."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return np.asfortranarray(np.digitize(noise, np.quantile(noise, [0.4, 0.6, 0.8])).astype(np.uint64))


def trace(labels: Array, resolution: Vec3f, method: Method, *extra: Array) -> dict[int, Tree]:
    """The skeletons, of labels of which none is left alone."""
    trees, left = trace_all(labels, resolution, method, *extra)
    assert not left
    return trees


def pieces(tree: Tree) -> int:
    """Connected parts of a graph."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(tree.vertices)
    graph = coo_matrix((np.ones(len(tree.edges)), tree.edges.T), shape=(count, count))
    return int(connected_components(graph, directed=False)[0])


def as_bytes(trees: dict[int, Tree]) -> list[Any]:
    return [
        (k, t.vertices.tobytes(), t.edges.tobytes(), t.radii.tobytes(), t.types.tobytes()) for k, t in trees.items()
    ]


def test_a_tube_gives_its_centre_line() -> None:
    labels = np.zeros((40, 11, 9), np.uint64)
    labels[:, 3:8, 2:7] = TOP
    ((label, tree),) = trace(labels, (4.0, 4.0, 4.0), METHOD).items()
    assert label == TOP
    assert tree.vertices[:, 0].min() == 0
    assert tree.vertices[:, 0].max() == 39
    assert len(tree.edges) == len(tree.vertices) - 1
    middle = tree.vertices[(tree.vertices[:, 0] > 4) & (tree.vertices[:, 0] < 35)]
    assert (middle[:, 1:] == [5, 4]).all()
    assert (tree.radii[(tree.vertices[:, 1:] == [5, 4]).all(axis=1)] == 12).all()


def test_arrays_that_share_a_plane_share_a_vertex() -> None:
    labels = np.zeros((41, 12, 12), np.uint32)
    for x in range(41):
        labels[x, 3 + x // 10 : 8 + x // 10, 3:9] = 5
    low, high = (trace(part, (8.0, 8.0, 8.0), METHOD)[5] for part in (labels[:21], labels[20:]))
    joined = sk.weld(
        [(t.vertices + np.array([x, 0, 0]), t.edges, {"radius": t.radii}) for t, x in ((low, 0), (high, 20))]
    )
    assert len(joined[0]) == len(low.vertices) + len(high.vertices) - 1
    assert len(joined[1]) == len(joined[0]) - 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(1.0, 1.0, 1.0), (16.0, 16.0, 40.0)]), st.sampled_from([0.0, 3.0]))
def test_trees_reach_all_of_their_objects(seed: int, resolution: Vec3f, const: float) -> None:
    labels = blobs(seed)
    trees = trace(
        labels, resolution, Method({**RULES, "const": const * resolution[2], "soma_detection_threshold": 1e6})
    )
    components = parts.painted(labels, 26)
    distances = edt.distances(components, resolution, False)
    sizes = np.bincount(components.ravel())
    for label, tree in trees.items():
        at = tuple(tree.vertices.T)
        own = np.unique(components[labels == label])
        assert (labels[at] == label).all()
        assert np.array_equal(tree.radii, distances[at])
        assert len(np.unique(tree.vertices, axis=0)) == len(tree.vertices)
        assert pieces(tree) == len(tree.vertices) - len(tree.edges) == np.count_nonzero(sizes[own] > 1)
        assert (abs(tree.vertices[tree.edges[:, 0]] - tree.vertices[tree.edges[:, 1]]).max(axis=1) == 1).all()
        for component in own[sizes[own] > 1]:
            inside = np.argwhere(components == component)
            lines = tree.vertices[components[at] == component]
            away = np.linalg.norm((inside[:, None] - lines[None]) * resolution, axis=2)
            reach = 1.5 * distances[tuple(lines.T)] + const * resolution[2]
            assert (away <= np.maximum(reach, 1e-9) * (1 + 1e-6)).any(axis=1).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_borders_are_met_where_the_face_says(seed: int) -> None:
    labels = blobs(seed)
    resolution = (16.0, 16.0, 40.0)
    trees = trace(labels, resolution, METHOD)
    targets = border_targets(labels, resolution)
    sizes = np.bincount(parts.painted(labels, 26).ravel())
    alone = sizes[parts.painted(labels, 26)[tuple(targets.T)]] < 2
    met = {(k, *v) for k, t in trees.items() for v in t.vertices.tolist()}
    for point in targets[(labels[tuple(targets.T)] > 0) & ~alone].tolist():
        assert (int(labels[tuple(point)]), *point) in met
    turned = border_targets(labels[::-1], resolution)  # a face is judged alone, wherever it lies
    last = labels.shape[0] - 1
    one = targets[targets[:, 0] == last][:, 1:]
    other = turned[turned[:, 0] == 0][:, 1:]
    inner = ((one > 0) & (one < np.array(labels.shape[1:]) - 1)).all(axis=1)
    assert set(map(tuple, one[inner].tolist())) <= set(map(tuple, other.tolist()))


def test_ties_on_a_face_are_broken_completely() -> None:
    labels = np.zeros((9, 6, 8), np.uint32)
    labels[2:8, 1:5, 0] = 3  # four voxels are as deep as any, and as near the middle
    flat = border_targets(labels, (1.0, 1.0, 1.0))
    assert flat[flat[:, 2] == 0].tolist() == [[4, 2, 0]]


def test_bytes_depend_on_neither_threads_nor_memory_order() -> None:
    labels = blobs(4, (50, 40, 30), 2.0)
    one = as_bytes(trace(labels, (16.0, 16.0, 40.0), METHOD))
    for threads in (2, 7):
        assert as_bytes(trace(labels, (16.0, 16.0, 40.0), Method(RULES, threads=threads))) == one
    assert as_bytes(trace(np.ascontiguousarray(labels), (16.0, 16.0, 40.0), METHOD)) == one


def test_a_path_goes_through_the_middle_and_not_the_short_way() -> None:
    labels = np.zeros((40, 40, 9), np.uint32)
    labels[:, :9] = labels[:9, :] = 1
    labels = np.pad(labels, 1)
    tree = trace(labels, (8.0, 8.0, 8.0), METHOD)[1]
    straight = tree.vertices[(tree.vertices[:, 0] > 15) & (tree.vertices[:, 0] < 35)]
    assert (straight[:, 1:] == [5, 5]).all()


def test_extra_voxels_are_reached() -> None:
    labels = np.zeros((40, 11, 11), np.uint32)
    labels[:, 1:10, 1:10] = 2
    spot = [20, 9, 9]
    assert spot not in trace(labels, (8.0, 8.0, 8.0), METHOD)[2].vertices.tolist()
    assert spot in trace(labels, (8.0, 8.0, 8.0), METHOD, np.array([spot]))[2].vertices.tolist()


def test_a_soma_has_one_centre_from_which_lines_go_straight() -> None:
    x, y, z = np.ogrid[:61, :41, :41]
    labels = ((x - 30) ** 2 + (y - 20) ** 2 + (z - 20) ** 2 < 15**2).astype(np.uint32)
    labels[:, 19:22, 19:22] = 1
    labels[30, 20, 20] = 0  # a hole in the very middle
    rules = {**RULES, "soma_detection_threshold": 500.0, "soma_acceptance_threshold": 1000.0, "const": 300.0}
    rules |= {"soma_invalidation_scale": 1.0, "soma_invalidation_const": 100.0}
    tree = trace(labels, (100.0, 100.0, 100.0), Method(rules))[1]
    (centre,) = np.flatnonzero(tree.types == 1)
    assert tree.vertices[centre].tolist() == [30, 20, 20]
    assert tree.radii[centre] == pytest.approx(1500, abs=100)
    ends = tree.vertices[np.bincount(tree.edges.ravel()) == 1]
    assert sorted(ends[:, 0].tolist()) == [0, 60]
    away = np.linalg.norm(tree.vertices - tree.vertices[centre], axis=1) * 100
    assert sorted(away)[1] > tree.radii[centre] + 100
    assert np.count_nonzero(tree.edges == centre) == 2
    smaller = trace(labels, (100.0, 100.0, 100.0), Method({**rules, "soma_acceptance_threshold": 1e4}))[1]
    assert not smaller.types.any()


def test_what_is_thick_is_left_alone() -> None:
    labels = np.zeros((40, 24, 24), np.uint32)
    labels[:20, 2:22, 2:22] = 1
    labels[30:, 2:9, 2:9] = 1  # thin itself, yet of the same object
    labels[30:, 12:20, 12:20] = 2
    trees, left = trace_all(labels, (10.0, 10.0, 10.0), Method(RULES, most=80.0))
    assert left == {1}
    assert list(trees) == [2]
    full = np.full((9, 9, 9), 7, np.uint16)
    assert trace_all(full, (10.0, 10.0, 10.0), Method(RULES, most=1e9)) == ({}, {7})


def test_paths_can_be_limited() -> None:
    labels = blobs(3)
    few = trace(labels, (16.0, 16.0, 40.0), Method({**RULES, "max_paths": 1}))
    for tree in few.values():
        ends = np.bincount(tree.edges.ravel(), minlength=len(tree.vertices)) == 1
        assert ends.sum() == 2 * pieces(tree)


def test_nothing_and_single_voxels_have_no_skeleton() -> None:
    labels = np.zeros((5, 5, 5), np.uint8)
    assert trace(labels, (1.0, 1.0, 1.0), METHOD) == {}
    labels[2, 2, 2] = 9
    assert trace(labels, (1.0, 1.0, 1.0), METHOD) == {}
    full = trace(np.full((9, 9, 9), 7, np.uint16), (1.0, 1.0, 1.0), METHOD)
    assert full[7].radii.max() == 5


@pytest.mark.parametrize(
    "change",
    [
        {"ids": np.array([5], np.uint32)},
        {"ids": np.array([1, 1], np.uint32)},
        {"spacing": (0.0, 1.0, 1.0)},
        {"rules": {**RULES, "scale": -1.0}},
        {"rules": {**RULES, "pdrf_exponent": 5000}},
        {"targets": (np.array([[9, 0, 0]]), np.zeros((0, 3), int), np.zeros((0, 3), int))},
        {"distances": np.zeros((3, 3, 4), np.float32, order="F")},
    ],
)
def test_arguments_that_do_not_fit_are_refused(change: dict[str, Any]) -> None:
    none = np.zeros((0, 3), int)
    given: dict[str, Any] = {
        "components": np.ones((3, 3, 3), np.uint32, order="F"),
        "distances": np.ones((3, 3, 3), np.float32, order="F"),
        "spacing": (1.0, 1.0, 1.0),
        "rules": RULES,
        "ids": np.array([1], np.uint32),
        "targets": (none, none, none),
        "threads": 1,
    }
    assert len(teasar.trace(*given.values())[0])
    with pytest.raises(ValueError, match=r"there|size|parameter|pdrf|outside|shape"):
        teasar.trace(*{**given, **change}.values())
