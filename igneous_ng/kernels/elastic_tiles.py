"""What affine maps leave: displacements at the nodes of a net over each tile, bilinear between, as stiff as plates.

Minimised is ``sum w rho(|apart|) + k B(d)`` over displacements d of nodes, in the section's frame; B is the energy of
a thin plate, second differences along both axes and twice the mixed ones, and a little of a membrane's: plates go on
straight where no point is, as bends of tiles do. ``k`` is the variance of the noise over that of what plates are
thought to bend by; the noise falls round by round from what points are apart to what matching says of them, for what
is apart is no noise until nodes have moved. x and y have one matrix. It is solved by conjugate gradients with two
preconditioners added: the inverse block of each tile, and affine changes of all tiles at once, without which what a
whole section does would take as many steps as it has tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import splu

from igneous_ng.kernels import tile_fit
from igneous_ng.kernels.tile_frames import Seen, Tiles, length
from igneous_ng.kernels.tile_maps import cells

Array = npt.NDArray[Any]
ROUNDS = 16
_SHARPEST = 0.1  # pixels: no point is thought to be nearer to the truth
_STRETCH = 0.05  # stiffness against being displaced otherwise than the next node, beside that of bending
_ROUGH = 0.3  # pixels: points that are no farther off are believed, whatever the others do
_DIFFERENT = 0.5  # pixels that neighbouring nodes are thought to differ by
_SETTLED = 0.97  # rounds end where the noise falls by less
_NEAR = 1e-5  # pixels: closer steps are not asked for
_STEPS = 300
_HELD = 1e-7  # of the mean of the diagonal: holds what nothing holds


def fit(tiles: Tiles, seen: Seen, coef: Array, nodes: int) -> Array:
    """Displacements ``[n, nodes, nodes, 2]`` in pixels of the section, beyond the maps ``coef``."""
    links = seen.links
    found = np.zeros((len(tiles) * nodes**2, 2))
    if not len(links.of):
        return found.reshape(len(tiles), nodes, nodes, 2)
    start, reach = seen.apart(coef), pull(tiles, seen, nodes)
    springs = sparse.kron(sparse.eye_array(len(tiles)), net(nodes), "csr")
    least = max(links.scatter, _SHARPEST)
    noise, before = 2 * tile_fit.noise(length(start)), np.inf
    for _ in range(ROUNDS):
        apart = start + reach @ found
        left = tile_fit.noise(length(apart))
        if noise <= least and left > _SETTLED * before:
            break
        before, noise = left, max(noise / 2, least)
        weight = links.weight * tile_fit.cauchy(length(apart), max(least, _ROUGH))
        different = float((found * (springs @ found)).sum() / max(springs.diagonal().sum(), 1)) ** 0.5
        stiff = (noise / max(_DIFFERENT, different)) ** 2
        weighed = sparse.csr_array(sparse.diags_array(weight) @ reach)
        matrix = sparse.csr_array(reach.T @ weighed + stiff * springs)
        matrix = matrix + _HELD * matrix.diagonal().mean() * sparse.eye_array(matrix.shape[0])
        found = _solved(sparse.csr_array(matrix), -(weighed.T @ start), found, len(tiles), nodes)
    return found.reshape(len(tiles), nodes, nodes, 2)


def pull(tiles: Tiles, seen: Seen, nodes: int) -> sparse.csr_array:
    """``[m, n * nodes**2]``: by how much each node moves the two places of each point apart."""
    links = seen.links
    data, at = [], []
    for points, which, sign in ((links.p, links.i, 1.0), (links.q, links.j, -1.0)):
        cell, part = cells(points, tiles.size[which], (nodes, nodes))  # type: ignore[arg-type]
        for dx in (0, 1):
            for dy in (0, 1):
                near = np.where(dx, part[:, 0], 1 - part[:, 0]) * np.where(dy, part[:, 1], 1 - part[:, 1])
                data.append(sign * near)
                at.append((which * nodes + cell[:, 0] + dx) * nodes + cell[:, 1] + dy)
    shape = (len(links.of), len(tiles) * nodes**2)
    starts = np.arange(len(links.of) + 1) * len(data)
    return sparse.csr_array((np.stack(data, axis=1).ravel(), np.stack(at, axis=1).ravel(), starts), shape)


def net(nodes: int) -> sparse.csr_array:
    """What a displacement of one net costs, ``[nodes**2, nodes**2]``: bending, and a little that it is none at all."""
    place = np.arange(nodes**2).reshape(nodes, nodes)
    bends = [
        ((place[:-2], 1), (place[1:-1], -2), (place[2:], 1)),
        ((place[:, :-2], 1), (place[:, 1:-1], -2), (place[:, 2:], 1)),
    ]
    twist = [((place[1:, 1:], 1), (place[:-1, 1:], -1), (place[1:, :-1], -1), (place[:-1, :-1], 1))]
    edges = [((place[1:], 1), (place[:-1], -1)), ((place[:, 1:], 1), (place[:, :-1], -1))]
    found = sparse.csr_array((nodes**2, nodes**2))
    for terms, stiff in ((bends, 1.0), (twist, 2.0), (edges, _STRETCH)):
        for term in terms:
            count = term[0][0].size
            rows = np.tile(np.arange(count), len(term))
            cols = np.concatenate([at.ravel() for at, _ in term])
            each = sparse.csr_array((np.repeat([float(w) for _, w in term], count), (rows, cols)), (count, nodes**2))
            found = found + stiff * (each.T @ each)
    return sparse.csr_array(found)


def _solved(matrix: sparse.csr_array, wanted: Array, found: Array, tiles: int, nodes: int) -> Array:
    """Conjugate gradients for both columns, from ``found``; they end alike, when no node moves any more."""
    precondition = _preconditioner(matrix, tiles, nodes)
    left = wanted - matrix @ found
    near = precondition(left)
    way, gain = near, (left * near).sum(axis=0)
    for _ in range(_STEPS):
        ahead = matrix @ way
        step = gain / np.maximum((way * ahead).sum(axis=0), np.finfo(float).tiny)
        found, left = found + step * way, left - step * ahead
        if np.abs(step * way).max() < _NEAR:
            break
        near = precondition(left)
        after = (left * near).sum(axis=0)
        way, gain = near + after / np.maximum(gain, np.finfo(float).tiny) * way, after
    return found


def _preconditioner(matrix: sparse.csr_array, tiles: int, nodes: int) -> Callable[[Array], Array]:
    """Tiles one by one, and affine changes of all."""
    size = nodes**2
    inverse = np.linalg.inv(_blocks(matrix, tiles, size))
    along = np.linspace(-1.0, 1.0, nodes)
    shapes = np.stack([np.ones(size), np.repeat(along, nodes), np.tile(along, nodes)], axis=1)
    coarse = sparse.kron(sparse.eye_array(tiles), shapes, "csr")
    small = sparse.csc_array(coarse.T @ matrix @ coarse)
    made = splu(small, "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    invert = cast("Callable[[Array], Array]", made.solve)

    def precondition(left: Array) -> Array:
        own = np.einsum("nab,nbc->nac", inverse, left.reshape(tiles, size, 2)).reshape(-1, 2)
        return np.asarray(own + coarse @ invert(coarse.T @ left))

    return precondition


def _blocks(matrix: sparse.csr_array, tiles: int, size: int) -> Array:
    """The blocks along the diagonal, ``[tiles, size, size]``."""
    entries = matrix.tocoo()
    inside = entries.row // size == entries.col // size
    row, col = entries.row[inside], entries.col[inside]
    found = np.zeros((tiles, size, size))
    found[row // size, row % size, col % size] = entries.data[inside]
    return found
