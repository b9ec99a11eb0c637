"""Measures of skeletons: of shapes that are known, and of random trees and graphs beside networkx and osteoid."""

from __future__ import annotations

import math
from typing import Any

import networkx
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.kernels import morphology
from igneous_ng.kernels.morphology import measured

Array = npt.NDArray[Any]


def tree(count: int, seed: int, parts: int = 1, more: int = 0) -> tuple[Array, Array, Array]:
    """Random trees, with ``more`` edges that close loops: points, edges in any order, radii."""
    rng = np.random.default_rng(seed)
    parents = [(k, int(rng.integers(k % parts, k, 1)[0])) for k in range(parts, count)]
    edges = [
        (k, parent - (parent - k) % parts if parent - (parent - k) % parts >= 0 else k % parts) for k, parent in parents
    ]
    edges += [tuple(rng.integers(0, count, 2)) for _ in range(more)]
    turned = [edge if rng.random() < 0.5 else edge[::-1] for edge in edges]
    order = rng.permutation(len(turned))
    points = rng.uniform(0, 1000, (count, 3)).astype(np.float32).astype(np.float64)
    return points, np.array(turned, np.uint32).reshape(-1, 2)[order], rng.uniform(1, 50, count).astype(np.float32)


def graph(points: Array, edges: Array) -> Any:
    found = networkx.Graph()
    found.add_nodes_from(range(len(points)))
    found.add_edges_from((a, b, {"length": math.dist(points[a], points[b])}) for a, b in edges.tolist() if a != b)
    return found


def strahler(made: Any, node: int, before: int) -> int:
    """By its definition."""
    below = sorted((strahler(made, other, node) for other in made[node] if other != before), reverse=True)
    if not below:
        return 1
    return below[0] + (len(below) > 1 and below[0] == below[1])


def farthest(made: Any) -> tuple[float, int, int]:
    every = dict(networkx.all_pairs_dijkstra_path_length(made, weight="length"))
    return max((length, a, b) for a, ends in every.items() for b, length in ends.items())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 40), parts=st.integers(1, 3))
def test_trees_are_as_networkx_has_them(seed: int, count: int, parts: int) -> None:
    points, edges, radii = tree(count, seed, min(parts, count))
    made, found = graph(points, edges), measured(points, edges, radii)
    degrees = [degree for _, degree in made.degree()]
    assert found["parts"] == networkx.number_connected_components(made)
    assert found["loops"] == 0
    assert (found["branch_points"], found["end_points"]) == (sum(d > 2 for d in degrees), degrees.count(1))
    cable = math.fsum(length for *_, length in made.edges(data="length"))
    assert found["cable_length"] == pytest.approx(cable, rel=1e-14)
    length, first, last = farthest(made)
    assert found["longest_path"] == pytest.approx(length, rel=1e-12)
    if length:
        assert found["tortuosity"] == pytest.approx(length / math.dist(points[first], points[last]), rel=1e-9)
    numbers = [0]
    for part in networkx.connected_components(made):
        _, first, last = farthest(made.subgraph(part))
        numbers += [strahler(made, next(iter(made[end])), end) for end in (first, last) if first != last]
    assert found["strahler"] == max(numbers)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 30), more=st.integers(0, 8))
def test_loops_are_counted_and_order_does_not_matter(seed: int, count: int, more: int) -> None:
    points, edges, radii = tree(count, seed, 1, more)
    made, found = graph(points, edges), measured(points, edges, radii)
    assert (found["edges"], found["parts"]) == (made.number_of_edges(), 1)
    assert found["loops"] == len(networkx.cycle_basis(made))
    cable = math.fsum(length for *_, length in made.edges(data="length"))
    assert found["cable_length"] == pytest.approx(cable, rel=1e-14)
    rng = np.random.default_rng(seed)
    new = rng.permutation(count)
    old = np.argsort(new)
    again = measured(points[old], new[edges[rng.permutation(len(edges))]], radii[old])
    same = [name for name in found if more == 0 or name not in ("longest_path", "tortuosity", "strahler")]
    assert [again[name] for name in same] == [pytest.approx(found[name], rel=1e-12) for name in same]
    assert (again["cable_length"], again["radius_mean"]) == (found["cable_length"], found["radius_mean"])


def test_cables_are_as_long_as_osteoid_says() -> None:
    osteoid = pytest.importorskip("osteoid")
    points, edges, radii = tree(200, 3)
    skeleton = osteoid.Skeleton(points, edges, radii)
    found = measured(points, edges, radii)
    assert found["cable_length"] == pytest.approx(skeleton.cable_length(), rel=1e-6)
    assert found["branch_points"] == len(skeleton.branches())
    assert found["end_points"] == len(skeleton.terminals())


def test_a_known_shape() -> None:
    points = np.array([[0, 0, 0], [30, 0, 0], [30, 40, 0], [60, 0, 0], [60, 0, 40], [90, 0, 0], [5, 5, 5]], float)
    edges = np.array([[0, 1], [1, 2], [1, 3], [3, 4], [3, 5], [5, 5], [2, 1]])
    radii = np.array([1, 2, 3, 4, 5, 6, 70.0])
    found = measured(points, edges, radii)
    assert [found[name] for name in morphology.WHOLE] == [7, 5, 2, 0, 2, 4, 2]
    assert found["cable_length"] == 30 + 40 + 30 + 40 + 30
    assert found["longest_path"] == 40 + 30 + 40
    assert found["tortuosity"] == pytest.approx(110 / math.sqrt(30**2 + 40**2 + 40**2))
    mean = (30 * 1.5 + 40 * 2.5 + 30 * 3 + 40 * 4.5 + 30 * 5) / 170
    assert [found[name] for name in morphology.RADII] == [pytest.approx(mean), 1, 70]
    assert [found[name] for name in morphology.EXTENT] == [0, 0, 0, 90, 40, 40]


def test_points_alone_and_nothing() -> None:
    one = measured(np.array([[1.0, 2, 3]]), np.zeros((0, 2)), np.array([9.0]))
    assert (one["parts"], one["strahler"], one["cable_length"], one["radius_mean"]) == (1, 0, 0, 9)
    assert math.isnan(one["tortuosity"])
    none = measured(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0))
    assert (none["vertices"], none["parts"]) == (0, 0)
    assert all(math.isnan(none[name]) for name in (*morphology.RADII, *morphology.EXTENT))
    assert "radius_mean" not in measured(np.zeros((2, 3)), np.array([[0, 1]]), None)


def test_a_neuron_as_deep_as_it_is_long() -> None:
    count = 300_000
    points = np.zeros((count, 3))
    points[:, 0] = np.arange(count)
    edges = np.column_stack([np.arange(count - 1), np.arange(1, count)])
    found = measured(points, edges, None)
    assert (found["longest_path"], found["strahler"], found["tortuosity"]) == (count - 1, 1, 1)
