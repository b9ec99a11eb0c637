from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from igneous_ng.native import forest

graphs = st.integers(1, 12).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=30))
)


@given(graphs, st.randoms(use_true_random=False))
def test_forests_and_parts_are_those_of_scipy(graph: tuple[int, list[tuple[int, int]]], random: Random) -> None:
    count, pairs = graph
    edges = np.array(sorted({(min(p), max(p)) for p in pairs if p[0] != p[1]}), np.int64).reshape(-1, 2)
    order = np.array(random.sample(range(len(edges)), len(edges)), np.int64)
    rank = np.empty(len(edges))
    rank[order] = np.arange(1, len(edges) + 1)
    matrix = coo_matrix((rank, edges.T), shape=(count, count)).tocsr()
    assert sorted(rank[forest.spanning(edges, order, count)]) == sorted(minimum_spanning_tree(matrix).data)
    assert forest.parts(edges, count).tolist() == connected_components(matrix, directed=False)[1].tolist()


@pytest.mark.parametrize(("edge", "order"), [([0, 3], [0]), ([-1, 0], [0]), ([0, 1], [1]), ([0, 1], [0, 0])])
def test_what_is_not_there_is_refused(edge: list[int], order: list[int]) -> None:
    with pytest.raises(ValueError, match=r"vertex|order"):
        forest.spanning(np.array([edge]), np.array(order), 3)
