"""Which links in use nothing confirms, though a dropped one contradicts them: they may be wrong, and cannot be told.

A link is confirmed by a loop of others. Loops are found by marks: each link outside a spanning tree puts a random
number on both of its tiles, and the sum without carry over what hangs on a link of the tree is 0 where no loop
closes over it (Pritchard and Thurimella, ACM Transactions on Algorithms 2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from igneous_ng.kernels.links import components

Array = npt.NDArray[Any]


def doubtful(tiles: int, pair: Array, kept: Array) -> Array:
    """A mask ``[l]`` of the links ``kept`` that are in no loop of such, but in one with a link that is not kept."""
    if not len(pair):
        return np.zeros(0, bool)
    order, parent = _tree(tiles, pair[kept])
    up, down = parent[pair[:, 0]] == pair[:, 1], parent[pair[:, 1]] == pair[:, 0]
    tree = kept & (up | down)
    loops, against = _hanging(pair, kept & ~tree, order, parent), _hanging(pair, ~kept, order, parent)
    child = np.where(up, pair[:, 0], pair[:, 1])
    return np.asarray(tree & (loops[child] == 0) & (against[child] != 0))


def _tree(tiles: int, pair: Array) -> tuple[Array, Array]:
    """Tiles from the root, which is no tile, outwards, and what each hangs on."""
    _, first = np.unique(components(tiles, pair), return_index=True)
    rows, cols = np.concatenate([pair[:, 0], first]), np.concatenate([pair[:, 1], np.full(len(first), tiles)])
    graph = sparse.csr_array((np.ones(len(rows)), (rows, cols)), (tiles + 1, tiles + 1))
    order, parent = csgraph.breadth_first_order(graph, tiles, directed=False)
    return order[1:], parent


def _hanging(pair: Array, links: Array, order: Array, parent: Array) -> Array:
    """For each tile, the sum of the marks of ``links`` over all that hangs on it."""
    marks = np.random.default_rng(0).integers(1, 2**63, len(pair))
    found = np.zeros(len(parent), np.int64)
    for side in (0, 1):
        np.bitwise_xor.at(found, pair[links, side], marks[links])
    sums, above = found.tolist(), parent.tolist()
    for tile in reversed(order.tolist()):
        sums[above[tile]] ^= sums[tile]
    return np.array(sums)
