"""Which of the synapses that were found are true: a matching of least cost, and what is counted of it.

Costs are distances in nm. One that was found and a true one can be matched where they are near enough; the cost of all
is the sum of the distances of those matched, and twice the greatest distance for each pair that could be and is not, as
CREMI has it (cremi.org, `synaptic_partners`), which is the sum over groups that no candidate pair connects. So each
group is solved alone, with the same result as the matrix of all. Places are integers, so that what is near enough does
not depend on rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_DENSE = 1 << 20  # elements of a matrix; larger groups are solved as sparse graphs


def near(one: Array, other: Array, distance: float) -> Array:
    """The pairs, int64 [k, 2], ascending, of points [n, 3] and [m, 3], integers in nm, at most so far apart."""
    from scipy.spatial import cKDTree

    if not len(one) or not len(other):
        return np.zeros((0, 2), np.int64)
    found = cKDTree(one).sparse_distance_matrix(cKDTree(other), distance + 1, output_type="ndarray")
    pairs = np.stack([found["i"], found["j"]], axis=1).astype(np.int64)
    pairs = pairs[square(one, other, pairs) <= distance * distance]
    ordered: Array = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return ordered


def square(one: Array, other: Array, pairs: Array) -> Array:
    """The squared distance, int64, of each of ``pairs`` of points."""
    found: Array = ((one[pairs[:, 0]].astype(np.int64) - other[pairs[:, 1]]) ** 2).sum(axis=1)
    return found


def matched(pairs: Array, costs: Array, counts: tuple[int, int], most: float) -> Array:
    """Which of ``pairs`` [k, 2] are matched, bool [k], so that the cost of all is least.

    ``counts`` are how many there are on either side, ``most`` is the greatest distance. Of several matchings of one
    cost that is taken to which the order of the sides leads; it does not depend on other groups.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    chosen = np.zeros(len(pairs), bool)
    if not len(pairs):
        return chosen
    ends = pairs[:, 0], pairs[:, 1] + counts[0]
    graph = coo_array((np.ones(len(pairs), np.int8), ends), (sum(counts), sum(counts)))
    group = connected_components(graph, directed=False)[1][pairs[:, 0]]
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(group[order]) > 0))
    sizes = np.diff(np.append(starts, len(order)))
    chosen[order[starts[sizes == 1]]] = True
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        rows = order[start : start + size]
        chosen[rows] = _solved(pairs[rows], costs[rows], most)
    return chosen


def _solved(pairs: Array, costs: Array, most: float) -> Array:
    """As :func:`matched`, of one group."""
    from scipy.optimize import linear_sum_assignment

    one, row = np.unique(pairs[:, 0], return_inverse=True)
    other, column = np.unique(pairs[:, 1], return_inverse=True)
    if len(one) * len(other) > _DENSE:
        return _sparse(row, column, costs, most)
    matrix = np.full((len(one), len(other)), 2 * most)
    matrix[row, column] = costs
    taken = np.zeros(matrix.shape, bool)
    taken[linear_sum_assignment(matrix)] = True
    found: Array = taken[row, column]
    return found


def _sparse(row: Array, column: Array, costs: Array, most: float) -> Array:
    """As :func:`_solved`, in memory that grows with the pairs: each row can be matched with a column of its own."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    rows, columns = int(row.max()) + 1, int(column.max()) + 1
    alone = np.arange(rows)
    weights = np.concatenate([costs, np.full(rows, 2 * most)]) + 1  # 0 would be no edge
    where = np.concatenate([row, alone]), np.concatenate([column, columns + alone])
    taken = min_weight_full_bipartite_matching(csr_array((weights, where), (rows, columns + rows)))[1]
    found: Array = taken[row] == column
    return found


def scores(true: int, found: int, known: int) -> dict[str, Any]:
    """Precision, recall and their harmonic mean of so many matched, found and true ones.

    Nothing found is right: precision is 1 then; of nothing known all is found. F1 is 2 TP / (2 TP + FP + FN), and 1
    where there is neither anything found nor known.
    """
    share = [round(true / of, 6) if of else 1.0 for of in (found, known)]
    f1 = round(2 * true / (found + known), 6) if found + known else 1.0
    return {"true": true, "false": found - true, "missed": known - true, "precision": share[0], "recall": share[1],
            "f1": f1}  # fmt: skip
