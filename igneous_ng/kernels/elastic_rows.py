"""Equations between sections: two places, one in each, that show the same tissue, are to come to lie at one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from igneous_ng.geometry import Box
from igneous_ng.kernels.elastic import Rows

Array = npt.NDArray[Any]
HUBER = 2.0
"""Deviations from which on a row is doubted: for two axes, one row in eight that is sound."""
_EPS = 1e-6


@dataclass(frozen=True)
class Nodes:
    """The nodes of ``box`` (x, y, z) of a lattice ``whole`` with ``step`` pixels between nodes, ``[z, x, y]``."""

    box: Box
    whole: Box
    step: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sections, and nodes along x and y."""
        x, y, z = self.box.shape
        return z, x, y

    def corners(self, points: Array, z: int) -> tuple[Array, Array, Array]:
        """Of ``points`` ``[m, 2]``: the four nodes around each and their shares ``[m, 4]``, and which lie inside.

        Beyond the border of the whole lattice values are as at it.
        """
        low, last = np.array(self.whole.lo[:2]), np.array(self.whole.hi[:2]) - 1
        at = np.clip((points + 0.5) / self.step - 0.5, low, last)
        near = np.minimum(np.floor(at).astype(np.int64), np.maximum(last - 1, low))
        far, part = np.minimum(near + 1, last), at - near
        start, stop = np.array(self.box.lo[:2]), np.array(self.box.hi[:2])
        inside = ((near >= start) & (far < stop)).all(axis=1)
        _, nx, ny = self.shape
        base = (z - self.box.lo[2]) * nx * ny
        (xa, ya), (xb, yb), (u, v) = (near - start).T, (far - start).T, part.T
        index = np.stack([base + x * ny + y for x, y in ((xa, ya), (xb, ya), (xa, yb), (xb, yb))], axis=1)
        share = np.stack([(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v], axis=1)
        return index, share, inside


@dataclass(frozen=True)
class Pairs:
    """Places ``own`` of section ``z`` and ``other`` of section ``z - distance`` that show the same, ``[m, 2]``."""

    z: int
    distance: int
    own: Array
    other: Array
    sigma: Array
    """Of one axis, pixels."""
    weight: Array
    """1 / variance; of several that were lumped together more."""


def rows(nodes: Nodes, pairs: Pairs) -> Rows:
    """The equations of ``pairs`` of which both ends lie inside."""
    here, share, inside = nodes.corners(pairs.own, pairs.z)
    there, less, too = nodes.corners(pairs.other, pairs.z - pairs.distance)
    keep = inside & too
    index = np.concatenate([here[keep], there[keep]], axis=1)
    share = np.concatenate([share[keep], -less[keep]], axis=1)
    first = pairs.z - nodes.box.lo[2]
    ends = np.broadcast_to(np.array([first, first - pairs.distance]), (len(index), 2))
    wanted = (pairs.other - pairs.own)[keep]
    return Rows(_matrix(index, share, nodes), wanted, pairs.weight[keep], HUBER * pairs.sigma[keep], ends)


def fixed(nodes: Nodes, z: int, own: Array, place: Array, sigma: Array) -> Rows:
    """Places ``own`` of section ``z`` that are known to lie at ``place``; they are never doubted."""
    index, share, keep = nodes.corners(own, z)
    ends = np.broadcast_to(np.array([z - nodes.box.lo[2], -1]), (int(keep.sum()), 2))
    never = np.full(len(ends), np.inf)
    return Rows(_matrix(index[keep], share[keep], nodes), (place - own)[keep], sigma[keep] ** -2.0, never, ends)


def kept(start: Array, sigma: float) -> Rows:
    """Each node is to stay where ``start`` ``[z, x, y, 2]`` has it; never doubted."""
    count = start.size // 2
    first = np.repeat(np.arange(len(start)), count // len(start))
    ends = np.stack([first, np.full(count, -1)], axis=1)
    even = np.ones(count)
    matrix = sparse.identity(count, format="csr")
    return Rows(matrix, start.reshape(-1, 2), even * sigma**-2, even * np.inf, ends)


def alike(nodes: Nodes, z: int, other: int, sigma: float) -> Rows:
    """Each node of section ``z`` is to move as that of section ``other``: for sections of which nothing is known."""
    _, nx, ny = nodes.shape
    plane = np.arange(nx * ny)
    first, second = z - nodes.box.lo[2], other - nodes.box.lo[2]
    index = np.stack([plane + first * nx * ny, plane + second * nx * ny], axis=1)
    share = np.broadcast_to(np.array([1.0, -1.0]), index.shape)
    ends = np.broadcast_to(np.array([first, second]), index.shape)
    even = np.ones(len(plane))
    return Rows(_matrix(index, share, nodes), np.zeros((len(plane), 2)), even * sigma**-2, even * np.inf, ends)


def lumped(pairs: tuple[Array, Array, Array], block: int, low: tuple[int, int]) -> tuple[Array, Array, Array, Array]:
    """Pairs at all nodes of a plane, as one for each ``block`` by ``block`` nodes, blocks counted from node 0.

    ``pairs``: own and other places ``[x, y, 2]`` and sigma ``[x, y]``, NaN where there is none; ``low``: the first
    node. Those unlike the median of their block count less. Returns own, other, sigma and weight of those there are.
    """
    own, other, sigma = (_blocks(one, block, low) for one in pairs)
    some = np.isfinite(sigma).any(axis=1)
    own, other, sigma = own[some], other[some], sigma[some]
    move = other - own
    off = np.hypot(*(move - np.nanmedian(move, axis=1, keepdims=True)).transpose(2, 0, 1))
    usual = np.maximum(np.nanmedian(off, axis=1, keepdims=True), sigma)
    weight = np.nan_to_num(np.minimum(1.0, HUBER * usual / np.maximum(off, _EPS)) / sigma**2)
    total = weight.sum(axis=1)
    means = [(np.nan_to_num(one) * weight[..., np.newaxis]).sum(axis=1) / total[:, np.newaxis] for one in (own, other)]
    return means[0], means[1], np.nanmedian(sigma, axis=1), total


def _blocks(values: Array, block: int, low: tuple[int, int]) -> Array:
    """``[block, node of the block, ...]`` of ``values`` ``[x, y, ...]``, NaN where a block has no node."""
    before = [n % block for n in low]
    after = [-(n + size) % block for n, size in zip(before, values.shape[:2], strict=True)]
    rest = values.shape[2:]
    wide = np.pad(values, [*zip(before, after, strict=True), *[(0, 0)] * len(rest)], constant_values=np.nan)
    nx, ny = (n // block for n in wide.shape[:2])
    split = wide.reshape(nx, block, ny, block, *rest).swapaxes(1, 2)
    return np.asarray(split.reshape(nx * ny, block * block, *rest))


def _matrix(index: Array, share: Array, nodes: Nodes) -> Any:
    count, ends = index.shape
    pointers = np.arange(0, count * ends + 1, ends)
    found = sparse.csr_matrix((share.ravel(), index.ravel(), pointers), (count, int(np.prod(nodes.shape))))
    found.eliminate_zeros()
    return found
