from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.errors import DataError
from igneous_ng.formats import swc

Array = npt.NDArray[Any]


def written(count: int, pairs: list[tuple[int, int]], types: list[int] | None = None) -> list[list[float]]:
    points = np.arange(3 * count).reshape(-1, 3) * 500.0
    kinds = np.array(types or [0] * count)
    data = swc.encode(points, np.array(pairs, np.uint32).reshape(-1, 2), np.arange(count) * 1000.0, kinds)
    return [[float(word) for word in line.split()] for line in data.decode().splitlines()[1:]]


def test_a_branch_is_written_from_its_soma() -> None:
    rows = written(4, [(0, 1), (1, 2), (1, 3)], [0, 0, 0, 1])
    assert [row[0] for row in rows] == [1, 2, 3, 4]
    assert rows[0] == [1, 1, 4.5, 5, 5.5, 3, -1]
    assert [row[6] for row in rows] == [-1, 1, 2, 2]
    assert sorted(row[5] for row in rows[2:]) == [0, 2]


def test_without_a_soma_it_begins_at_an_end() -> None:
    assert [row[6] for row in written(3, [(0, 1), (0, 2)])] == [-1, 1, 2]


graphs = st.integers(1, 9).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=25))
)


@given(graphs)
def test_any_graph_becomes_trees(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = graph
    rows = written(count, pairs)
    assert len(rows) == count
    assert all(row[6] == -1 or 0 < row[6] < row[0] for row in rows)
    joined = {frozenset((a, b)) for a, b in pairs if a != b}
    node = {row[0]: round(row[2] / 1.5) for row in rows}
    used = [frozenset((node[row[0]], node[row[6]])) for row in rows if row[6] > 0]
    assert set(used) <= joined
    from igneous_ng.native import forest

    assert count - len(used) == int(forest.parts(np.array(pairs).reshape(-1, 2), count).max()) + 1


def test_what_is_written_is_read() -> None:
    points = np.array([[0, 10.0, 20], [1000, 2000, 3000], [5, 5, 5]])
    data = swc.encode(points, np.array([[0, 1], [1, 2]]), np.array([100.0, 200, 300]), np.array([0, 0, 5]))
    read, edges, radii, types = swc.decode(data, "x")
    assert read.tolist() == points.tolist()
    assert edges.tolist() == [[1, 0], [2, 1]]
    assert radii.tolist() == [100, 200, 300]
    assert types.tolist() == [0, 0, 5]


@pytest.mark.parametrize("text", ["1 0 0 0 0 0 -1\n1 0 0 0 0 0 -1", "1 0 0 0 0 0 5", "1 0 0", "a b c d e f g", "\xff"])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="^here: not an SWC file"):
        swc.decode(text.encode("latin1"), "here")
